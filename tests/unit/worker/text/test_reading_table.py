"""Reading: other characters for the model, the same offsets for everyone else."""

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import CheckpointError
from worker.text.reading_table import NEWEST, reading_of

READING = reading_of(NEWEST)
UNUSUAL = "−‑ﬁﬃ½²⁻αΔς𝛼µＴ０®±≤…Ⅱßøæı’″\u00a0\u2009\u200b\ufeff\u00ad\u0301\u0308\ufe0féÅ中Ж😀"
TEXT = st.text(
    st.one_of(
        st.sampled_from(string.ascii_letters + " -.\n" + UNUSUAL),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (
            "non\u2010small\u2011cell\u2212lung\u2013\u2014\u2015\uff0d\ufe63x",
            "non-small-cell-lung-----x",
        ),
        ("TNF-α, Δ, ΤGFβ, 𝛽, ϕ, ϵ, ς", "TNF-alpha, Delta, TauGFbeta, beta, phi, epsilon, sigma"),
        ("µ-opioid μ-opioid", "mu-opioid mu-opioid"),
        ("300 μM, 10µg/ml, 5 μmol, ㎍", "300 μM, 10μg/ml, 5 μmol, μg"),
        ("μ, μOR, μmuscle", "mu, muOR, mumuscle"),
        ("TGF-ß1", "TGF-beta1"),
        ("ＩＬ－２　（ｇｅｎｅ）", "IL-2 (gene)"),
        ("ﬁbrosis eﬄux ﬀ", "fibrosis efflux ff"),
        ("10⁻⁷ M, H₂O, NOₓ, Ca²⁺", "10-7 M, H2O, NOx, Ca2+"),
        ("𝐁𝐑𝐂𝐀𝟏", "BRCA1"),
        ("type Ⅱ, grade ⅲ", "type II, grade iii"),
        ("Alzheimer’s 5′-end 2″ “quoted”", "Alzheimer's 5'-end 2'' \"quoted\""),
        ("a\u00a0b\u2009c\u202fd\u3000e", "a b c d e"),
        ("ca\u200bn\ufeffc\u2060er", "cancer"),
        ("1.5 ± 2, ≥3 × 4 → 5", "1.5 +/- 2, >=3 x 4 -> 5"),
        ("Taxol® and T-REx™", "Taxol(R) and T-REx(TM)"),
        ("Mjøsa, Łódź, Æ, ı", "Mjosa, Lódź, AE, i"),
        ("Sjo\u0308gren", "Sjögren"),
        ("²\u0301", "2\u0301"),
        ("naïve é Ж 中文 😀 °C €", "naïve é Ж 中文 😀 °C €"),
    ],
)
def test_what_characters_are_read_as(written: str, read: str) -> None:
    assert READING.read(written).text == read


def test_each_letter_of_the_greek_alphabet_has_a_name_in_both_cases() -> None:
    for point in (*range(0x391, 0x3A2), *range(0x3A3, 0x3AA), *range(0x3B1, 0x3CA)):
        name = unicodedata.name(chr(point)).split()[-1].replace("LAMDA", "LAMBDA")
        read = READING.read(chr(point)).text
        assert read == (name.capitalize() if chr(point).isupper() else name.lower())


@given(TEXT)
def test_every_character_read_stands_for_a_part_of_the_text(text: str) -> None:
    read = READING.read(text)
    if read.starts is None or read.ends is None:
        assert read.text == text
        return
    starts, ends = read.starts.tolist(), read.ends.tolist()
    assert len(starts) == len(ends) == len(read.text)
    assert all(0 <= start < end <= len(text) for start, end in zip(starts, ends, strict=True))
    assert starts == sorted(starts)
    assert ends == sorted(ends)
    for character, start, end in zip(read.text, starts, ends, strict=True):
        if text[start:end] == character:
            continue
        assert character in READING.read(text[start:end]).text
    unread = set(range(len(text))).difference(*map(range, starts, ends))
    assert all(unicodedata.category(text[place]) == "Cf" for place in unread)


@given(st.text(st.characters(max_codepoint=127), max_size=40))
def test_ascii_is_read_as_it_stands(text: str) -> None:
    read = READING.read(text)
    assert read.text is text
    assert read.starts is None


@given(TEXT)
def test_nothing_is_read_twice(text: str) -> None:
    once = READING.read(text).text
    assert READING.read(once).text == once


def test_line_breaks_stay() -> None:
    text = "α\n\u0301β\r\n\u2028γ\x85é"
    assert READING.read(text).text.splitlines() == ["alpha", "\u0301beta", "", "gamma", "é"]


def test_endless_marks_are_read_in_linear_time() -> None:
    """Composing sorts marks by insertion."""
    text = "e" + "\u0301\u0316" * 200_000
    read = READING.read(text)
    assert len(read.text) <= len(text)


def test_a_table_that_is_not_known_is_refused() -> None:
    with pytest.raises(CheckpointError, match="the table '99', this version has only '1'"):
        reading_of("99")
