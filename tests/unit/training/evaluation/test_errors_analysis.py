from pathlib import Path

import pytest

from schemas.records import Span
from schemas.tasks import TASKS
from training.corpora.catalogue import Split
from training.corpora.corpus import open_corpus
from training.corpora.spans import spans_of
from training.corpora.tsv import Sentence
from training.evaluation.errors import Edge, Outcome
from training.evaluation.errors_analysis import (
    FREQUENCIES,
    LENGTHS,
    SCORES,
    UNSEEN,
    Tally,
    analyse_errors,
    training_mentions,
)
from training.evaluation.evaluate import score_sentences

TASK = TASKS["ncbi-disease"]


def sentence(text: str, line: int = 1) -> Sentence:
    """Make a sentence of words, mentions in brackets: `a [breast cancer] case`."""
    words, tags = [], []
    for number, part in enumerate(text.replace("]", "[").split("[")):
        inside = part.split()
        words += inside
        if number % 2 == 0:
            tags += ["O"] * len(inside)
        elif len(inside) == 1:
            tags += ["S-Disease"]
        else:
            tags += ["B-Disease", *["I-Disease"] * (len(inside) - 2), "E-Disease"]
    return Sentence(tuple(words), tuple(tags), line)


def disease(start: int, end: int) -> Span:
    return Span(start, end, "Disease")


def recalls(tallies: tuple[Tally, ...]) -> dict[str, tuple[int, float | None]]:
    return {tally.name: (tally.gold_total, tally.recall) for tally in tallies}


def test_mentions_are_counted_by_how_often_their_text_is_in_training() -> None:
    training = training_mentions(
        [sentence("[Asthma]")] * 21
        + [sentence("[gout]")] * 6
        + [sentence("[lung cancer]")] * 2
        + [sentence("[rare breast disease]")]
    )
    assert training.counts["asthma"] == 21
    split = [
        sentence("[asthma]"),
        sentence("[GOUT]"),
        sentence("[Lung cancer]"),
        sentence("[rare breast disease]"),
        sentence("[breast cancer]"),
        sentence("[breast pain]"),
    ]
    found = [*(spans_of(one) for one in split[:4]), (), (disease(0, 6),)]
    head = analyse_errors(TASK, split, found, training=training)
    assert recalls(head.by_frequency) == {
        FREQUENCIES[0]: (2, 0.0),
        FREQUENCIES[1]: (1, 1.0),
        FREQUENCIES[2]: (1, 1.0),
        FREQUENCIES[3]: (1, 1.0),
        FREQUENCIES[4]: (1, 1.0),
    }
    known, new = head.unseen
    assert (known.name, known.gold) == (UNSEEN[0], {Outcome.MISS: 1})
    assert (new.name, new.gold) == (UNSEEN[1], {Outcome.BOUNDARY: 1})
    assert known.found == {Outcome.BOUNDARY: 1}  # `breast` alone, marked in `breast pain`


def test_without_training_or_scores_their_tables_are_empty() -> None:
    head = analyse_errors(TASK, [sentence("[gout]")], [()])
    assert head.by_frequency == head.unseen == head.by_score == ()
    assert head.missed[0].in_training is None


def test_mentions_are_counted_by_their_length_in_words_on_either_side() -> None:
    split = [sentence("[a b c d e f]"), sentence("[gout]"), sentence("[gout]")]
    head = analyse_errors(TASK, split, [[disease(0, 9)], [disease(0, 4)], []])
    assert recalls(head.by_length) == {
        LENGTHS[0]: (2, 0.5),
        LENGTHS[1]: (0, None),
        LENGTHS[2]: (0, None),
        LENGTHS[3]: (0, None),
        LENGTHS[4]: (1, 0.0),
    }
    assert [tally.found_total for tally in head.by_length] == [1, 0, 0, 0, 1]
    assert [tally.precision for tally in head.by_length] == [1.0, None, None, None, 0.0]


def test_found_mentions_are_counted_by_their_score() -> None:
    split = [sentence("[gout] and pain")]
    scores = {disease(0, 4): 0.99, disease(9, 13): 0.4}
    head = analyse_errors(TASK, split, [list(scores)], scores=[scores])
    assert {tally.name: tally.precision for tally in head.by_score if tally.found_total} == {
        SCORES[0]: 0.0,
        SCORES[-1]: 1.0,
    }
    assert all(not tally.gold_total for tally in head.by_score)


def test_edges_are_counted_with_the_words_left_off_and_added() -> None:
    split = [sentence("a [familial gout] attack")] * 2 + [sentence("a [familial gout] attack")]
    found = [[disease(11, 15)], [disease(11, 22)], [disease(2, 15)]]
    head = analyse_errors(TASK, split, found)
    assert head.edges == {(Edge.SHORT, Edge.EXACT): 1, (Edge.SHORT, Edge.LONG): 1}
    assert [(one.side, one.edge, one.text, one.count) for one in head.edge_texts] == [
        ("left", Edge.SHORT, "familial", 2)
    ]


def test_labels_and_their_confusions_are_counted() -> None:
    task = TASKS["bc5cdr"]
    split = [Sentence(("gout", "iron"), ("S-Disease", "S-Chemical"), 1)]
    head = analyse_errors(task, split, [[Span(0, 4, "Chemical"), Span(5, 9, "Chemical")]])
    assert head.confusions == {("Disease", "Chemical"): 1}
    assert {tally.name: (tally.recall, tally.precision) for tally in head.by_label} == {
        "Chemical": (1.0, 0.5),
        "Disease": (0.0, None),
    }
    assert head.counts[Outcome.TYPE] == 1


def test_frequent_texts_are_counted_whatever_their_case_in_their_usual_spelling() -> None:
    split = [
        sentence("[Gout]"),
        sentence("[gout]"),
        sentence("[gout]"),
        sentence("[gout]"),
        sentence("pain"),
    ]
    head = analyse_errors(
        TASK,
        split,
        [[], [], [], [disease(0, 4)], [disease(0, 4)]],
        training=training_mentions([sentence("[GOUT] , [pain]")]),
    )
    (missed,), (spurious,) = head.missed, head.spurious
    assert (missed.text, missed.count, missed.gold, missed.in_training) == ("gout", 3, 4, 1)
    assert (spurious.text, spurious.count, spurious.gold, spurious.in_training) == ("pain", 1, 0, 1)


def test_the_worst_sentences_have_many_errors_and_most_of_their_mentions_wrong() -> None:
    split = [
        sentence("[a] [b] [c] [d]", 1),
        sentence("[a]", 2),
        sentence("[a] [b] [c]", 3),
        sentence("[a]", 4),
    ]
    found = [[disease(0, 1), disease(2, 3), disease(4, 5)], [], [], [disease(0, 1)]]
    head = analyse_errors(TASK, split, found)
    assert [one.line for one in head.worst] == [3, 2, 1]
    assert [one.line for one in analyse_errors(TASK, split, found, most=1).worst] == [3]
    assert [one.line for one in head.examples[Outcome.MISS]] == [1, 2, 3]
    assert head.examples[Outcome.SPURIOUS] == ()


def test_sentences_and_findings_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="shorter"):
        analyse_errors(TASK, [sentence("[a]")], [])


def test_the_counts_of_a_real_corpus_are_those_of_its_strict_scores(data: Path) -> None:
    sentences = open_corpus(data / "corpora", "jnlpba").sentences(Split.DEVEL)
    task = TASKS["jnlpba"]
    labels = task.label_names
    found = [
        [
            Span(one.start, one.end + (place % 5 == 1), labels[place % 7 % 5])
            for place, one in enumerate(spans_of(sentence))
            if place % 3
        ]
        for sentence in sentences
    ]
    head = analyse_errors(task, sentences, found, training=training_mentions(sentences))
    strict = score_sentences(task, sentences, found).strict
    assert head.overall.recall == pytest.approx(strict.overall.recall)
    assert head.overall.precision == pytest.approx(strict.overall.precision)
    for tally in head.by_label:
        assert (tally.recall or 0.0) == pytest.approx(strict.by_type[tally.name].recall)
        assert (tally.precision or 0.0) == pytest.approx(strict.by_type[tally.name].precision)
    for tallies in (head.by_label, head.by_length, head.by_frequency):
        assert sum(tally.gold_total for tally in tallies) == 4_551
        assert sum(tally.found_total for tally in tallies) == head.overall.found_total
    assert head.by_frequency[0].gold_total == 0
