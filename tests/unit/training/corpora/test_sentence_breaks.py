from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from training.corpora.sentence_breaks import repair_breaks, repair_file


def drifted(documents: list[list[list[str]]]) -> list[list[str]]:
    """Break sentences as the public source did: a length of one for each document's mark."""
    rows = [row for document in documents for sentence in document for row in sentence]
    lengths = [
        length
        for document in documents
        for length in (1, *(len(sentence) for sentence in document))
    ]
    bounds = [0, *accumulate(lengths)]
    blocks = [rows[start:end] for start, end in pairwise(bounds)]
    return [block for block in blocks if block]


def sentence(number: int, length: int) -> list[str]:
    return [*(f"w{number}\tO" for _ in range(length - 1)), ".\tO"]


@given(st.lists(st.lists(st.integers(2, 9), min_size=1, max_size=6), min_size=1, max_size=8))
def test_breaks_come_back_to_their_places(lengths: list[list[int]]) -> None:
    documents = [[sentence(size, size) for size in sizes] for sizes in lengths]
    true = [row for document in documents for row in document]
    mended = list(repair_breaks(drifted(documents)))
    true_ends = set(accumulate(map(len, true)))
    mended_ends = set(accumulate(map(len, mended)))
    assert true_ends <= mended_ends
    # The one extra break is where the end of the file cut the last length.
    assert len(mended_ends - true_ends) <= 1


def test_a_drifted_file_becomes_right() -> None:
    wrong = b"A\tO\n\nB\tB-X\n.\tO\nC\tO\n\nD\tO\n\n.\tO\nE\tO\n.\tO\n"
    right = b"A\tO\nB\tB-X\n.\tO\n\nC\tO\nD\tO\n.\tO\n\nE\tO\n.\tO\n\n"
    assert repair_file(wrong) == right
    assert repair_file(wrong.replace(b"\n", b"\r\n")) == right
