"""Tallies of what was found: added in any order, binned exactly, kept as references."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.checkpoints import tiny_checkpoint
from tests.support.dictionaries import head_content, write_dictionary
from tests.support.drift import annotations, reference
from worker.drift.tally import (
    BINS,
    CELLS,
    LEAST_IN_BIN,
    DayTally,
    DriftTally,
    head_reference,
    in_bins,
    joined_reference,
    reference_of,
    score_cells,
    tally_of,
    utc_day,
)
from worker.tagger import Tagger, load_tagger

SCORES = st.lists(st.floats(0, 1, width=32), max_size=300)
TEXTS = [
    "The BRCA1 gene was found in breast cancer of man.",
    "Asthma and cell death \u4e16\u754c, with \ud55c.",
    "In disease, the protein of cells.",
]


@given(SCORES, SCORES)
def test_cells_count_every_score_once_and_add_up(first: list[float], second: list[float]) -> None:
    both = score_cells(first + second)
    assert both.shape == (CELLS,)
    assert both.sum() == len(first) + len(second)
    assert (score_cells(first) + score_cells(second) == both).all()


@given(st.lists(st.floats(2**-19, 1 - 2**-19, width=32), min_size=1, max_size=300))
def test_bins_of_a_reference_are_those_of_the_scores_themselves(scores: list[float]) -> None:
    cells = score_cells(scores)
    found = head_reference(cells, 10)
    places = np.searchsorted(found.edges, np.array(scores), side="right")
    expected = np.bincount(places, minlength=len(found.edges) + 1)
    assert in_bins(cells, found.edges).tolist() == expected.tolist()
    assert np.allclose(np.array(found.shares) * len(scores), expected, atol=1e-3 * len(scores))


@given(SCORES)
def test_no_bin_of_a_reference_has_few_mentions(scores: list[float]) -> None:
    found = head_reference(score_cells(scores), 10)
    assert len(found.shares) <= max(1, min(BINS, len(scores) // LEAST_IN_BIN))
    if found.edges:
        assert min(in_bins(score_cells(scores), found.edges)) >= LEAST_IN_BIN


def test_many_scores_give_bins_at_the_deciles() -> None:
    scores = np.random.default_rng(0).beta(8, 2, 20_000)
    found = head_reference(score_cells(scores), 10_000)
    assert len(found.shares) == BINS
    assert found.edges == pytest.approx(np.quantile(scores, np.arange(1, 10) / 10), abs=0.01)
    assert found.mentions_per_citation == 2.0


def test_tied_scores_share_a_bin() -> None:
    found = head_reference(score_cells([0.75] * 500 + [0.9] * 300 + [0.3] * 200), 100)
    assert found.shares == (0.2, 0.5, 0.3)
    assert 0.3 < found.edges[0] < 0.75 < found.edges[1] < 0.9
    assert head_reference(score_cells([1.0] * 500), 100).shares == (1.0,)


def test_scores_are_taken_as_an_output_stores_them() -> None:
    scores = np.random.default_rng(1).uniform(0, 1, 5000)
    assert (score_cells(scores) == score_cells(scores.astype(np.float32))).all()


def test_a_tally_counts_texts_pieces_and_mentions_by_head() -> None:
    found = annotations(50, unknown=3, heads=("bc2gm", "ncbi-disease"))
    tally = tally_of(found)
    assert (tally.citations, tally.texts, tally.word_pieces) == (50, 50, 5000)
    assert tally.unknown_share == 0.03
    for head in ("bc2gm", "ncbi-disease"):
        expected = sum(mention.task == head for one in found for mention in one.mentions)
        assert tally.mentions(head) == expected > 0
        assert tally.mentions_per_citation(head) == expected / 50
    assert tally.mentions("jnlpba") == 0
    assert DayTally().unknown_share is None
    assert DayTally().mentions_per_citation("bc2gm") == 0.0


@given(st.permutations(range(6)), st.integers(1, 5))
def test_tallies_merge_in_any_order_and_split(order: list[int], cut: int) -> None:
    parts = [
        (f"c{number % 2}", date(2026, 1, 1 + number % 3), tally_of(annotations(5, seed=number)))
        for number in range(6)
    ]
    whole, left, right = DriftTally(), DriftTally(), DriftTally()
    for part in parts:
        whole.add(*part)
    for place, number in enumerate(order):
        (left if place < cut else right).add(*parts[number])
    left.merge(right)
    assert list(left.days) == list(whole.days) == sorted(whole.days)
    for key, found in left.days.items():
        expected = whole.days[key]
        assert (found.citations, found.word_pieces) == (expected.citations, expected.word_pieces)
        assert {head: cells.tolist() for head, cells in found.cells.items()} == {
            head: cells.tolist() for head, cells in expected.cells.items()
        }


def test_adding_changes_neither_summand() -> None:
    tally, more = tally_of(annotations(5)), tally_of(annotations(5, seed=1))
    before = tally.mentions("bc2gm")
    assert (tally + more).mentions("bc2gm") == before + more.mentions("bc2gm")
    assert tally.mentions("bc2gm") == before


def test_a_day_is_that_of_utc() -> None:
    late = datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert utc_day(late) == date(2026, 2, 1)
    assert utc_day(datetime(2026, 1, 31, 23, 59, tzinfo=UTC)) == date(2026, 1, 31)


def test_references_join_by_head() -> None:
    genes = reference(annotations(100, unknown=1))
    diseases = reference(annotations(50, heads=("ncbi-disease",)), ("ncbi-disease",))
    joined = joined_reference([genes, diseases])
    assert joined is not None
    assert dict(joined.heads) == {**genes.heads, **diseases.heads}
    assert (joined.citations, joined.word_pieces) == (50, 15_000)
    assert joined.unknown_share == pytest.approx(100 / 15_000)
    assert joined_reference([genes]) == genes
    assert joined_reference([None]) is None
    partly = joined_reference([None, genes])
    assert partly is not None
    assert partly.unknown_share is None
    assert partly.heads == genes.heads


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Tagger:
    return load_tagger([tiny_checkpoint(tmp_path_factory.mktemp("tiny"))], device="cpu", threads=1)


def test_unknown_word_pieces_are_counted(tagger: Tagger) -> None:
    found = tagger.annotate(TEXTS)
    # The tiny vocabulary knows all characters of ASCII, but neither these ideographs nor Hangul.
    assert [one.unknown_pieces for one in found] == [0, 3, 0]
    assert all(one.word_pieces > one.unknown_pieces for one in found)


def test_a_reference_is_what_the_tagger_finds(tagger: Tagger) -> None:
    texts = [f"{text} {number}" for number in range(30) for text in TEXTS]
    made = reference_of(tagger, iter(texts), name="texts.jsonl")
    found = [one for text in texts for one in tagger.annotate([text])]
    assert (made.name, made.citations) == ("texts.jsonl", 90)
    assert made.word_pieces == sum(one.word_pieces for one in found)
    assert made.unknown_share == pytest.approx(90 / made.word_pieces, abs=1e-8)
    assert list(made.heads) == ["ncbi-disease", "bc2gm"]
    for head, expected in made.heads.items():
        assert expected.mentions == sum(m.task == head for one in found for m in one.mentions)
    assert sum(head.mentions for head in made.heads.values()) > 0
    assert reference_of(tagger, texts[::-1], name="x").sha256 != made.sha256
    assert reference_of(tagger, texts, name="x").sha256 == made.sha256
    with pytest.raises(ValueError, match="at least one text"):
        reference_of(tagger, [], name="x")


def test_a_dictionary_knows_all(tmp_path: Path) -> None:
    heads = {"bc2gm": head_content({"GENE": {"BRCA1": 0.9}})}
    tagger = load_tagger([write_dictionary(tmp_path / "dictionary", heads)])
    assert tagger.reference is None
    made = reference_of(tagger, TEXTS, name="x")
    assert (made.unknown_share, made.heads["bc2gm"].mentions) == (0.0, 1)
