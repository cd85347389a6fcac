"""A corpus from outside the tree, described by one TOML file: checked, trained on, evaluated."""

import json
from pathlib import Path

import pytest

from pubner.cli import main
from schemas.errors import CorpusError
from schemas.tasks import TASKS, EntityType, Label
from tests.support.corpora import write_corpus, write_encoder
from training.corpora.catalogue import Split, catalogue
from training.corpora.corpus import open_corpus
from training.corpora.schemes import Scheme
from training.corpora.tasks import task_of
from worker.checkpoint.folder import read_manifest

DESCRIPTION = """
name = "fevers"
folder = "files"
scheme = "IOBES"
licence = "ours"

[labels]
symptom = "Disease"

[files.train]
path = "learn.tsv"
sentences = 24
mentions = 24

[files.devel]
path = "choose.tsv"

[files.test]
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = write_corpus(tmp_path / "files", "symptom", "fever")
    (folder / "train.tsv").rename(folder / "learn.tsv")
    (folder / "devel.tsv").rename(folder / "choose.tsv")
    (tmp_path / "described.toml").write_text(DESCRIPTION)
    return tmp_path / "described.toml"


def test_known_corpora_are_described_by_files_of_the_same_kind() -> None:
    assert {name: catalogue()[name].task for name in TASKS} == TASKS


def test_what_the_file_says_is_read(corpus: Path) -> None:
    for name in (str(corpus), "described.toml", "described"):
        found = open_corpus(corpus.parent, name)
        assert (found.name, found.scheme, found.labels) == ("fevers", Scheme.IOBES, ("symptom",))
        assert found.path(Split.DEVEL) == corpus.parent / "files/choose.tsv"
        assert task_of(found, ()).labels == (Label("symptom", EntityType.DISEASE),)


def test_what_the_file_leaves_out_is_taken_from_the_folder(tmp_path: Path) -> None:
    write_corpus(tmp_path / "here", "Gene", "fever")
    (tmp_path / "plain.toml").write_text('folder = "here"\n')
    found = open_corpus(tmp_path, "plain")
    assert (found.name, found.labels, found.scheme) == ("plain", None, Scheme.IOBES)
    assert task_of(found, found.sentences(Split.TRAIN)).labels == (Label("Gene", EntityType.GENE),)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            'scheme = "IOBES"',
            'scheme = "BILOU"',
            r"described\.toml: scheme: Input should be 'IOB1'",
        ),
        (
            '"Disease"',
            '"Symptom, new"',
            r"described\.toml: types\.symptom: .*'Symptom, new' cannot name an entity type",
        ),
        (
            "[files.train]",
            '[curies]\nSymptom = "no curie"\n\n[files.train]',
            r"described\.toml: curies\.Symptom: .*'no curie' is not a CURIE such as biolink",
        ),
        ("sentences = 24", "sentence = 24", r"files\.0\.sentence: Unexpected keyword argument"),
        ("[files.train]", "[files.dev]", r"files\.0\.split: Input should be 'train'"),
        ('folder = "files"', "", r"described\.toml: folder: "),
        ("[labels]", "[labels", r"described\.toml is not valid TOML"),
        ("[files.test]", "", None),
        ('symptom = "Disease"', "", None),
        ('"Disease"', '"Symptom"', None),
    ],
)
def test_a_description_with_a_mistake_is_refused(
    corpus: Path, before: str, after: str, says: str | None
) -> None:
    corpus.write_text(DESCRIPTION.replace(before, after, 1))
    if says is None:
        open_corpus(corpus.parent, str(corpus))
        return
    with pytest.raises(CorpusError, match=says):
        open_corpus(corpus.parent, str(corpus))


def test_a_type_of_its_own_gets_a_meaning(corpus: Path) -> None:
    changed = DESCRIPTION.replace('"Disease"', '"Symptom"')
    corpus.write_text(changed.replace("[files.train]", '[curies]\nSymptom = "HP:1"\n[files.train]'))
    (label,) = task_of(open_corpus(corpus.parent, str(corpus)), ()).labels
    assert (label.entity_type, label.curie) == ("Symptom", "HP:1")
    corpus.write_text(changed)
    (label,) = task_of(open_corpus(corpus.parent, str(corpus)), ()).labels
    assert (label.entity_type, label.curie) == ("Symptom", None)


@pytest.mark.parametrize(("kind", "meant"), [("Desease", "Disease"), ("disease", "Disease")])
def test_a_misspelt_type_is_hinted_at(
    corpus: Path, capsys: pytest.CaptureFixture[str], kind: str, meant: str
) -> None:
    corpus.write_text(DESCRIPTION.replace('"Disease"', f'"{kind}"'))
    assert main(["corpora", "check", "--corpus", str(corpus)]) == 0
    shown = capsys.readouterr().out
    assert f"described.toml, line 1: the label 'symptom' has the entity type '{kind}'" in shown
    assert f"did you mean {meant}?" in shown
    corpus.write_text(DESCRIPTION.replace('"Disease"', '"Symptom"'))
    assert main(["corpora", "check", "--corpus", str(corpus)]) == 0
    assert "did you mean" not in capsys.readouterr().out


def test_labels_that_are_no_table_are_refused(corpus: Path) -> None:
    corpus.write_text('folder = "files"\nfiles = ["train"]\n')
    with pytest.raises(CorpusError, match="must be tables"):
        open_corpus(corpus.parent, str(corpus))


def test_it_is_checked(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = ["corpora", "check", "--corpus", str(corpus), "--json", str(tmp_path / "report.json")]
    assert main(check) == 0, capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())["corpora"]["fevers"]
    assert (report["trainable"], report["licence"], report["missing"]) == (True, "ours", [])
    assert report["files"]["train"]["mentions"] == 24
    corpus.write_text(DESCRIPTION.replace("mentions = 24", "mentions = 25"))
    (tmp_path / "files/test.tsv").unlink()
    assert main(check) == 1
    report = json.loads((tmp_path / "report.json").read_text())["corpora"]["fevers"]
    assert report["files"]["train"]["difference"] == "24 mentions, published 25"
    assert report["missing"] == ["test.tsv"]


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
    manifest = read_manifest(out)
    assert [task.name for task in manifest.tasks] == ["fevers"]
    assert [entry.name for entry in manifest.corpora] == ["fevers"]
    evaluate = [
        "evaluate", str(out), "--corpus", str(corpus), "--split", "test", "--json", str(scores),
        "--device", "cpu",
    ]  # fmt: skip
    assert main(evaluate) == 0, capsys.readouterr().err
    assert json.loads(scores.read_text())["heads"]["fevers"]["sentences"] == 24


def test_files_that_are_not_there_are_named_with_where_to_get_them(corpus: Path) -> None:
    corpus.write_text('url = "https://example.org/fevers"\n' + DESCRIPTION)
    (corpus.parent / "files/test.tsv").unlink()
    with pytest.raises(CorpusError, match=r"test\.tsv.* published at https://example\.org/fevers"):
        open_corpus(corpus.parent, str(corpus)).sentences(Split.TEST)
