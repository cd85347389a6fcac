"""Consistency checks between the splits of a corpus: labels, mentions, sentences.

`pubner corpora check` and training use the same checks, so that both accept the same corpora.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.tags import OUTSIDE, split_tag
from training.corpora.catalogue import CatalogueEntry, Split
from training.corpora.corpus import Corpus
from training.corpora.tasks import entity_type_of, label_key, type_hint, unknown_type
from training.corpora.tsv import Problem, Sentence

_SHORT = 5
"""Shorter sentences (in words) repeat by chance, such as `CONCLUSION :`."""

Splits = Mapping[Split, Sequence[Sentence]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of a corpus as a whole; one that `breaks` it prevents training."""

    problem: Problem
    breaks: bool


def compare_splits(corpus: Corpus, splits: Splits) -> list[Finding]:
    """Return the inconsistencies between the `splits` of `corpus`, each valid in itself."""
    found = list(_compare_labels(corpus, splits)) if corpus.labels is None else []
    if corpus.entry is not None:
        found += _hint_types(corpus.entry)
    found += _count_mentions(corpus, splits)
    for split, sentences in splits.items():
        if split != Split.TRAIN and Split.TRAIN in splits:
            train = corpus.path(Split.TRAIN).name
            found += _compare_sentences(corpus.path(split), sentences, splits[Split.TRAIN], train)
    for split, sentences in splits.items():
        found += _check_normal_form(corpus.path(split), sentences)
    return found


def _labels(sentences: Sequence[Sentence]) -> dict[str, tuple[int, int]]:
    """Return the number of uses of each label, and the line of its first use."""
    uses: Counter[str] = Counter()
    lines: dict[str, int] = {}
    for sentence in sentences:
        for index, tag in enumerate(sentence.tags):
            if tag == OUTSIDE:
                continue
            position, label = split_tag(tag)
            uses[label] += position in ("B", "S")
            lines.setdefault(label, sentence.line_of(index))
    return {label: (uses[label], lines[label]) for label in lines}


def _compare_labels(corpus: Corpus, splits: Splits) -> Iterator[Finding]:
    """Find labels without entity type, spelled inconsistently, or used in one split only."""
    train = _labels(splits.get(Split.TRAIN, ()))
    path = corpus.path(Split.TRAIN)
    common: dict[str, str] = {}
    for label in sorted(train, key=lambda name: -train[name][0]):
        line = train[label][1]
        kind = entity_type_of(label)
        if kind is None:
            yield Finding(Problem(path, line, unknown_type(label)), breaks=True)
        elif hint := type_hint(label, kind):
            yield Finding(Problem(path, line, hint), breaks=False)
        usual = common.setdefault(label_key(label), label)
        if usual != label:
            reason = f"the label {label!r} is spelled {usual!r} elsewhere; write it the same way"
            yield Finding(Problem(path, line, reason), breaks=True)
    if Split.TRAIN not in splits:
        return
    for split, sentences in splits.items():
        own = _labels(sentences)
        for label, (_, line) in own.items():
            if label in train:
                continue
            usual = common.get(label_key(label), "")
            hint = f"; is it {usual!r}?" if usual else ""
            known = ", ".join(sorted(train)) or "none"
            reason = f"the label {label!r} is not in {path.name}, which has {known}{hint}"
            yield Finding(Problem(corpus.path(split), line, reason), breaks=True)
        if split == Split.DEVEL and own:
            for label in sorted(train.keys() - own.keys()):
                reason = (
                    f"no mention has the label {label!r}, so it does not affect model selection "
                    "and scores"
                )
                yield Finding(Problem(corpus.path(split), 1, reason), breaks=False)


def _hint_types(entry: CatalogueEntry) -> Iterator[Finding]:
    """Find entity types of a description that look like misspelt known ones."""
    for label, kind in entry.types.items():
        if hint := type_hint(label, kind):
            yield Finding(Problem(Path(entry.described_in), 1, hint), breaks=False)


def _count_mentions(corpus: Corpus, splits: Splits) -> Iterator[Finding]:
    """Find splits without a mention.

    For a corpus of the catalogue the labels are known, and teachers may label its training split.
    """
    for split in (Split.TRAIN, Split.DEVEL):
        sentences = splits.get(split)
        if not sentences or any(tag != OUTSIDE for one in sentences for tag in one.tags):
            continue
        if split == Split.TRAIN:
            reason = "no mention in the whole file; nothing can be learned from it"
        else:
            reason = "no mention in the whole file; no epoch can be chosen, no score calibrated"
        breaks = split == Split.DEVEL or corpus.labels is None
        yield Finding(Problem(corpus.path(split), 1, reason), breaks=breaks)


def _compare_sentences(
    path: Path, sentences: Sequence[Sentence], train: Sequence[Sentence], train_name: str
) -> Iterator[Finding]:
    """Find sentences that are in the training split too."""
    known = {sentence.words for sentence in train if len(sentence.words) >= _SHORT}
    repeated = [sentence.line for sentence in sentences if sentence.words in known]
    if repeated:
        reason = (
            f"{len(repeated):,} of {len(sentences):,} sentences are in {train_name} too, the first "
            "here; scores on them are too high"
        )
        yield Finding(Problem(path, repeated[0], reason), breaks=False)


def _check_normal_form(path: Path, sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Find words that are not in NFC, such as letters with combining accents."""
    lines = [
        sentence.line_of(index)
        for sentence in sentences
        for index, word in enumerate(sentence.words)
        if not word.isascii() and not unicodedata.is_normalized("NFC", word)
    ]
    if lines:
        reason = (
            f"{len(lines):,} words are not in Unicode's normal form NFC, the first here; a cased "
            "tokeniser may not know them"
        )
        yield Finding(Problem(path, lines[0], reason), breaks=False)
