"""Leaks between parts of corpora: the same PMIDs, the same titles, the same runs of words.

A title is the first sentence of a document, compared by its letters and digits; a run is
`RUN_WORDS` words in a row of one document (of one sentence, where a corpus has no documents),
without punctuation and case. So other layouts and tokenisations do not hide what is shared.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from training.corpora.splitting import pmid_of
from training.corpora.tsv import Sentence

RUN_WORDS: Final = 13
_LEAST_TITLE: Final = 5
"""Shorter titles (in words) repeat by chance, such as `Case report`."""
_WORD: Final = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Part:
    """A split of a corpus: its name, such as `seth:train`, and what is compared of it.

    A unit is a document, or a sentence where there are none; `units` counts them. `titles` are
    normalised, `runs` holds the hash of each run of each unit, `all_runs` those of all.
    """

    name: str
    units: int
    pmids: frozenset[str]
    titles: tuple[str, ...]
    runs: dict[str, frozenset[int]]
    all_runs: frozenset[int]


@dataclass(frozen=True, slots=True)
class Leak:
    """What two parts share: PMIDs, titles, and the units of the right one with a shared run."""

    left: str
    right: str
    pmids: tuple[str, ...]
    titles: tuple[str, ...]
    runs: tuple[str, ...]
    units: int

    @property
    def found(self) -> bool:
        """Whether anything is shared."""
        return bool(self.pmids or self.titles or self.runs)


def part_of(name: str, sentences: Sequence[Sentence]) -> Part:
    """Return what is compared of the `sentences` of a split."""
    titles: dict[str, None] = {}
    runs: dict[str, frozenset[int]] = {}
    pmids: set[str] = set()
    units = 0
    for unit, parts in _units(sentences):
        units += 1
        if (pmid := pmid_of(unit)) is not None:
            pmids.add(pmid)
        if parts[0].starts_document:
            title = _words(parts[0])
            if len(title) >= _LEAST_TITLE:
                titles[" ".join(title)] = None
        words = [word for sentence in parts for word in _words(sentence)]
        here = frozenset(
            hash(tuple(words[at : at + RUN_WORDS])) for at in range(len(words) - RUN_WORDS + 1)
        )
        if here:
            runs[unit] = here | runs.get(unit, frozenset())
    every = frozenset().union(*runs.values())
    return Part(name, units, frozenset(pmids), tuple(titles), runs, every)


def find_leak(left: Part, right: Part) -> Leak:
    """Return what two parts share."""
    titles = frozenset(left.titles)
    return Leak(
        left.name,
        right.name,
        tuple(sorted(left.pmids & right.pmids, key=int)),
        tuple(title for title in right.titles if title in titles),
        tuple(unit for unit, runs in right.runs.items() if not runs.isdisjoint(left.all_runs)),
        right.units,
    )


def _units(sentences: Sequence[Sentence]) -> Iterator[tuple[str, list[Sentence]]]:
    """Yield the documents, or the sentences where there are none, each with a name."""
    begun: list[Sentence] = []
    for sentence in sentences:
        if begun and (not sentence.document or sentence.starts_document):
            yield begun[0].document or f"line {begun[0].line}", begun
            begun = []
        begun.append(sentence)
    if begun:
        yield begun[0].document or f"line {begun[0].line}", begun


def _words(sentence: Sentence) -> list[str]:
    return _WORD.findall(" ".join(sentence.words).casefold())
