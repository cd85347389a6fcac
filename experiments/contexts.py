"""The page's section on document context: the same models on sentences, windows, documents."""

from collections.abc import Mapping, Sequence

from experiments.figures import HEADS, Row, Score, difference, score_at, table

CONTEXT_WAYS = {
    "ncbi-disease": ("sentence", "window", "document"),
    "bc5cdr": ("sentence", "window", "document"),
    "bc2gm": ("sentence", "window"),
    "jnlpba": ("sentence", "window"),
}
"""The contexts by head; two corpora have whole documents with gold mentions."""


def context_scores(row: Row, head: str) -> dict[str, Score]:
    """Return a row's devel F1 by context; empty if windows were not scored."""
    paths = {
        "sentence": ("devel", "sentence", head, "f1"),
        "window": ("devel", "window", head, "f1"),
        "document": ("documents", head, "f1"),
    }
    found = {way: score_at(row, *paths[way]) for way in CONTEXT_WAYS[head]}
    known = {way: score for way, score in found.items() if score is not None}
    return known if "window" in known else {}


def context_lines(
    rows: Sequence[Row], ways: Mapping[str, Mapping[str, Mapping[str, Score]]]
) -> list[str]:
    """Return the section's lines.

    :param ways: scores by head, row name and context
    """
    columns = [
        "row",
        *(f"{HEADS[head]}, {way}" for head, each in CONTEXT_WAYS.items() for way in each),
        *(f"{HEADS[head]}, document − window" for head in ("ncbi-disease", "bc5cdr")),
    ]
    body = []
    for row in rows:
        cells: list[object] = [row["name"]]
        for head, each in CONTEXT_WAYS.items():
            cells += [ways[head][row["name"]].get(way) for way in each]
        for head in ("ncbi-disease", "bc5cdr"):
            scores = ways[head][row["name"]]
            gap = difference(scores.get("document"), scores.get("window"))
            cells.append(None if gap is None else paired(gap.mean))
        body.append(cells)
    return [
        "## Sentences, windows, documents",
        "",
        "The same models on devel, reading each sentence alone, windows of up to eight sentences "
        "joined, and the raw text of whole abstracts end to end, through the pipeline's own "
        "splitting and matching of offsets (NCBI and BC5CDR, whose documents are at hand). All "
        "rows but `mtl-sentences` were trained on windows of up to twelve sentences, 30 % of them "
        "of one. The dictionary reads no context.",
        "",
        "![Scores by what is read at once](experiments/contexts.svg)",
        "",
        *table(columns, body),
    ]


def paired(value: float) -> str:
    """Return a difference of scores of the same runs, for which no deviation is known."""
    return f"{value:+.1f}".replace("-", "−") if abs(value) >= 0.05 else "0.0"
