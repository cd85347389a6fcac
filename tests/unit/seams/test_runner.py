"""A runner from a package outside the tree: found by its entry point, and used by a run."""

from pathlib import Path

import pytest

from pipelines.graphs.annotate import annotate_files
from pipelines.inference.checkpoints import check_checkpoints
from pipelines.inference.handler import AnnotateHandler
from pipelines.output.store import DiskStore
from pipelines.output.writer import BlockWriter
from pipelines.runners.names import find_runner
from pipelines.runners.options import choose_runner
from pipelines.runtime.batch import run_bounded
from pipelines.sources.files import BlockReader
from pipelines.sources.inputs import resolve_inputs
from schemas.errors import SettingsError
from tests.support.blocks import rows
from tests.support.checkpoints import tiny_checkpoint
from worker.cli.progress import Meter, Progress
from worker.system.clock import utc_now

MODULE = """
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from pipelines.runners.names import Runner

OWN = Runner("OwnRunner", in_process=True, portable=False, beam_runner="{name}.OwnRunner")
OTHER = Runner("AnotherRunner")
WRONG = "no runner"
ran = []

class OwnRunner(FnApiRunner):
    def run_pipeline(self, pipeline, options):
        ran.append(type(self).__name__)
        return super().run_pipeline(pipeline, options)
"""
LINE = '{"pmid": 5, "title": "BRCA1 cell", "abstract": "cancer"}\n'


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "outside_runner"
    folder = tmp_path / "site"
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(MODULE.format(name=name))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[pubner.runners]\nown = {name}:OWN\nwrong = {name}:WRONG\n"
        f"other = {name}:OTHER\nmissing = {name}:NONE\n"
    )
    monkeypatch.syspath_prepend(folder)
    return name


def test_it_runs_an_annotation(package: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(LINE)
    checkpoints = check_checkpoints([str(tiny_checkpoint(tmp_path / "tiny"))])
    store = DiskStore(tmp_path / "out")
    report = run_bounded(
        lambda pipeline, channel: annotate_files(
            pipeline,
            resolve_inputs([str(tmp_path / "a.jsonl")], None),
            reader=BlockReader(4, checkpoints.id, "", None, utc_now, channel),
            handler=AnnotateHandler(
                checkpoints,
                device="cpu",
                threads=1,
                chunk_size=2,
                max_text_chars=None,
                clock=utc_now,
                channel=channel,
            ),
            writer=BlockWriter(store, 4, ""),
        ),
        choose_runner("own", []),
        output=str(tmp_path / "out"),
        meter=Meter(),
        progress=lambda _: Progress("annotating"),
        owns_process=False,
    )
    assert [row["pmid"] for row in rows(tmp_path / "out", "citations")] == [5]
    assert report.counters["blocks"] == report.counters["write_milliseconds_count"] == 1
    assert __import__(package).ran == ["OwnRunner"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("wrong", "is a str"),
        ("other", "is the Runner 'AnotherRunner'; expected the name of its entry point"),
        ("missing", "AttributeError"),
    ],
)
@pytest.mark.usefixtures("package")
def test_a_runner_that_cannot_be_loaded_is_one_line(name: str, part: str) -> None:
    with pytest.raises(SettingsError, match=part) as caught:
        find_runner(name)
    assert "\n" not in str(caught.value)
