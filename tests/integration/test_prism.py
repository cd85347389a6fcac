"""The same graph on Prism gives the same rows, and the same one line where it fails."""

from pathlib import Path

import pytest

from tests.support.annotating import annotate, article, articles, check_output, pubmed_xml
from tests.support.blocks import all_rows
from tests.support.commands import run_pubner


def test_prism_and_the_direct_runner_agree(tmp_path: Path, checkpoint: Path, prism: str) -> None:
    source = pubmed_xml(tmp_path / "a.xml", [*articles(12), "<PubmedArticle/>"])
    other = pubmed_xml(tmp_path / "b.xml", articles(4, first=50))
    direct, portable = tmp_path / "direct", tmp_path / "prism"
    annotate([source, other], direct, checkpoint)
    summary = annotate(
        [source, other],
        portable,
        checkpoint,
        "--runner=PrismRunner",
        "--",
        f"--prism_location={prism}",
    )
    check_output(portable)
    expected, found = all_rows(direct), all_rows(portable)
    for kind, rows in expected.items():
        assert len(found[kind]) == len(rows)
        for one, two in zip(rows, found[kind], strict=True):
            assert {**one, "score": 0} == {**two, "score": 0}
            if kind == "mentions":
                assert one["score"] == pytest.approx(two["score"], abs=0.02)
    assert summary["citations_annotated_now"] == 16
    assert summary["counters"] == {}, "Prism's would miss bundles that end together"
    again = annotate(
        [source, other], portable, checkpoint, "--runner=prism", "--", f"--prism_location={prism}"
    )
    assert again["citations_annotated_now"] == 0


def test_an_error_inside_the_pipeline_is_one_line(
    tmp_path: Path, checkpoint: Path, prism: str
) -> None:
    """Beam's worker, which shares the process, prints the traceback of a step that fails."""
    source = pubmed_xml(tmp_path / "a.xml", [article(1, "gene " * 4000, "cell " * 4000)])
    words = ["annotate", str(source), f"--output={tmp_path / 'out'}", f"--checkpoint={checkpoint}"]
    words += ["--threads=1", "--runner=PrismRunner", "--", f"--prism_location={prism}"]
    full = run_pubner(tmp_path / "log", *words, largest_file=40_000)
    assert full.code == 2
    assert "cannot write" in full.one_line
