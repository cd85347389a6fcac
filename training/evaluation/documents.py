"""End-to-end scores: strict matching of character spans on raw documents.

The gold is PubTator: mentions at character offsets into title, one separator and abstract, which
are the offsets of a citation's text. The types of the NCBI disease corpus all become `Disease`.
Duplicate gold mentions count once. Overlapping gold mentions are all kept, though a head, whose
mentions never overlap, can predict only one of such a group.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import CorpusError, InputError, SettingsError
from schemas.records import Span
from schemas.tasks import Task
from training.evaluation.predict import Annotator, annotate_texts
from training.evaluation.report import DocumentReport
from training.evaluation.strict import strict_score
from worker.cli.input_files import regular_file
from worker.readers.pubtator import GoldDocument, read_gold

NCBI_DISEASE_TYPES = frozenset({"SpecificDisease", "DiseaseClass", "Modifier", "CompositeMention"})


@dataclass(frozen=True, slots=True)
class GoldText:
    """A document's text and its distinct gold mentions, with the labels of the head."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class GoldFile:
    """The documents of one PubTator file; `problems` lists the omitted gold mentions."""

    path: Path
    texts: tuple[GoldText, ...]
    labels: frozenset[str]
    problems: tuple[str, ...]


def read_gold_file(path: Path) -> GoldFile:
    """Read a PubTator file with gold mentions.

    :raises InputError: if it cannot be read, or is not a regular file.
    :raises CorpusError: if a document is malformed, or no document has a mention.
    """
    path = regular_file(str(path))
    try:
        with path.open("rb") as stream:
            documents = list(read_gold(stream))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); expected a PubTator file"
        ) from error
    except CorpusError as error:
        raise CorpusError(f"{path}: {error}") from error
    texts = tuple(_gold_text(document) for document in documents)
    labels = frozenset(span.label for text in texts for span in text.spans)
    if not labels:
        raise CorpusError(f"{path}: holds no gold mention in {len(texts)} documents")
    problems = tuple(problem for document in documents for problem in document.problems)
    return GoldFile(path, texts, labels, problems)


def _gold_text(document: GoldDocument) -> GoldText:
    spans = {
        Span(span.start, span.end, "Disease" if span.label in NCBI_DISEASE_TYPES else span.label)
        for span in document.spans
    }
    return GoldText(document.text, tuple(sorted(spans)))


def split_word(word: str) -> tuple[str | None, Path]:
    """Parse `HEAD=FILE` or `FILE`; return the head (or None) and the file."""
    head, equals, path = word.partition("=")
    if equals and not Path(word).exists():
        return head, Path(path)
    return None, Path(word)


def only_head(gold: GoldFile, heads: Mapping[str, Collection[str]]) -> str:
    """Return the head that has just the labels of the file.

    :param heads: the labels by head
    :raises SettingsError: if there is none, or if there are several.
    """
    fitting = [name for name, labels in heads.items() if set(labels) == gold.labels]
    if len(fitting) != 1:
        raise SettingsError(
            f"{gold.path}: {' or '.join(fitting) or 'none of the heads'} has just the labels "
            f"{', '.join(sorted(gold.labels))}; name the head to score with HEAD=FILE"
        )
    return fitting[0]


def head_for(gold: GoldFile, tasks: Sequence[Task], head: str | None = None) -> Task:
    """Return the task to score on `gold`: `head`, or the only one with the labels of the file.

    :raises SettingsError: if there is no such head or it lacks a label, or if several match.
    """
    known = {task.name: task for task in tasks}
    if head is None:
        head = only_head(gold, {task.name: task.label_names for task in tasks})
    elif head not in known or not gold.labels <= set(known[head].label_names):
        raise SettingsError(
            f"{gold.path}: the checkpoint has no head {head!r} with the labels "
            f"{', '.join(sorted(gold.labels))}"
        )
    return known[head]


def overlapping_count(spans: Sequence[Span]) -> int:
    """Return how many of `spans` overlap another of them."""
    return sum(
        any(
            other is not span and other.start < span.end and span.start < other.end
            for other in spans
        )
        for span in spans
    )


def evaluate_documents(
    tagger: Annotator,
    task: Task,
    gold: GoldFile,
    progress: Callable[[int], None] = lambda _: None,
) -> DocumentReport:
    """Score the head of `task` on whole documents; labels that `gold` never uses are ignored.

    `progress` is called with the number of documents read so far.
    """
    labels = [label for label in task.label_names if label in gold.labels]
    texts = [text.text for text in gold.texts]
    found = [
        [span for span in spans if span.label in gold.labels]
        for spans in annotate_texts(tagger, texts, task.name, progress)
    ]
    return DocumentReport(
        head=task.name,
        strict=strict_score([text.spans for text in gold.texts], found, labels),
        documents=len(gold.texts),
        mentions=sum(len(text.spans) for text in gold.texts),
        overlapping=sum(overlapping_count(text.spans) for text in gold.texts),
    )
