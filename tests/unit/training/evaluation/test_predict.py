from collections.abc import Sequence

import pytest

from schemas.records import Annotation, Mention, Span
from schemas.tasks import TASKS, EntityType, Task
from training.corpora.spans import spans_of
from training.corpora.tsv import Sentence
from training.evaluation.evaluate import evaluate_head
from training.evaluation.predict import Context, predict


class Lexicon:
    """Annotates by a list of phrases: `bc2gm` finds each, `ncbi-disease` nothing else."""

    def __init__(self, *phrases: str) -> None:
        self.phrases = phrases
        self.tasks: tuple[Task, ...] = (TASKS["bc2gm"],)
        self.read: list[str] = []

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        self.read += texts
        return [Annotation(tuple(self.mentions(text))) for text in texts]

    def mentions(self, text: str) -> list[Mention]:
        gene = [
            Mention("bc2gm", "GENE", EntityType.GENE, at, at + len(phrase), 0.9, False, "x")
            for phrase in self.phrases
            for at in range(len(text))
            if text.startswith(phrase, at)
        ]
        other = Mention("ncbi-disease", "Disease", EntityType.DISEASE, 0, 1, 0.9, True, "x")
        return [*gene, other]


SENTENCES = [
    Sentence(("IL-2", "binds"), ("S-GENE", "O"), 1),
    Sentence(("so", "does", "p53"), ("O", "O", "S-GENE"), 4, starts_document=True),
    *(Sentence(("p53", "."), ("S-GENE", "O"), 9 + number) for number in range(9)),
]


@pytest.mark.parametrize("context", Context)
def test_every_sentence_gets_its_own_spans(context: Context) -> None:
    tagger = Lexicon("IL-2", "p53")
    found = predict(tagger, "bc2gm", SENTENCES, context)
    assert found == [spans_of(sentence) for sentence in SENTENCES]
    report = evaluate_head(tagger, TASKS["bc2gm"], SENTENCES, context=context)
    assert report.strict.overall.f1 == 1.0
    assert report.token_weighted_f1 == 1.0
    assert (report.sentences, report.mentions, report.off_boundary) == (11, 11, 0)


def test_windows_hold_eight_sentences_and_cross_no_document() -> None:
    tagger = Lexicon()
    told: list[int] = []
    predict(tagger, "bc2gm", SENTENCES, Context.WINDOW, told.append)
    assert tagger.read == [
        "IL-2 binds",
        "so does p53" + " p53 ." * 7,
        "p53 . p53 .",
    ]
    assert told == [3]


def test_a_span_across_sentences_counts_as_found_wrongly() -> None:
    sentences = [Sentence(("p53",), ("S-GENE",), 1), Sentence(("p53",), ("S-GENE",), 3)]
    tagger = Lexicon("p53 p53")
    assert predict(tagger, "bc2gm", sentences, Context.WINDOW) == [(Span(0, 7, "GENE"),), ()]
    report = evaluate_head(tagger, TASKS["bc2gm"], sentences, context=Context.WINDOW)
    assert report.strict.overall.precision == report.strict.overall.recall == 0.0
    assert report.off_boundary == 1


def test_a_span_within_a_word_is_counted() -> None:
    report = evaluate_head(Lexicon("IL"), TASKS["bc2gm"], SENTENCES[:1])
    assert report.off_boundary == 1
    assert report.strict.overall.f1 == 0.0
