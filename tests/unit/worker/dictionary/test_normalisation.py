"""Normal forms: which ways of writing a mention are one key, and which are not."""

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.dictionary.normalisation import LETTER_CASES, Normaliser, Rules, letter_case

NORMALISER = Normaliser(Rules())
PLAIN = Normaliser(Rules(case=False, hyphens=False, plurals=False, greek=False, numbers=False))


@pytest.mark.parametrize(
    ("rule", "writings"),
    [
        ("case", ("Breast Cancer", "breast cancer", "BREAST CANCER")),
        ("hyphens", ("IL-2", "IL 2", "IL2", "IL - 2", "IL\u20102", "IL\u22122")),
        ("hyphens", ("NF-kB", "NF kB", "NFkB")),
        ("plurals", ("cancer", "cancers")),
        ("plurals", ("biopsy", "biopsies")),
        ("plurals", ("box", "boxes")),
        ("plurals", ("NSAID", "NSAIDs")),
        ("plurals", ("Alzheimer's disease", "Alzheimer\u2019s disease", "Alzheimer disease")),
        ("greek", ("TNF alpha", "TNF α")),
        ("greek", ("λ phage", "lambda phage")),
    ],
)
def test_writings_are_one_key_by_one_rule(rule: str, writings: tuple[str, ...]) -> None:
    assert len({NORMALISER.key(writing) for writing in writings}) == 1
    without = Normaliser(dataclasses.replace(Rules(), **{rule: False}))
    assert len({without.key(writing) for writing in writings}) > 1


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("TNF-α", "tnfalpha"),
        ("µ-opioid receptors", "muopioidreceptor"),
        ("Sjögren's syndrome", "sjogrensyndrome"),
        ("Sjo\u0308gren syndrome", "sjogrensyndrome"),
        ("H\u00b2O", "h2o"),
        ("\ufb01brosis", "fibrosis"),
        ("IL-1, 2", "il1,2"),
        ("1-2", "1 2"),
        ("ΑΒ", "alphabeta"),
        ("-", ""),
        ("", ""),
    ],
)
def test_keys(text: str, key: str) -> None:
    assert NORMALISER.key(text) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [("1 2", "12"), ("AIDS", "AID"), ("virus", "viru"), ("class", "clas"), ("IL-2", "IL-12")],
)
def test_what_differs_keeps_different_keys(one: str, other: str) -> None:
    assert NORMALISER.key(one) != NORMALISER.key(other)


def test_without_rules_a_key_is_what_is_written() -> None:
    assert PLAIN.key("TNF-α of IL2s") == "TNF - α of IL2s"


def test_patterns_have_a_mark_for_each_number() -> None:
    tokens = NORMALISER.read("IL-12 and HLA-B27s")
    assert NORMALISER.join(tokens.with_patterns().forms) == "il#andhlab#s"
    assert tokens.with_patterns().starts == tokens.starts


@pytest.mark.parametrize(
    ("text", "case"),
    [("was", 0), ("12", 0), ("Was", 1), ("Breast cancer", 1), ("WAS", 2), ("A", 2), ("mRNA", 3),
     ("TNF-α", 3), ("β", 0), ("Breast Cancer", 3)],
)  # fmt: skip
def test_letter_cases(text: str, case: int) -> None:
    assert letter_case(text) == case < LETTER_CASES


@given(st.text(st.sampled_from("aAsS'-–α2 é\u0301\n\r\x85\u2028\u3000𝛼(µ²"), max_size=30))
def test_pretokens_cover_all_but_white_space_in_order(text: str) -> None:
    tokens = NORMALISER.read(text)
    behind = 0
    for start, end, form in zip(tokens.starts, tokens.ends, tokens.forms, strict=True):
        assert start < end
        assert text[behind:start].strip() == ""
        assert len(text[behind:start].splitlines()) <= 1, "a line break is a pre-token of its own"
        assert (form == "\n") == (text[start:end].splitlines() == [""])
        behind = end
    assert text[behind:].strip() == ""


@given(st.lists(st.text(st.sampled_from("abAB12αs"), min_size=1, max_size=4), max_size=5))
def test_a_key_grows_as_it_is_joined(words: list[str]) -> None:
    """The search for spans depends on it: a longer span's key begins with a shorter's."""
    keys = [NORMALISER.key(" ".join(words[:count])) for count in range(len(words) + 1)]
    assert all(longer.startswith(shorter) for shorter, longer in pairwise(keys))
