"""`pubner train dictionary`: from corpora to a checkpoint that evaluates and annotates."""

import json
from pathlib import Path

import pytest

from pubner.cli import main
from tests.support.annotating import annotate, article, pubmed_xml
from tests.support.blocks import all_rows
from tests.support.corpora import write_corpus
from worker.checkpoint.folder import DICTIONARY, read_manifest
from worker.text.reading_table import NEWEST


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    write_corpus(folder / "NCBI-disease-IOBES", "Disease", "cancers")
    write_corpus(folder / "BC2GM-IOBES", "GENE", "IL-2")
    write_corpus(folder / "mine", "Chemical", "aspirin")
    return folder


def words(corpora: Path, output: Path, *more: str) -> list[str]:
    names = "ncbi-disease,bc2gm,mine"
    return [
        "train", "dictionary", "--data", str(corpora), "--corpus", names, "--output", str(output),
        *more,
    ]  # fmt: skip


def test_train_evaluate_annotate(
    corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "dictionary"
    assert main(words(corpora, output, "--json", "-")) == 0
    summary = json.loads(capsys.readouterr().out)
    manifest = read_manifest(output)
    heads = ["ncbi-disease", "bc2gm", "mine"]
    assert manifest.kind == "dictionary"
    assert manifest.reading == NEWEST
    assert summary["id"] == manifest.id
    assert summary["devel"] == dict.fromkeys(heads, 1.0)
    assert summary["seconds"] > 0
    assert manifest.metrics == {f"devel/{name}": {"strict_f1": 1.0} for name in heads}
    assert [(c.name, c.split, c.mentions) for c in manifest.corpora] == [
        (name, "train", 24) for name in heads
    ]
    assert manifest.recipe["plurals"] is True
    assert manifest.recipe["threshold/mine/Chemical"] == 0.0
    assert manifest.recipe["min_count/bc2gm"] == 1
    assert manifest.recipe["whole_words/bc2gm"] is False
    assert sorted(path.name for path in output.iterdir()) == [DICTIONARY, "manifest.json"]

    report = tmp_path / "report.json"
    arguments = ["evaluate", str(output), "--data", str(corpora), "--corpus", ",".join(heads)]
    assert main([*arguments, "--json", str(report)]) == 0
    scores = json.loads(report.read_text())
    assert scores["checkpoint"] == manifest.id
    assert {name: scores["heads"][name]["strict"]["f1"] for name in heads} == summary["devel"]

    citation = article(1, "Cancer and IL2", "Aspirin – for β‐cancers")
    summary = annotate([pubmed_xml(tmp_path / "a.xml", [citation])], tmp_path / "out", output)
    assert summary["checkpoint_id"] == manifest.id
    rows = sorted(all_rows(tmp_path / "out")["mentions"], key=lambda row: row["start"])
    assert [(row["task"], row["text"]) for row in rows] == [
        ("ncbi-disease", "Cancer"), ("bc2gm", "IL2"), ("mine", "Aspirin"),
        ("ncbi-disease", "cancers"),
    ]  # fmt: skip
    assert {row["checkpoint_id"] for row in rows} == {manifest.id}
    assert main(["checkpoint", "show", str(output)]) == 0
    assert "dictionary" in capsys.readouterr().out


def test_the_same_corpora_give_the_same_checkpoint_and_other_rules_another(
    corpora: Path, tmp_path: Path
) -> None:
    assert main(words(corpora, tmp_path / "one")) == 0
    assert main(words(corpora, tmp_path / "two")) == 0
    assert main(words(corpora, tmp_path / "plain", "--no-plurals", "--no-numbers")) == 0
    files = [(tmp_path / name / DICTIONARY).read_bytes() for name in ("one", "two", "plain")]
    ids = [read_manifest(tmp_path / name).id for name in ("one", "two", "plain")]
    assert (files[0], ids[0]) == (files[1], ids[1])
    assert ids[2] != ids[0]
    assert b'"cancers"' in files[2]


def test_a_finished_checkpoint_is_not_written_over_unless_asked(
    corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(corpora, tmp_path / "out")) == 0
    assert main(words(corpora, tmp_path / "out")) == 2
    assert "already holds a finished checkpoint" in capsys.readouterr().err
    assert main(words(corpora, tmp_path / "out", "--restart")) == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--corpus", "mine"], "names a corpus twice: ncbi-disease, bc2gm, mine, mine"),
        (["--corpus", "unheard-of"], "no corpus 'unheard-of'"),
        (["--corpus", "jnlpba"], "corpus 'jnlpba' is not there"),
        (["--no-vowels"], "unknown option --no-vowels"),
    ],
)
def test_a_wrong_option_is_one_clear_line(
    corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    assert main(words(corpora, tmp_path / "out", *more)) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1


def test_an_output_that_is_a_file_is_refused(
    corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(words(corpora, tmp_path / "file")) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
