"""The same graph on Prism gives the same rows."""

from pathlib import Path

import pytest

from tests.support.annotating import annotate, articles, check_output, pubmed_xml
from tests.support.blocks import all_rows


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
