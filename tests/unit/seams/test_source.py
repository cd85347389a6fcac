"""A source from a module outside the tree, annotated by a run."""

import importlib
from pathlib import Path

import pytest

from pipelines.graphs.annotate import annotate_source
from pipelines.inference.checkpoints import check_checkpoints
from pipelines.inference.handler import AnnotateHandler
from pipelines.output.store import DiskStore
from pipelines.output.writer import BlockWriter
from pipelines.runners.options import choose_runner
from pipelines.runtime.batch import run_bounded
from tests.support.blocks import rows
from tests.support.checkpoints import tiny_checkpoint
from tests.support.root import ROOT
from worker.cli.progress import Meter, Progress
from worker.system.clock import utc_now

PAGE = (ROOT / "docs" / "how-to" / "add-a-source.md").read_text("utf-8")
MODULE = PAGE.split("```python\n")[1].split("```")[0]


def test_the_source_of_the_how_to_is_annotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside_source.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    source = importlib.import_module("outside_source").TitleSource(["BRCA1 cell", "cancer"])
    checkpoints = check_checkpoints([str(tiny_checkpoint(tmp_path / "tiny"))])
    run_bounded(
        lambda pipeline, channel: annotate_source(
            pipeline,
            source,
            handler=AnnotateHandler(
                checkpoints,
                device="cpu",
                threads=1,
                chunk_size=2,
                max_text_chars=None,
                clock=utc_now,
                channel=channel,
            ),
            sink=BlockWriter(DiskStore(tmp_path / "out"), 10, ""),
            channel=channel,
            store_text=True,
        ),
        choose_runner("DirectRunner", []),
        output=str(tmp_path / "out"),
        meter=Meter(),
        progress=lambda _: Progress("annotating"),
        owns_process=False,
    )
    found = rows(tmp_path / "out", "citations")
    assert [(row["source"], row["pmid"], row["text"]) for row in found] == [
        ("titles", 1, "BRCA1 cell\n"),
        ("titles", 2, "cancer\n"),
    ]
