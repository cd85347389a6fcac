"""Lossless conversion between character spans and IOBES tags of pre-tokens.

Entities are character spans. A span is *reachable* if it begins where a pre-token begins and
ends where one ends; only those have tags. Tags of pre-tokens convert back to exactly the spans
that they came from, whatever the tokenisation of the corpus.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.records import Span
from schemas.tags import OUTSIDE, iobes_tags, split_tag
from worker.text.tokenisation import WordPieces


@dataclass(frozen=True, slots=True, eq=False)
class TagProjection:
    """Tags of a text's pre-tokens: `tags` has shape (pre-tokens,) and indexes the tag set.

    `unreachable` holds the spans without tags: they split a pre-token, contain none, or overlap an
    earlier span.
    """

    tags: npt.NDArray[np.int64]
    unreachable: tuple[Span, ...]


def project_spans(
    pieces: WordPieces, spans: Iterable[Span], labels: Sequence[str]
) -> TagProjection:
    """Convert `spans` of the text of `pieces` to IOBES tags of its pre-tokens.

    Tag indices are those of `iobes_tags(labels)`. A span with leading or trailing white space is
    not reachable: spans must match exactly.

    :raises ValueError: if a span's label is not among `labels`.
    """
    index = {tag: number for number, tag in enumerate(iobes_tags(labels))}
    starts, ends = pieces.pretoken_starts, pieces.pretoken_ends
    tags = np.zeros(len(starts), dtype=np.int64)
    unreachable = []
    for span in sorted(spans):
        if span.label not in labels:
            raise ValueError(f"label {span.label!r} is not among {tuple(labels)}")
        first = int(np.searchsorted(starts, span.start))
        last = int(np.searchsorted(ends, span.end))
        if (
            last < first
            or last >= len(ends)
            or starts[first] != span.start
            or ends[last] != span.end
            or tags[first : last + 1].any()
        ):
            unreachable.append(span)
        elif first == last:
            tags[first] = index[f"S-{span.label}"]
        else:
            tags[first : last + 1] = index[f"I-{span.label}"]
            tags[first] = index[f"B-{span.label}"]
            tags[last] = index[f"E-{span.label}"]
    return TagProjection(tags, tuple(unreachable))


def tag_runs(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return (first, last, label) of each mention in a legal IOBES sequence; `last` is inclusive.

    Fragments of incomplete mentions are skipped: constrained decoding produces none.
    """
    runs = []
    begun: tuple[int, str] | None = None
    for number, tag in enumerate(tags):
        if tag == OUTSIDE:
            begun = None
            continue
        position, label = split_tag(tag)
        if position == "S":
            runs.append((number, number, label))
            begun = None
        elif position == "B":
            begun = (number, label)
        elif begun is None or begun[1] != label:
            begun = None
        elif position == "E":
            runs.append((begun[0], number, label))
            begun = None
    return runs
