"""How far two sets of mentions differ."""

from benchmarks.mentions import difference


def test_what_is_missing_and_what_is_too_much_both_count() -> None:
    reference = {(0, "a", n) for n in range(100)}
    found = (reference - {(0, "a", 5)}) | {(0, "a", 500)}
    assert difference(found, reference) == {
        "mentions": 100,
        "reference_mentions": 100,
        "share_different": 0.02,
    }


def test_the_same_differ_by_nothing() -> None:
    assert difference([1, 2], [2, 1])["share_different"] == 0
    assert difference([], [])["share_different"] == 0
