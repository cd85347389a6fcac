"""Tag schemes of word-and-tag files: validation, detection, and conversion to IOBES.

IOB1 marks the words of a mention `I` and uses `B` only where a mention directly follows another of
the same label; IOB2 begins every mention with `B`; IOBES adds `E` for the last word and `S` for a
mention of one word (see `schemas.tags`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from schemas.tags import OUTSIDE, may_end, may_follow, may_start, split_tag


class Scheme(StrEnum):
    """The tag scheme of a file."""

    IOB1 = "IOB1"
    IOB2 = "IOB2"
    IOBES = "IOBES"


_POSITIONS: dict[Scheme, str] = {Scheme.IOB1: "BI", Scheme.IOB2: "BI", Scheme.IOBES: "BIES"}


@dataclass(frozen=True, slots=True, order=True)
class WordSpan:
    """A mention as a half-open range of word indices, and its label."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class TagProblem:
    """A problem of the tag at `index` of a sentence; `index` may be one past the end."""

    index: int
    reason: str


def malformed(tag: str, scheme: Scheme) -> str | None:
    """Return why `tag` is not a tag of `scheme`; None if it is one."""
    if tag == OUTSIDE:
        return None
    position, label = split_tag(tag)
    if len(position) == 1 and position in _POSITIONS[scheme] and label:
        return None
    expected = ", ".join(f"{known}-label" for known in _POSITIONS[scheme])
    return f"{tag!r} is no {scheme} tag: expected O, {expected}"


def _starts_mention(before: str, tag: str, scheme: Scheme) -> bool:
    """Whether the well-formed `tag`, after `before`, begins a mention."""
    position, label = split_tag(tag)
    if scheme == Scheme.IOB1:
        return position == "B" or (position == "I" and label != split_tag(before)[1])
    return position in ("B", "S")


def _allowed(before: str, after: str, scheme: Scheme) -> bool:
    """Whether `scheme` allows `after` directly after `before` (`O` at the sentence's start)."""
    position, label = split_tag(after)
    match scheme:
        case Scheme.IOBES:
            return may_follow(before, after)
        case Scheme.IOB2:
            return position != "I" or split_tag(before)[1] == label
        case Scheme.IOB1:
            return position != "B" or split_tag(before)[1] == label


def tag_problems(
    tags: Sequence[str], scheme: Scheme, labels: Sequence[str] | None = None
) -> Iterator[TagProblem]:
    """Yield every malformed tag, unknown label and illegal transition of one sentence.

    `labels` are the known labels; None accepts any.
    """
    before: str | None = OUTSIDE
    for index, tag in enumerate(tags):
        if tag == OUTSIDE == before:
            continue
        reason = malformed(tag, scheme)
        if reason is None and labels is not None and tag != OUTSIDE:
            label = split_tag(tag)[1]
            if label not in labels:
                reason = f"unknown label {label!r}: expected one of {', '.join(labels)}"
        if reason is not None:
            yield TagProblem(index, reason)
            before = None  # the transition from a malformed tag cannot be checked
            continue
        if before is not None and not _allowed(before, tag, scheme):
            where = (
                "at the start of a sentence"
                if index == 0 and not may_start(tag)
                else f"directly after {before}"
            )
            yield TagProblem(index, f"illegal transition: {scheme} does not allow {tag} {where}")
        before = tag
    if scheme == Scheme.IOBES and before is not None and not may_end(before):
        yield TagProblem(
            len(tags), f"illegal transition: the sentence ends inside a mention, with {before}"
        )


def word_spans(tags: Sequence[str], scheme: Scheme) -> tuple[WordSpan, ...]:
    """Return the mentions that `tags` mark, in order; the tags must be free of problems."""
    spans: list[WordSpan] = []
    start: int | None = None
    before = OUTSIDE
    for index, tag in enumerate(tags):
        if tag == OUTSIDE == before:
            continue
        begins = tag != OUTSIDE and _starts_mention(before, tag, scheme)
        if start is not None and (tag == OUTSIDE or begins):
            spans.append(WordSpan(start, index, split_tag(before)[1]))
            start = None
        if begins:
            start = index
        before = tag
    if start is not None:
        spans.append(WordSpan(start, len(tags), split_tag(before)[1]))
    return tuple(spans)


def tags_from_spans(
    length: int, spans: Iterable[WordSpan], scheme: Scheme = Scheme.IOBES
) -> tuple[str, ...]:
    """Return the tags of a sentence of `length` words with `spans`, which must not overlap."""
    tags = [OUTSIDE] * length
    for span in sorted(spans):
        inside = ["I"] * (span.end - span.start)
        adjacent = span.start > 0 and split_tag(tags[span.start - 1])[1] == span.label
        if scheme != Scheme.IOB1 or adjacent:
            inside[0] = "B"
        if scheme == Scheme.IOBES:
            inside[-1] = "E" if len(inside) > 1 else "S"
        tags[span.start : span.end] = [f"{position}-{span.label}" for position in inside]
    return tuple(tags)


def to_iobes(tags: Sequence[str], scheme: Scheme) -> tuple[str, ...]:
    """Convert `tags`, free of problems, to IOBES."""
    if scheme == Scheme.IOBES:
        return tuple(tags)
    return tags_from_spans(len(tags), word_spans(tags, scheme))


def detect_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """Detect the scheme of a corpus: the one with the fewest problems in all its sentences.

    So reading the corpus reports only the stray tags. At a tie it is IOBES if any `E` or `S`
    occurs, else IOB1 if an `I` begins a mention, else IOB2.
    """
    tagged = [tags for tags in sentences if any(tag != OUTSIDE for tag in tags)]
    broken = {
        scheme: sum(1 for tags in tagged for _ in tag_problems(tags, scheme)) for scheme in Scheme
    }
    hinted = _hinted_scheme(tagged)
    return min((hinted, Scheme.IOB2, Scheme.IOB1, Scheme.IOBES), key=broken.__getitem__)


def _hinted_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """Return the scheme that characteristic tags indicate."""
    begins_inside = False
    for tags in sentences:
        before = OUTSIDE
        for tag in tags:
            position, label = split_tag(tag)
            if position in ("E", "S"):
                return Scheme.IOBES
            if position == "I" and split_tag(before)[1] != label:
                begins_inside = True
            before = tag
    return Scheme.IOB1 if begins_inside else Scheme.IOB2
