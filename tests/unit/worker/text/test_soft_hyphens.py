"""Soft hyphens: those that break a word, and those that join two."""

from collections.abc import Sequence

import pytest

from worker.text.soft_hyphens import resolve_soft_hyphens

KNOWN = {"hepatitis", "case", "control", "drug", "induced", "cancer"}


def count(words: Sequence[str]) -> list[int]:
    """Count a known word as one piece, and of another every letter."""
    return [sum(1 if part in KNOWN else len(part) for part in given.split()) for given in words]


@pytest.mark.parametrize(
    ("written", "settled"),
    [
        ("hepa\u00adtitis", "hepa\u200btitis"),
        ("he\u00adpa\u00adti\u00adtis", "he\u200bpa\u200bti\u200btis"),
        ("case\u00adcontrol", "case-control"),
        ("IL\u00ad6", "IL-6"),
        ("drug\u00adinduced hepa\u00adtitis", "drug-induced hepa\u200btitis"),
        ("Fe(II)\u00adinduced \u00ad x\u00ad", "Fe(II)-induced - x-"),
        ("none", "none"),
        ("a\u00ad" * 200_000, "a-" * 200_000),
        ("a" * 1_000_000 + " \u00ad", "a" * 1_000_000 + " -"),
    ],
)
def test_the_vocabulary_tells_them_apart(written: str, settled: str) -> None:
    assert resolve_soft_hyphens(written, count) == settled
