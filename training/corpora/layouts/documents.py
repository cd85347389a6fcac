"""Whole documents with mentions at character offsets, as sentences of words and tags.

The words are runs of letters and digits, and each other visible character: finer than the word
pieces of any encoder need, and the same whatever is marked, so that no space tells where a mention
is. A sentence ends after a full stop, a question or exclamation mark, or at a line break; never
inside a mention.

What tags cannot encode is counted and named: discontinuous mentions, those that begin or end inside
a word, and those that overlap one before them. So are mentions whose text is not the text at their
offsets, which count Unicode code points.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import CorpusError, DamagedStreamError, RecordError
from schemas.records import Span
from training.corpora.layouts.protocol import Found, Oddity, Reading
from training.corpora.spans import tags_of
from training.corpora.tsv import Problem, Sentence

_WORD = re.compile(r"(?:[^\W_][\u0300-\u036f]*)+|[^\w\s]|_")
_BREAK = re.compile(r"[.!?][\"')\]]*\s+(?=[\"'(\[]*[^\W_a-z])|\n\s*")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|approx|resp|ca|al|spp|sp|var|subsp|Figs?|Eqs?|Refs?|Nos?|Drs?|Mr|Mrs"
    r"|Prof|St|Inc|Ltd|Co|Corp|Dept|Univ)|(?<![^\W_])[A-Z])\.\s*$"
)
_LONGEST_ABBREVIATION = 12


@dataclass(frozen=True, slots=True)
class GoldMention:
    """A mention: its spans in code points of the document, its label, and its text if given.

    A mention without a text, or with an empty one, is not verified.
    """

    spans: tuple[tuple[int, int], ...]
    label: str
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A document: its name, its line (or number) in the file, its text and its mentions.

    `mismatched` names the mentions that its reader left out, since they do not fit the text.
    """

    name: str
    line: int
    text: str
    mentions: tuple[GoldMention, ...]
    mismatched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentLayout:
    """A layout of whole documents, read by `read`, which yields a problem for an invalid one."""

    read: Callable[[Path], Iterator[Document | Problem]]
    suffix: str
    folders: bool = False

    def scan(self, path: Path, reading: Reading) -> Iterator[Found]:
        """Yield the sentences of all documents, problems, and at the end what was left out.

        :raises CorpusError: if `path` cannot be read at all.
        """
        left_out = _LeftOut(path)
        unknown: dict[str, Problem] = {}
        try:
            for found in self.read(path):
                if isinstance(found, Problem):
                    yield found
                    continue
                for mention in found.mentions:
                    if (
                        reading.labels is not None
                        and mention.label not in reading.labels
                        and mention.label not in reading.dropped
                        and mention.label not in unknown
                    ):
                        reason = (
                            f"unknown label {mention.label!r}: expected one of "
                            f"{', '.join(reading.labels)}, or that the description drops it"
                        )
                        unknown[mention.label] = Problem(path, found.line, reason)
                yield from _sentences(found, reading, left_out)
        except (OSError, DamagedStreamError) as error:
            raise CorpusError(f"{path}: cannot be read: {error}") from error
        yield from unknown.values()
        yield from left_out.oddities()


@dataclass(slots=True)
class _LeftOut:
    """Counts the mentions that are left out, by the reason, and keeps the first of each."""

    path: Path
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, reason: str, document: Document, what: str) -> None:
        self.counts[reason] += 1
        self.first.setdefault(reason, (document.line, f"{document.name}: {what}"))

    def oddities(self) -> Iterator[Oddity]:
        for reason, count in self.counts.items():
            line, what = self.first[reason]
            mentions = "mention" if count == 1 else "mentions"
            text = f"{count:,} {mentions} left out: {reason}; the first in document {what}"
            yield Oddity(Problem(self.path, line, text))


MISMATCHED = "another text at the offsets, in code points"
DISCONTINUOUS = "discontinuous, which tags cannot encode"
OFF_BOUNDARY = "begin or end inside a word"
OVERLAPPING = "overlap a mention before them"


def _sentences(document: Document, reading: Reading, left_out: _LeftOut) -> Iterator[Sentence]:
    """Yield the sentences of `document`."""
    spans: list[Span] = []
    for what in document.mismatched:
        left_out.add(MISMATCHED, document, what)
    for mention in document.mentions:
        if mention.label in reading.dropped:
            continue
        merged = _merged(mention.spans, document.text)
        problem = _problem(mention, merged, document.text)
        if problem is not None:
            left_out.add(MISMATCHED, document, problem)
        elif len(merged) > 1:
            begin, end = merged[0][0], merged[-1][1]
            left_out.add(DISCONTINUOUS, document, f"{document.text[begin:end]!r:.80}")
        else:
            spans.append(Span(*merged[0], mention.label))
    spans = sorted(set(spans))
    first = 0
    for number, (begin, end) in enumerate(sentence_ranges(document.text, spans)):
        words, offsets = [], []
        for found in _WORD.finditer(document.text, begin, end):
            words.append(found[0])
            offsets.append(found.span())
        stop = bisect_left(spans, end, lo=first, key=lambda span: span.start)
        tagged = tags_of(tuple(offsets), spans[first:stop])
        first = stop
        for span in tagged.off_boundary:
            left_out.add(OFF_BOUNDARY, document, f"{document.text[span.start : span.end]!r:.80}")
        for span in tagged.overlapping:
            left_out.add(OVERLAPPING, document, f"{document.text[span.start : span.end]!r:.80}")
        yield Sentence(tuple(words), tagged.tags, document.line, number == 0, document.name)
    for span in spans[first:]:
        left_out.add(OFF_BOUNDARY, document, f"{document.text[span.start : span.end]!r:.80}")


def _merged(spans: tuple[tuple[int, int], ...], text: str) -> tuple[tuple[int, int], ...]:
    """Return the spans in order, those joined that only white space separates."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and (start <= merged[-1][1] or text[merged[-1][1] : start].isspace()):
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _problem(mention: GoldMention, merged: tuple[tuple[int, int], ...], text: str) -> str | None:
    """Return why the mention does not fit the text; None if it does."""
    start, end = (merged[0][0], merged[-1][1]) if merged else (0, 0)
    if not merged or start < 0 or end > len(text) or any(a >= b for a, b in merged):
        return f"{mention.text!r:.80} has the offsets {start}-{end} of {len(text)} characters"
    pieces = [text[a:b] for a, b in merged]
    whole = (" ".join(pieces), "".join(pieces), text[start:end])
    if not mention.text or "".join(mention.text.split()) in ("".join(one.split()) for one in whole):
        return None
    return f"{mention.text!r:.80} has the offsets {start}-{end}, where the text is {whole[0]!r:.80}"


def sentence_ranges(text: str, spans: list[Span]) -> Iterator[tuple[int, int]]:
    """Yield the offsets of the sentences of `text` that hold a word; none cuts one of `spans`.

    :param spans: in the order of their starts
    """
    begin = reach = 0
    waiting = iter(spans)
    span = next(waiting, None)
    for found in _BREAK.finditer(text):
        at = found.end()
        while span is not None and span.start < at:
            reach = max(reach, span.end)
            span = next(waiting, None)
        if reach > at:
            continue
        before = text[max(begin, found.start() - _LONGEST_ABBREVIATION) : at]
        if "\n" not in found[0] and _ABBREVIATION.search(before):
            continue
        if _WORD.search(text, begin, at):
            yield begin, at
            begin = at
    if _WORD.search(text, begin):
        yield begin, len(text)


def checked_offset(value: object) -> int:
    """Return `value` if it is a whole number that an offset may be.

    :raises RecordError: if it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**40:
        raise RecordError(f"{value!r:.40} is no offset; a whole number from 0 was expected")
    return value


def parsed_offset(value: str | None) -> int:
    """Return the offset that ASCII digits give.

    :raises RecordError: if they are none.
    """
    if value is None or not (value.isascii() and value.isdigit() and len(value) < 12):
        raise RecordError(f"{value!r:.40} is no offset; a whole number from 0 was expected")
    return int(value)


def checked_text(value: object, what: str) -> str:
    """Return `value` if it is a string.

    :raises RecordError: if it is not; the message says `what` it should be.
    """
    if not isinstance(value, str):
        raise RecordError(f"{what} is {value!r:.40}; a string was expected")
    if not value.isprintable() and any("\ud800" <= one <= "\udfff" for one in value):
        raise RecordError(f"{what} has half of a surrogate pair, which is no character")
    return value
