"""The error analysis of a checkpoint's heads as one self-contained HTML page."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.records import Span
from training.evaluation.errors import ERRORS, Edge, Outcome, compare_spans
from training.evaluation.errors_analysis import HeadErrors, MarkedSentence, Tally
from training.evaluation.errors_markup import Piece, marked_pieces
from training.evaluation.errors_words import NAMES, findings, mentions_of, summary
from training.reports.pages import page_environment, write_text

TEMPLATE = "errors.html.j2"

SIGNS = {
    Outcome.CORRECT: "✓",
    Outcome.BOUNDARY: "↔",
    Outcome.TYPE: "≠",
    Outcome.BOUNDARY_AND_TYPE: "↔≠",
    Outcome.MISS: "−",
    Outcome.SPURIOUS: "+",
}
"""The sign before each mention, which shows its class without colour."""

_GOLD_OUTCOMES = tuple(outcome for outcome in Outcome if outcome != Outcome.SPURIOUS)


@dataclass(frozen=True, slots=True)
class ErrorsPage:
    """The content of the page: the checkpoint's id, the split, the context and the heads."""

    checkpoint: str
    split: str
    context: str
    heads: Mapping[str, HeadErrors]


def write_page(page: ErrorsPage, path: Path) -> None:
    """Write the page to `path` atomically, creating parent folders.

    :raises OutputError: if it cannot be written.
    """
    write_text(path, render_page(page))


def render_page(page: ErrorsPage) -> str:
    """Return the page as HTML, with inline style and no script or external resource."""
    environment = page_environment("training.evaluation")
    template = environment.get_template(TEMPLATE)
    return template.render(
        page=page,
        signs=SIGNS,
        names=NAMES,
        errors=ERRORS,
        gold_outcomes=_GOLD_OUTCOMES,
        Outcome=Outcome,
        Edge=Edge,
        legend=_legend(),
        summary=summary,
        findings=findings,
        mentions_of=mentions_of,
        entity_names=_entity_names,
        pieces=_pieces,
        parts=_parts,
        edge_rows=_edge_rows,
    )


def _pieces(head: HeadErrors, sentence: MarkedSentence) -> tuple[Piece, ...]:
    return marked_pieces(
        sentence.text, sentence.comparisons, labelled=len(head.task.label_names) > 1
    )


def _parts(tally: Tally) -> list[tuple[Outcome, int, float]]:
    """Return the outcomes of gold mentions, each with its count and percentage."""
    return [
        (outcome, count, 100 * count / tally.gold_total)
        for outcome in _GOLD_OUTCOMES
        if (count := tally.gold.get(outcome, 0))
    ]


def _edge_rows(head: HeadErrors) -> list[tuple[str, int]]:
    """Return the kinds of boundary errors as text, most frequent first."""
    words = {
        (Edge.SHORT, Edge.EXACT): "begins too late",
        (Edge.LONG, Edge.EXACT): "begins too early",
        (Edge.EXACT, Edge.SHORT): "ends too early",
        (Edge.EXACT, Edge.LONG): "ends too late",
        (Edge.SHORT, Edge.SHORT): "too short at both ends",
        (Edge.LONG, Edge.LONG): "too long at both ends",
        (Edge.SHORT, Edge.LONG): "begins and ends too late",
        (Edge.LONG, Edge.SHORT): "begins and ends too early",
    }
    rows = [(word, head.edges[edges]) for edges, word in words.items() if head.edges.get(edges)]
    return sorted(rows, key=lambda row: -row[1])


def _entity_names(head: HeadErrors) -> str:
    kinds = [str(label.entity_type) for label in head.task.labels]
    return ", ".join(dict.fromkeys(kinds))


_EXAMPLES: tuple[tuple[Outcome, str, tuple[Span, ...], tuple[Span, ...], str], ...] = (
    (
        Outcome.CORRECT,
        "a case of asthma in",
        (Span(10, 16, "Disease"),),
        (Span(10, 16, "Disease"),),
        "The model marked just what the annotators marked.",
    ),
    (
        Outcome.BOUNDARY,
        "with familial breast cancer",
        (Span(5, 27, "Disease"),),
        (Span(14, 27, "Disease"),),
        "The right thing, but it begins or ends at another place.",
    ),
    (
        Outcome.TYPE,
        "binds the GATA-1 site",
        (Span(10, 21, "DNA"),),
        (Span(10, 21, "protein"),),
        "The right words, but called something else: annotators’ label → model’s label.",
    ),
    (
        Outcome.BOUNDARY_AND_TYPE,
        "of the human p53 gene",
        (Span(7, 21, "DNA"),),
        (Span(13, 16, "protein"),),
        "It overlaps a mention, but edges and label are both wrong.",
    ),
    (
        Outcome.MISS,
        "and febrile seizures",
        (Span(4, 20, "Disease"),),
        (),
        "The annotators marked it, the model did not.",
    ),
    (
        Outcome.SPURIOUS,
        "under general stress",
        (),
        (Span(14, 20, "Disease"),),
        "The model marked it, the annotators did not.",
    ),
)


def _legend() -> list[tuple[Outcome, tuple[Piece, ...], str]]:
    return [
        (
            outcome,
            marked_pieces(
                text,
                compare_spans(gold, found),
                labelled=outcome in (Outcome.TYPE, Outcome.BOUNDARY_AND_TYPE),
            ),
            meaning,
        )
        for outcome, text, gold, found, meaning in _EXAMPLES
    ]
