"""Evaluation sets of the gate: corpus splits, and documents with gold mentions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import CorpusError, SettingsError
from schemas.records import Span
from schemas.tasks import Task
from training.corpora.catalogue import Split
from training.corpora.corpus import open_corpus, present_corpora
from training.corpora.spans import spans_of
from training.evaluation.documents import only_head, read_gold_file, split_word
from training.evaluation.predict import Context, Reading, readings_of


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSet:
    """Texts with gold mentions of one head.

    `gold` holds the mentions of each unit (a sentence of a corpus, or a document) as spans of its
    text; `readings` are the texts that a tagger reads at once.
    """

    name: str
    head: str
    unit: str
    gold: tuple[tuple[Span, ...], ...]
    readings: tuple[Reading, ...]

    @property
    def labels(self) -> frozenset[str]:
        """The labels of the gold mentions."""
        return frozenset(span.label for spans in self.gold for span in spans)


def read_sets(
    tasks: Sequence[Task],
    *,
    root: Path,
    corpora: Sequence[str],
    split: Split,
    context: Context,
    documents: Sequence[str],
) -> tuple[EvaluationSet, ...]:
    """Return the sets to score the heads on.

    :param tasks: the heads of both checkpoints
    :param corpora: names of corpora under `root`; without any, and without documents, the existing
        ones of the heads
    :param documents: PubTator files, `HEAD=FILE`, or `FILE` if only one head has its labels
    :raises SettingsError: if no head reads a corpus or file, or `split` is test.
    :raises CorpusError: if a corpus is missing or broken, or has labels that no head has.
    """
    refuse_test(split)
    heads: dict[str, set[str]] = {}
    for task in tasks:
        heads.setdefault(task.name, set()).update(task.label_names)
    if not corpora and not documents:
        corpora = [name for name in present_corpora(root, split) if name in heads]
    out = [_corpus_set(root, name, split, context) for name in dict.fromkeys(corpora)]
    out += [_document_set(word, heads) for word in dict.fromkeys(documents)]
    for one in out:
        if one.head not in heads:
            raise SettingsError(
                f"{one.name}: neither checkpoint has the head {one.head!r}; they have "
                f"{', '.join(heads)}"
            )
        if not one.gold or not one.labels:
            raise CorpusError(f"{one.name} holds no gold mention, so nothing can be scored on it")
        if unknown := one.labels - heads[one.head]:
            raise CorpusError(
                f"{one.name} has the labels {', '.join(sorted(unknown))}, which no head "
                f"{one.head!r} has; they have {', '.join(sorted(heads[one.head]))}"
            )
    return tuple(out)


def refuse_test(split: Split) -> None:
    """Reject a test split for the gate.

    :raises SettingsError: if `split` is one.
    """
    if split == Split.TEST:
        raise SettingsError(
            "option --split 'test': promotion is model selection, which must not use test "
            "splits, or their scores become biased; use devel"
        )


def _corpus_set(root: Path, name: str, split: Split, context: Context) -> EvaluationSet:
    corpus = open_corpus(root, name)
    sentences = corpus.sentences(split)
    return EvaluationSet(
        f"{corpus.name}, {split}",
        corpus.name,
        "sentences",
        tuple(spans_of(sentence) for sentence in sentences),
        tuple(readings_of(sentences, context)),
    )


def _document_set(word: str, heads: dict[str, set[str]]) -> EvaluationSet:
    head, path = split_word(word)
    gold = read_gold_file(path)
    return EvaluationSet(
        gold.path.name,
        only_head(gold, heads) if head is None else head,
        "documents",
        tuple(text.spans for text in gold.texts),
        tuple(
            Reading(text.text, range(index, index + 1), (0,))
            for index, text in enumerate(gold.texts)
        ),
    )
