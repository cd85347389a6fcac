"""Seeded splits by document, and how a description uses them."""

import json
from pathlib import Path

import pytest

from pubner.cli import main
from schemas.errors import CorpusError
from training.corpora.catalogue import Split
from training.corpora.corpus import open_corpus
from training.corpora.splitting import (
    draw_documents,
    pmid_of,
    read_documents,
    write_documents,
)
from training.corpora.tsv import Sentence
from training.finetune.run import load_training_corpora


def sentences(*documents: str) -> list[Sentence]:
    return [Sentence(("a",), ("O",), 1, n == 0, name) for name in documents for n in range(2)]


@pytest.mark.parametrize(
    ("name", "pmid"),
    [("123", "123"), ("PMID-123", "123"), ("0123_4", "123"), ("PMC-123-sec-1", None), ("", None),
     ("123-04-Methods", None), ("123456789", None)],
)  # fmt: skip
def test_pmids_of_names(name: str, pmid: str | None) -> None:
    assert pmid_of(name) == pmid


def test_a_draw_depends_on_the_seed_alone() -> None:
    names = [f"d{number}" for number in range(100)]
    first = draw_documents(sentences(*names), 0.2, 1)
    assert len(first) == 20
    assert list(first) == [name for name in names if name in first]
    assert set(draw_documents(sentences(*reversed(names)), 0.2, 1)) == set(first)
    assert draw_documents(sentences(*names), 0.2, 2) != first
    assert set(first) <= set(draw_documents(sentences(*names), 0.3, 1))


def test_documents_of_one_pmid_are_drawn_together() -> None:
    names = [f"{number}_{part}" for number in range(1, 21) for part in range(3)]
    drawn = draw_documents(sentences(*names), 0.25, 0)
    assert len(drawn) == 15
    assert len({pmid_of(name) for name in drawn}) == 5


def test_at_least_one_document_is_drawn_and_never_all() -> None:
    assert len(draw_documents(sentences("a", "b"), 0.01, 0)) == 1
    for names in (("a",), ("1_1", "1_2")):
        with pytest.raises(CorpusError, match="is all of them; a smaller share was expected"):
            draw_documents(sentences(*names), 0.5, 0)


def test_words_and_tags_have_no_documents_to_draw() -> None:
    with pytest.raises(CorpusError, match="has no document names, so it cannot be split"):
        draw_documents([Sentence(("a",), ("O",), 1)], 0.5, 0)


def test_a_list_is_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "devel.txt"
    write_documents(path, ("b", "a"))
    assert path.read_text() == "b\na\n"
    assert read_documents(path) == {"a", "b"}
    for name in ("a\nb", "a\u2028b", " a", ""):
        with pytest.raises(CorpusError, match="cannot stand in a line of its own"):
            write_documents(path, (name,))
    path.write_text("\n")
    with pytest.raises(CorpusError, match="is empty; a name a line was expected"):
        read_documents(path)
    with pytest.raises(CorpusError, match="cannot be read"):
        read_documents(tmp_path / "none")


def test_a_corpus_with_one_file_is_split_and_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"id": str(n), "text": f"In {n} fever.", "entities": [{"start": 6, "end": 11, "type": "X"}]}
        for n in range(10, 30)
    ]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    both = 'folder = "."\nlayout = "jsonl"\n[files.train]\npath = "all.jsonl"\n'
    (tmp_path / "own.toml").write_text(both)
    devel = tmp_path / "devel.txt"
    split = ["corpora", "split", "--data", str(tmp_path), "--corpus", "own", "--output", str(devel)]
    assert main(split) == 0
    assert "4 of 20 documents of own are listed in" in " ".join(capsys.readouterr().out.split())
    whole = open_corpus(tmp_path, "own")
    rest = 'without = "devel.txt"\n[files.devel]\npath = "all.jsonl"\nonly = "devel.txt"\n'
    (tmp_path / "own.toml").write_text(both + rest)
    (loaded,) = load_training_corpora(tmp_path, ["own"])
    assert (len(loaded.train), len(loaded.devel.sentences)) == (16, 4)
    assert {one.document for one in loaded.devel.sentences} == set(devel.read_text().split())
    parts = open_corpus(tmp_path, "own")
    assert len({whole.sha256(Split.TRAIN), *map(parts.sha256, (Split.TRAIN, Split.DEVEL))}) == 3
    leaks = ["corpora", "leaks", "own", "--data", str(tmp_path)]
    assert main(leaks) == 0
