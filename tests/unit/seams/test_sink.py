"""A sink from outside: docs/how-to/add-a-sink.md."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.blocks.elements import AnnotatedBlock, WrittenBlock
from pipelines.blocks.keys import file_name
from pipelines.inference.checkpoints import choose_checkpoints
from pipelines.output.manifest import open_output
from pipelines.output.sink import Sink
from pipelines.runners.options import choose_runner
from pipelines.runtime.batch import RunReport, run_pipeline
from pipelines.settings.annotate import AnnotateSettings
from pipelines.sources.inputs import resolve_inputs
from schemas.errors import OutputError
from tests.support.annotating import articles, pubmed_xml
from tests.support.blocks import all_rows
from tests.support.checkpoints import tiny_checkpoint
from worker.cli.progress import Meter
from worker.storage.atomic import write_whole


@dataclass(frozen=True)
class JsonLinesSink:
    """Writes a file of JSON lines for each block, a line for each mention and dead letter."""

    folder: Path

    def write(self, block: AnnotatedBlock) -> WrittenBlock:
        lines: list[dict[str, object]] = [
            {"offset": item.offset, "pmid": item.citation.pmid, "start": x.start, "end": x.end}
            for item in block.citations
            if item.annotation is not None
            for x in item.annotation.mentions
        ]
        lines += [{"offset": x.position.offset, "error": x.error} for x in block.dead_letters]
        name = f"{file_name(block.header.key)}-{block.header.piece}.jsonl"
        write_whole(self.folder / name, "".join(f"{json.dumps(line)}\n" for line in lines))
        return WrittenBlock(block.header, len(block.citations), len(lines), len(block.dead_letters))


class FullSink:
    """Refuses every block."""

    def write(self, block: AnnotatedBlock) -> WrittenBlock:
        raise OutputError(f"{file_name(block.header.key)}: the sink is full")


def run(folder: Path, checkpoint: Path, sink: Sink | None) -> RunReport:
    source = folder / "a.xml"
    if not source.exists():
        pubmed_xml(source, [*articles(12), "<PubmedArticle/>"])
    settings = AnnotateSettings(
        inputs=(str(source),),
        output=str(folder / ("parquet" if sink is None else "out")),
        checkpoint=(str(checkpoint),),
        block_size=5,
        threads=1,
    )
    with open_output(settings.output, block_size=settings.block_size) as store:
        return run_pipeline(
            settings,
            resolve_inputs(settings.inputs, settings.input_format),
            checkpoints=choose_checkpoints(settings),
            store=store,
            choice=choose_runner(settings.runner, []),
            meter=Meter(),
            sink=sink,
        )


def test_a_sink_from_outside_gets_what_the_parquet_output_gets(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    sink = JsonLinesSink(tmp_path / "lines")
    sink.folder.mkdir()
    for _ in range(2):
        report = run(tmp_path, checkpoint, sink)
        assert report.counters["blocks"] == 3
        files = sorted(sink.folder.iterdir())
        assert [path.name for path in files] == [
            f"a.xml-0-{start:012}.parquet-0.jsonl" for start in (0, 5, 10)
        ]
    assert not list((tmp_path / "out").glob("*/*.parquet"))
    run(tmp_path, checkpoint, None)
    expected = all_rows(tmp_path / "parquet")
    found = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    assert len(expected["mentions"]) > 0
    assert sorted((x["offset"], x["start"], x["end"]) for x in found if "start" in x) == sorted(
        (x["offset"], x["start"], x["end"]) for x in expected["mentions"]
    )
    assert [(x["offset"], x["error"]) for x in found if "error" in x] == [
        (x["offset"], x["error"]) for x in expected["dead_letters"]
    ]


def test_a_sink_that_fails_ends_the_run_with_its_error(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    with pytest.raises(OutputError, match="the sink is full"):
        run(tmp_path, checkpoint, FullSink())
