"""What two splits share, whatever their layout and tokenisation."""

import json
from pathlib import Path

import pytest

from pubner.cli import main
from training.corpora.leaks import RUN_WORDS, Leak, find_leak, part_of
from training.corpora.tsv import Sentence

TITLE = "A study of the IL-2 gene"
TEXT = " ".join(f"word{number}" for number in range(RUN_WORDS))


def document(name: str, *sentences: str, line: int = 1) -> list[Sentence]:
    return [
        Sentence(tuple(text.split()), ("O",) * len(text.split()), line, n == 0, name)
        for n, text in enumerate(sentences)
    ]


def leak(left: list[Sentence], right: list[Sentence]) -> Leak:
    return find_leak(part_of("left", left), part_of("right", right))


def test_nothing_is_shared() -> None:
    found = leak(document("1", TITLE, "One text ."), document("2", "Another title of no interest"))
    assert not found.found


def test_a_pmid_is_shared_whatever_the_name() -> None:
    found = leak(document("123", "A"), document("PMID-123", "B"))
    assert (found.pmids, found.titles, found.runs) == (("123",), (), ())
    assert leak(document("12_1", "A"), document("12_2", "B")).pmids == ("12",)
    assert leak(document("x", "A"), document("x", "B")).pmids == ()


def test_a_title_is_shared_whatever_its_case_and_tokens() -> None:
    found = leak(document("1", TITLE), document("2", "A STUDY of the IL - 2 gene ."))
    assert found.titles == ("a study of the il 2 gene",)
    assert not leak(document("1", "Case report ."), document("2", "Case report .")).found


def test_a_run_of_words_is_shared_across_sentences_and_punctuation() -> None:
    split = TEXT.replace("word5", "Word5 .")
    found = leak(document("1", "Title", TEXT), document("2", "Other", *split.split(" . "), "End"))
    assert (found.runs, found.units) == (("2",), 1)
    shorter = TEXT.rpartition(" ")[0]
    assert not leak(document("1", "Title", TEXT), document("2", "Other", shorter, "End")).found


def test_without_documents_each_sentence_stands_alone() -> None:
    halves = TEXT.split(" word5 ")
    left = [*document("", f"x {TEXT}", line=1), *document("", *halves, line=9)]
    right = [*document("", *halves, line=3), *document("", f"{TEXT} y", line=7)]
    found = leak(left, right)
    assert (found.runs, found.units) == (("line 7",), 3)


def write(folder: Path, split: str, *documents: tuple[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    rows = [json.dumps({"id": name, "text": text}) + "\n" for name, text in documents]
    (folder / f"{split}.jsonl").write_text("".join(rows))
    (folder.parent / f"{folder.name}.toml").write_text(
        f'folder = "{folder.name}"\nlayout = "jsonl"\n'
    )


def test_the_command_counts_and_fails_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a", "train", ("1", f"{TITLE}\n{TEXT}."), ("2", "Other"))
    write(tmp_path / "b", "train", ("7", f"{TITLE}!\nx"), ("8", "More"), ("2", f"Y\n{TEXT}"))
    write(tmp_path / "b", "test", ("9", "Nothing of it"))
    told = tmp_path / "leaks.json"
    data = ["--data", str(tmp_path), "--json", str(told)]
    assert main(["corpora", "leaks", "a", "b", *data]) == 3
    assert "1 of 3 pairs of splits share documents or text." in capsys.readouterr().out
    first, *others = json.loads(told.read_text())["leaks"]
    assert first == {
        "left": "a:train", "right": "b:train", "pmids": ["2"],
        "titles": ["a study of the il 2 gene"], "runs": ["2"], "units": 3,
    }  # fmt: skip
    assert all(not one["pmids"] + one["titles"] + one["runs"] for one in others)
    assert main(["corpora", "leaks", "a:train", "b:test", *data]) == 0


@pytest.mark.parametrize("words", [(), ("a",), ("a:train",)])
def test_one_split_cannot_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    write(tmp_path / "a", "train", ("1", "Text"))
    assert main(["corpora", "leaks", *words, "--data", str(tmp_path)]) == 2
    assert "at least two were expected" in capsys.readouterr().err
