"""The gate's report as one self-contained HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.records import Span
from training.evaluation.errors import Comparison
from training.gate.canary import Example, TypeChange
from training.gate.judging import LEAST_MENTIONS
from training.gate.report import GateReport, change_of
from training.reports.pages import page_environment

TEMPLATE = "gate.html.j2"

_MARGIN = 70
_SHOWN_CHANGES = 3
_LEAST_REACH = 1.0

VERDICTS = {
    "passed": ("✓", "Passed", "The candidate is within all tolerances."),
    "refused": ("✕", "Refused", "The candidate breaks a tolerance, and was not promoted."),
    "forced": (
        "!",
        "Refused, but forced",
        "The candidate breaks a tolerance; the gate was overruled by --force.",
    ),
}

_FIRST = "No checkpoint was active: the first one breaks no tolerance."
_UNUSABLE = "The candidate cannot be used, and was not promoted; --force does not overrule that."

SIGNS = {"same": "", "lost": "−", "gained": "+", "altered": "↔"}
"""The sign before a changed mention, which shows the change without colour."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment of text; for a mention, with its change and label."""

    text: str
    change: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Snippet:
    """An excerpt of a citation around a change, as annotated by both checkpoints.

    `cut_before` and `cut_after` are True if the citation continues there.
    """

    active: tuple[Piece, ...]
    candidate: tuple[Piece, ...]
    cut_before: bool
    cut_after: bool


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A row of the table of tolerances, with the worst measurement as text."""

    name: str
    option: str
    limit: str
    worst: str
    broken: bool


def render_page(report: GateReport) -> str:
    """Return the page as HTML, with inline style and no script or external resource."""
    environment = page_environment("training.gate")
    sign, title, meaning = VERDICTS[report.verdict]
    if report.is_final:
        meaning = _UNUSABLE
    elif report.measured.first:
        meaning = _FIRST
    return environment.get_template(TEMPLATE).render(
        report=report,
        measured=report.measured,
        sign=sign,
        title=title,
        meaning=meaning,
        signs=SIGNS,
        tolerances=tolerances(report),
        reach=_reach(report),
        at=_at,
        snippets=snippets,
        groups=_groups(report),
        hidden=lambda example: max(0, len(example.changes) - _SHOWN_CHANGES),
    )


def tolerances(report: GateReport) -> tuple[Tolerance, ...]:
    """Return each tolerance with its worst measurement."""
    measured, limits = report.measured, report.limits
    broken = {breach.option for breach in report.breaches}
    gains = [100 * one.bootstrap.difference for one in measured.sets if one.bootstrap is not None]
    rises = [
        one.candidate.ece - one.active.ece
        for one in measured.sets
        if one.candidate is not None and one.active is not None
    ]
    canary = measured.canary if measured.canary is not None and measured.canary.compared else None
    rows = (
        (
            "Change of strict F1, a head",
            "--max-f1-drop",
            f"-{limits.max_f1_drop:g} points",
            f"{min(gains):+.2f} points" if gains else "",
        ),
        (
            "Change of calibration error, a head",
            "--max-ece-rise",
            f"+{limits.max_ece_rise:g} (from 0 to 1)",
            f"{max(rises):+.3f}" if rises else "",
        ),
        (
            "Speed",
            "--min-speed",
            f"{limits.min_speed:g} of the active",
            "" if measured.speed is None else f"{measured.speed.ratio:.2f} of the active",
        ),
        (
            "Citations that change, an entity type",
            "--max-changed-share",
            f"{100 * limits.max_changed_share:g} %",
            _worst([(one, canary.changed_share_of(one)) for one in canary.types] if canary else []),
        ),
        (
            "Mentions that change, an entity type",
            "--max-changed-mentions",
            f"{100 * limits.max_changed_mentions:g} %",
            _worst(
                [
                    (one, one.changed_mentions_share)
                    for one in canary.types
                    if one.mentions >= LEAST_MENTIONS
                ]
                if canary
                else []
            ),
        ),
        (
            "Heads and labels that go",
            "--allow-lost-heads",
            "any" if limits.allow_lost_heads else "none",
            ", ".join(measured.heads.lost) or ("" if measured.first else "none"),
        ),
    )
    return tuple(
        Tolerance(name, option, _minus(limit), _minus(worst), option in broken)
        for name, option, limit, worst in rows
    )


def _minus(words: str) -> str:
    """Replace a hyphen at the start of `words` by a minus sign."""
    return f"−{words[1:]}" if words.startswith("-") else words


def _worst(shares: Sequence[tuple[TypeChange, float]]) -> str:
    if not shares:
        return ""
    kind, share = max(shares, key=lambda both: both[1])
    return f"{100 * share:.1f} % ({kind.entity_type})"


def snippets(example: Example) -> tuple[Snippet, ...]:
    """Return excerpts of the citation around the first few changed mentions."""
    out: list[tuple[int, int]] = []
    for change in example.changes[:_SHOWN_CHANGES]:
        begin, end = change.extent
        begin, end = begin - _MARGIN, end + _MARGIN
        if out and begin <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((begin, end))
    return tuple(_snippet(example, begin, end) for begin, end in out)


def _snippet(example: Example, begin: int, end: int) -> Snippet:
    text = example.text
    begin, end = max(0, begin), min(len(text), end)
    inside = [one for one in example.comparisons if one.extent[0] < end and begin < one.extent[1]]
    begin = min([begin, *(one.extent[0] for one in inside)])
    end = max([end, *(one.extent[1] for one in inside)])
    while begin and not text[begin - 1].isspace():
        begin -= 1
    while end < len(text) and not text[end].isspace():
        end += 1
    return Snippet(
        _pieces(text, begin, end, [(one.gold, one) for one in inside]),
        _pieces(text, begin, end, [(one.found, one) for one in inside]),
        cut_before=begin > 0,
        cut_after=end < len(text),
    )


def _pieces(
    text: str, begin: int, end: int, mentions: Sequence[tuple[Span | None, Comparison]]
) -> tuple[Piece, ...]:
    """Cut an excerpt of the text at one checkpoint's mentions, which do not overlap."""
    out = []
    for span, one in sorted(
        ((span, one) for span, one in mentions if span is not None), key=lambda both: both[0]
    ):
        out += [
            Piece(text[begin : span.start]),
            Piece(text[span.start : span.end], change_of(one), span.label),
        ]
        begin = span.end
    return tuple(piece for piece in (*out, Piece(text[begin:end])) if piece.text)


def _groups(report: GateReport) -> dict[str, list[Example]]:
    """Return the examples by entity type, in the order of the report's types."""
    out: dict[str, list[Example]] = {}
    canary = report.measured.canary
    for one in canary.examples if canary is not None else ():
        out.setdefault(str(one.entity_type), []).append(one)
    return out


def _reach(report: GateReport) -> float:
    """Return the extent of the F1 axis on either side of 0, in points."""
    found = [one.bootstrap for one in report.measured.sets if one.bootstrap is not None]
    return max(
        _LEAST_REACH,
        1.2 * report.limits.max_f1_drop,
        *(100 * abs(edge) for one in found for edge in (one.low, one.high, one.difference)),
    )


def _at(points: float, reach: float) -> str:
    """Return the position of a difference on an axis from `-reach` to `reach`, in per cent."""
    return f"{50 + 48 * max(-1.0, min(1.0, points / reach)):.2f}"
