from pathlib import Path

import pytest

from schemas.errors import CorpusError
from training.corpora.schemes import Scheme
from training.corpora.tsv import Problem, Sentence, detect_file_scheme, read_sentences, scan

GOOD = b"Breast\tB-Disease\ncancer\tE-Disease\n.\tO\n\n\nBRCA1\tO\n\n"
SENTENCES = [
    Sentence(("Breast", "cancer", "."), ("B-Disease", "E-Disease", "O"), 1),
    Sentence(("BRCA1",), ("O",), 6),
]


def write(folder: Path, content: bytes) -> Path:
    path = folder / "train.tsv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [GOOD, GOOD.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + GOOD, GOOD.rstrip(b"\n"), GOOD + b"\n"],
    ids=["plain", "windows", "byte order mark", "no last newline", "blank at the end"],
)
def test_reads_sentences_whatever_the_line_ends(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, content)
    assert list(read_sentences(path, Scheme.IOBES, ("Disease",))) == SENTENCES


def test_document_starts_are_no_sentences(tmp_path: Path) -> None:
    path = write(tmp_path, b"-DOCSTART-\tO\n\nA\tO\n\nB\tB-X\n\n-DOCSTART-\tO\n\nC\tO\n")
    sentences = list(read_sentences(path, Scheme.IOB2))
    assert [(found.words, found.starts_document) for found in sentences] == [
        (("A",), True),
        (("B",), False),
        (("C",), True),
    ]


def test_a_document_start_without_a_blank_line_behind_it(tmp_path: Path) -> None:
    path = write(tmp_path, b"-DOCSTART-\tO\nA\tO\n\nB\tO\n")
    assert [found.starts_document for found in read_sentences(path, Scheme.IOB2)] == [True, False]


def test_a_line_separator_of_unicode_ends_no_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a\u2028b\tO\nc\u0085\tO\n".encode())
    (sentence,) = read_sentences(path, Scheme.IOB2)
    assert sentence.words == ("a\u2028b", "c\u0085")


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"a\tO\n\nb O\n", 3, "no tab: expected a word, a tab and a tag, got 'b O'"),
        (b"a\tO\nb\tO\tO\n", 2, "3 columns: expected a word and a tag"),
        (b"a\tO\n\tO\n", 2, "empty word"),
        (b"a\tO\n \tO\n", 2, "empty word"),
        (b"a\t\n", 1, "no tag after the word 'a'"),
        (b"a\tO\nb\xff\tO\n", 2, "not UTF-8: byte 0xff"),
        (b"a\tB-Gene\n", 1, "unknown label 'Gene': expected one of Disease"),
        (b"a\tO\n\nb\tI-Disease\nc\tE-Disease\n", 3, "illegal transition: IOBES does not allow"),
        (b"a\tO\nb\tB-Disease\n\nc\tO\n", 2, "illegal transition: the sentence ends inside"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_reason(
    tmp_path: Path, content: bytes, line: int, reason: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(CorpusError) as caught:
        list(read_sentences(path, Scheme.IOBES, ("Disease",)))
    assert str(caught.value).startswith(f"{path}, line {line}: {reason}")


def test_scanning_goes_on_behind_a_problem(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\tO\n\nb\nc\xff\tO\nd\tS-X\n\ne\tS-X\n")
    found = list(scan(path, Scheme.IOBES))
    assert [item.line for item in found] == [1, 3, 4, 7]
    assert [isinstance(item, Problem) for item in found] == [False, True, True, False]


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"nowhere\.tsv: cannot be read"):
        list(read_sentences(tmp_path / "nowhere.tsv", Scheme.IOBES))


def test_a_file_without_a_mention_is_of_the_usual_scheme(tmp_path: Path) -> None:
    assert detect_file_scheme(write(tmp_path, b"\n\n")) == Scheme.IOB2


def test_the_scheme_of_a_file_is_told_from_all_its_sentences(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\tB-X\nb\tI-X\n\n" + b"c\tO\n\n" * 50 + b"d\tS-X\n")
    assert detect_file_scheme(path) == Scheme.IOBES
