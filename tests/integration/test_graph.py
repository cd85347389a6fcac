"""The graph itself, with a tagger that breaks the contract."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.runner import PipelineResult

from pipelines.graphs.annotate import annotate_files
from pipelines.graphs.coders import BlockCoder
from pipelines.inference.checkpoints import Checkpoints
from pipelines.inference.handler import AnnotateHandler
from pipelines.inference.shared_tagger import SharedTagger
from pipelines.output.store import Content, DiskStore
from pipelines.output.writer import BlockWriter
from pipelines.runners.options import choose_runner, make_runner
from pipelines.sources.files import BlockReader
from pipelines.sources.inputs import resolve_inputs
from pipelines.telemetry.run_channel import WorkerChannel, open_run_channel
from schemas.errors import OutputError
from schemas.records import Annotation
from tests.support.annotating import article, articles, check_output, pubmed_xml
from tests.support.blocks import NOW, mention
from worker.registry.follow import FixedTagger
from worker.tagger import Tagger


class WildTagger(Tagger):
    """Finds a mention of nine code points in each text, be it that long or not."""

    def __init__(self) -> None:
        self.id = "wild"
        self.tasks = ()

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        return [Annotation((mention(0, 9),)) for _ in texts]


class WildHandler(AnnotateHandler):
    """Runs the wild tagger."""

    def load_model(self) -> SharedTagger:
        return SharedTagger(FixedTagger(WildTagger()))


def run(source: Path, store: DiskStore, channel: WorkerChannel | None = None) -> PipelineResult:
    """Annotate a file in blocks of four by the wild tagger."""
    channel = channel or WorkerChannel()
    choice = choose_runner("DirectRunner", [])
    pipeline = beam.Pipeline(runner=make_runner(choice), options=choice.options)
    annotate_files(
        pipeline,
        resolve_inputs([str(source)], None),
        reader=BlockReader(4, "wild", "", None, lambda: NOW, channel),
        handler=WildHandler(
            Checkpoints("wild"),
            device="cpu",
            threads=1,
            chunk_size=2,
            max_text_chars=None,
            clock=lambda: NOW,
            channel=channel,
        ),
        writer=BlockWriter(store, 4, ""),
    )
    result = pipeline.run()
    result.wait_until_finish()
    return result


def test_a_mention_outside_its_text_is_a_dead_letter_and_is_counted(tmp_path: Path) -> None:
    source = pubmed_xml(tmp_path / "a.xml", [*articles(4), article(9, "short"), article("x")])
    store = DiskStore(tmp_path / "out")
    result = run(source, store)
    found = check_output(store.root)
    assert [row["pmid"] for row in found["citations"]] == [1, 2, 3, 4]
    assert [(row["offset"], row["stage"]) for row in found["dead_letters"]] == [
        (4, "write"),
        (5, "parse"),
    ]
    query = MetricsFilter().with_namespace("pubner")
    counters = {x.key.metric.name: x.result for x in result.metrics().query(query)["counters"]}
    expected = {
        "records": 6,
        "citations": 5,
        "mentions": 5,
        "batches": 3,
        "blocks": 2,
        "dead_letters_parse": 1,
        "dead_letters_write": 1,
    }
    assert {name: counters.get(name) for name in expected} == expected
    name = "a.xml-0-000000000004.parquet"
    assert pq.read_metadata(store.root / "citations" / name).num_rows == 0


def test_no_block_is_written_down_between_reading_and_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise AssertionError("a block left its stage, or was encoded to know its size")

    monkeypatch.setattr(BlockCoder, "encode", refuse)
    monkeypatch.setattr(BlockCoder, "decode", refuse)
    source = pubmed_xml(tmp_path / "a.xml", articles(9))
    run(source, DiskStore(tmp_path / "out"))
    assert [row["pmid"] for row in check_output(tmp_path / "out")["citations"]] == [*range(1, 10)]


class BrokenStore(DiskStore):
    """A disk that is full once the second block comes."""

    def put(self, name: str, files: Mapping[str, Content]) -> None:
        if "000000000000" not in name:
            raise OutputError("no room")
        super().put(name, files)


@pytest.mark.parametrize("count", [8, 20])
def test_a_block_that_cannot_be_written_ends_the_run_also_as_the_last(
    tmp_path: Path, count: int
) -> None:
    source = pubmed_xml(tmp_path / "a.xml", articles(count))
    store = BrokenStore(tmp_path / "out")
    with open_run_channel(time.monotonic) as run_channel, pytest.raises(Exception, match="no room"):
        run(source, store, run_channel.worker_side)
    assert str(run_channel.error()) == "no room"
    assert store.names("citations") == ["a.xml-0-000000000000.parquet"]
    assert not [x for x in threading.enumerate() if x.name.startswith("pubner-")]


class StoppingTagger(WildTagger):
    """Asks for a stop while it works on the second block and the first is being written."""

    def __init__(self, stop: Callable[[], None]) -> None:
        super().__init__()
        self.stop, self.calls = stop, 0

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        self.calls += 1
        if self.calls == 3:  # two chunks a block
            self.stop()
        return super().annotate(texts)


def test_a_write_that_fails_after_a_stop_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(DiskStore):
        def put(self, name: str, files: Mapping[str, Content]) -> NoReturn:
            time.sleep(0.5)
            raise OutputError("no room")

    with open_run_channel(time.monotonic) as run_channel:
        monkeypatch.setattr(
            WildHandler,
            "load_model",
            lambda _: SharedTagger(FixedTagger(StoppingTagger(run_channel.stop))),
        )
        source = pubmed_xml(tmp_path / "a.xml", articles(20))
        with pytest.raises(Exception, match="stopped on request"):
            run(source, Slow(tmp_path / "out"), run_channel.worker_side)
    assert str(run_channel.error()) == "no room"
    assert not [x for x in threading.enumerate() if x.name.startswith("pubner-")]
