"""A corpus of whole documents, described by one TOML file: checked, trained on, evaluated."""

import json
from pathlib import Path

import pytest

from pubner.cli import main
from schemas.errors import CorpusError
from tests.support.corpora import write_encoder
from training.corpora.catalogue import Split, Use, catalogue
from training.corpora.check import check_corpora
from training.corpora.corpus import open_corpus
from training.corpora.layouts.table import LAYOUTS, LayoutName
from training.finetune.run import load_training_corpora
from training.mlm.text import read_corpus
from worker.checkpoint.folder import read_manifest

DESCRIPTION = """
folder = "files"
layout = "jsonl"
licence = "ours"
drop = ["noise"]

[labels]
symptom = "Symptom"

[curies]
Symptom = "HP:0000118"

[files.train]
path = "learn.jsonl"

[files.devel]
"""


def lines(first: int, count: int) -> str:
    out = []
    for number in range(first, first + count):
        text = f"Patient {number} had fever. It went, and no rash came on day {number}."
        entities = [
            {"start": text.index("fever"), "end": text.index("fever") + 5, "type": "symptom"},
            {"start": text.index("rash"), "end": text.index("rash") + 4, "type": "symptom"},
            {"start": 0, "end": 7, "type": "noise"},
            {"start": 0, "end": 99, "type": "symptom", "spans": [[0, 7], [12, 15]]},
        ]
        out.append(json.dumps({"id": number, "text": text, "entities": entities}) + "\n")
    return "".join(out)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/learn.jsonl").write_text(lines(100, 12))
    (tmp_path / "files/devel.jsonl").write_text(lines(200, 12))
    (tmp_path / "fevers.toml").write_text(DESCRIPTION)
    return tmp_path / "fevers.toml"


def test_it_is_checked_and_what_is_left_out_is_told_by_training_too(corpus: Path) -> None:
    (report,) = check_corpora(corpus.parent, ["fevers"])
    assert report.trainable, report
    assert [(file.split, file.sentences, file.mentions) for file in report.files] == [
        ("train", 24, 24),
        ("devel", 24, 24),
    ]
    assert {file.scheme for file in report.files} == {"jsonl"}
    said: list[str] = []
    (loaded,) = load_training_corpora(corpus.parent, ["fevers"], log=said.append)
    assert [f"Warning: {warning}." for warning in report.warnings] == said
    assert "12 mentions left out: discontinuous, which tags cannot encode" in said[0]
    assert loaded.task.label_names == ("symptom",)


def test_what_breaks_it_is_told_alike_by_check_and_training(corpus: Path) -> None:
    corpus.write_text(DESCRIPTION.replace('drop = ["noise"]', ""))
    (report,) = check_corpora(corpus.parent, ["fevers"])
    assert not report.trainable
    problem = report.files[0].problems[0]
    assert "unknown label 'noise': expected one of symptom, or that the description" in str(problem)
    with pytest.raises(CorpusError) as told:
        load_training_corpora(corpus.parent, ["fevers"])
    assert str(problem) in str(told.value)


def test_it_is_trained_on_and_evaluated(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = write_encoder(tmp_path / "encoder")
    out, scores = tmp_path / "out", tmp_path / "scores.json"
    train = [
        "train", "stl", "--corpus", str(corpus), "--encoder", str(encoder), "--output", str(out),
        "--recipe", "reference", "--epochs", "1", "--max-pieces", "64", "--device", "cpu",
    ]  # fmt: skip
    assert main(train) == 0, capsys.readouterr().err
    label = read_manifest(out).tasks[0].labels[0]
    assert (label.name, label.entity_type, label.curie) == ("symptom", "Symptom", "HP:0000118")
    evaluate = [
        "evaluate", str(out), "--corpus", str(corpus), "--split", "devel", "--json", str(scores),
        "--device", "cpu", "--errors", str(tmp_path / "errors.html"),
    ]  # fmt: skip
    assert main(evaluate) == 0, capsys.readouterr().err
    assert json.loads(scores.read_text())["heads"]["fevers"]["sentences"] == 24
    assert "symptom mentions" in (tmp_path / "errors.html").read_text()


def test_gold_for_evaluation_only_is_not_learned_from(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus.write_text('use = "evaluate"\n' + DESCRIPTION)
    (report,) = check_corpora(corpus.parent, ["fevers"])
    assert (report.trainable, report.broken) == (False, False)
    assert main(["corpora", "check", "--corpus", str(corpus)]) == 0
    assert "fevers: for evaluation only: ours" in capsys.readouterr().out
    says = r"^corpus 'fevers' is for evaluation only, by its terms \(ours\): train on another one$"
    with pytest.raises(CorpusError, match=says):
        load_training_corpora(corpus.parent, ["fevers"])
    with pytest.raises(CorpusError, match=says):
        read_corpus(corpus.parent, "fevers")
    train = ["train", "stl", "--corpus", str(corpus), "--output", str(tmp_path / "out")]
    assert main([*train, "--device", "cpu"]) != 0
    assert "fevers' is for evaluation only" in capsys.readouterr().err
    assert open_corpus(corpus.parent, "fevers").sentences(Split.DEVEL)


def test_terms_are_told_before_missing_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["train", "stl"], ["train", "mlm"], ["tune"]):
        words = ["--corpus", "ddi-2013", "--data", str(tmp_path), "--output", str(tmp_path / "out")]
        assert main([*command, *words]) == 2
        assert "'ddi-2013' is for evaluation only, by its terms (CC BY" in capsys.readouterr().err


def test_a_brat_corpus_is_a_folder_a_split(tmp_path: Path) -> None:
    for split in ("train", "devel"):
        (tmp_path / "files" / split).mkdir(parents=True)
        (tmp_path / "files" / split / "a.txt").write_text(f"The {split} had fever.")
        (tmp_path / "files" / split / "a.ann").write_text(
            f"T1\tsymptom {9 + len(split)} {14 + len(split)}\tfever\n"
        )
    (tmp_path / "own.toml").write_text('folder = "files"\nlayout = "brat"\n')
    (report,) = check_corpora(tmp_path, ["own"])
    assert report.trainable, report
    (loaded,) = load_training_corpora(tmp_path, ["own"])
    assert loaded.entry.mentions == 1
    before = loaded.entry.sha256
    (tmp_path / "files/train/b.txt").write_text("No fever.")
    (tmp_path / "files/train/b.ann").write_text("")
    (loaded,) = load_training_corpora(tmp_path, ["own"])
    assert loaded.entry.sha256 != before
    (tmp_path / "own.toml").write_text('folder = "files/train"\nlayout = "brat"\n')
    with pytest.raises(CorpusError, match="is not there: expected the folder"):
        load_training_corpora(tmp_path, ["own"])


def test_dropped_labels_of_words_and_tags_are_outside(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/train.tsv").write_text("a\tS-x\nb\tS-y\n")
    (tmp_path / "own.toml").write_text('folder = "files"\ndrop = ["y"]\n[labels]\nx = "Gene"\n')
    (sentence,) = open_corpus(tmp_path, "own").sentences(Split.TRAIN)
    assert sentence.tags == ("S-x", "O")


def test_a_layout_that_is_not_known_is_refused(corpus: Path) -> None:
    corpus.write_text(DESCRIPTION.replace('"jsonl"', '"conll"'))
    with pytest.raises(CorpusError, match=r"fevers\.toml: layout: Input should be 'columns', 'pub"):
        open_corpus(corpus.parent, "fevers")


def test_the_table_and_the_known_corpora_are_complete() -> None:
    assert set(LAYOUTS) == set(LayoutName)
    known = catalogue()
    assert {"biored", "craft", "anatem", "huner-gellus", "bionlp13cg"} <= set(known)
    assert {name for name, entry in known.items() if entry.use is Use.EVALUATE} == {
        "ddi-2013", "pgxcorpus", "regel", "variome", "chemprot", "gutbrainie",
    }  # fmt: skip
    for name, entry in known.items():
        assert entry.name == name
        assert entry.licence, name
        assert entry.task is not None, name
        assert not set(entry.drop) & set(entry.labels), name


def test_a_known_corpus_is_found_beside_the_folder_corpora(tmp_path: Path) -> None:
    (tmp_path / "corpora").mkdir()
    (tmp_path / "pubtator").mkdir()
    found = open_corpus(tmp_path / "corpora", "biored")
    assert found.path(Split.TRAIN) == tmp_path / "pubtator/BioRED_train.PubTator"
    assert open_corpus(tmp_path, "biored").folder == tmp_path / "pubtator"


def test_a_folder_of_ones_own_is_not_hidden_by_a_known_name(tmp_path: Path) -> None:
    (tmp_path / "linnaeus").mkdir()
    (tmp_path / "linnaeus/train.tsv").write_text("a\tS-Species\n")
    assert open_corpus(tmp_path, "linnaeus").entry is None
