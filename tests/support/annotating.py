"""End-to-end runs of `pubner annotate` in this process, and what must hold of any output."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pubner import cli
from tests.support.blocks import all_rows, hidden_files


def annotate(
    inputs: Sequence[object], output: Path, checkpoint: Path, *options: str
) -> dict[str, Any]:
    """Annotate in this process with one thread and small blocks; return the summary."""
    file = output.parent / f"{output.name}.json"
    words = [
        "annotate",
        *(str(path) for path in inputs),
        f"--output={output}",
        f"--checkpoint={checkpoint}",
        "--threads=1",
        "--block-size=5",
        f"--json={file}",
        *options,
    ]
    assert cli.main(words) == 0
    summary: dict[str, Any] = json.loads(file.read_text())
    return summary


def check_output(root: Path) -> dict[str, list[Any]]:
    """Check what must hold of any output; return its rows by kind."""
    found = all_rows(root)
    places = [
        (row["source"], row["partition"], row["offset"])
        for kind in ("citations", "dead_letters")
        for row in found[kind]
    ]
    assert [place for place, times in Counter(places).items() if times > 1] == []
    citations = {
        (row["source"], row["partition"], row["offset"]): row for row in found["citations"]
    }
    mentions = Counter(
        (row["source"], row["partition"], row["offset"]) for row in found["mentions"]
    )
    for row in found["mentions"]:
        citation = citations[row["source"], row["partition"], row["offset"]]
        assert citation["text"][row["start"] : row["end"]] == row["text"] != ""
        assert (row["pmid"], row["pmid_version"]) == (citation["pmid"], citation["pmid_version"])
        in_title = row["start"] < citation["text"].index("\n")
        assert row["section"] == ("title" if in_title else "abstract")
        assert 0 < row["score"] <= 1
    for place, row in citations.items():
        assert row["mention_count"] == mentions[place]
        assert (row["status"] == "annotated") == (row["text"] is not None)
    by_source: dict[str, list[int]] = {}
    for source, _, offset in places:
        by_source.setdefault(source, []).append(offset)
    for offsets in by_source.values():
        assert sorted(offsets) == list(range(len(offsets)))
    assert hidden_files(root) == []
    return found


def pubmed_xml(path: Path, articles: Sequence[str]) -> Path:
    """Write a PubMed XML file of `articles`."""
    body = "\n".join(articles)
    path.write_text(f'<?xml version="1.0"?>\n<PubmedArticleSet>\n{body}\n</PubmedArticleSet>\n')
    return path


def article(
    pmid: int | str, title: str = "A gene of cancer", body: str = "", version: int = 1
) -> str:
    """Return a small PubmedArticle."""
    abstract = f"<Abstract><AbstractText>{body}</AbstractText></Abstract>" if body else ""
    return (
        f'<PubmedArticle><MedlineCitation><PMID Version="{version}">{pmid}</PMID><Article>'
        f"<ArticleTitle>{title}</ArticleTitle>{abstract}</Article></MedlineCitation></PubmedArticle>"
    )


def articles(count: int, first: int = 1) -> list[str]:
    """Return `count` articles with different texts."""
    return [
        article(
            number,
            f"BRCA1 and breast cancer in patient {number}",
            f"The protein of cell {number} was found in human disease, with TP53 and asthma.",
        )
        for number in range(first, first + count)
    ]
