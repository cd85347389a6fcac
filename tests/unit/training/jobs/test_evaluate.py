import json
from pathlib import Path

import pytest

from schemas.errors import CheckpointError, CorpusError, SettingsError
from tests.support.checkpoints import tiny_checkpoint
from training.commands.evaluate import run

TSV = "Breast\tB-Disease\ncancer\tE-Disease\n.\tO\n\nIt\tO\nis\tO\nrare\tO\n"
PUBTATOR = "1|t|Breast cancer\n1|a|It is rare.\n1\t0\t13\tBreast cancer\tSpecificDisease\tD1\n"
HEAD_KEYS = {
    "strict",
    "by_type",
    "token_weighted_f1",
    "sentences",
    "mentions",
    "off_boundary",
    "ece",
    "reliability",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint"))


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    for folder, content in (
        ("NCBI-disease-IOBES", TSV),
        ("BC2GM-IOBES", TSV.replace("Disease", "GENE")),
        ("BC5CDR-IOBES", TSV),
        ("mine", TSV),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "devel.tsv").write_text(content, encoding="utf-8")
    (tmp_path / "gold.PubTator").write_text(PUBTATOR, encoding="utf-8")
    return tmp_path


def words(checkpoint: str, corpora: Path, *more: str) -> list[str]:
    return [checkpoint, "--data", str(corpora), "--device", "cpu", "--threads", "1", *more]


def test_scores_every_head_that_has_a_corpus_on_devel(
    checkpoint: str, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(checkpoint, corpora, "--json", "-")) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["split"] == "devel"
    assert set(report["heads"]) == {"ncbi-disease", "bc2gm"}
    head = report["heads"]["ncbi-disease"]
    assert set(head) == HEAD_KEYS
    assert set(head["strict"]) == {"precision", "recall", "f1"}
    assert set(head["by_type"]["Disease"]) == {"precision", "recall", "f1", "support"}
    assert (head["sentences"], head["mentions"]) == (2, 1)
    assert report["documents"] == {}
    assert "Strict entity scores on devel" in printed.err


def test_documents_alone_are_scored_where_no_corpus_is_named(
    checkpoint: str, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = str(corpora / "gold.PubTator")
    for word in (gold, f"ncbi-disease={gold}"):
        out = str(corpora / "report.json")
        assert run(words(checkpoint, corpora, "--documents", word, "--json", out)) == 0
        report = json.loads(Path(out).read_text(encoding="utf-8"))
        assert report["heads"] == {}
        found = report["documents"][gold]
        assert (found["head"], found["documents"], found["mentions"]) == ("ncbi-disease", 1, 1)
        assert "End to end on raw documents" in capsys.readouterr().out


def test_window_context_is_said_in_the_report(
    checkpoint: str, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--corpus", "ncbi-disease", "--context", "window", "--json", "-"]
    assert run(words(checkpoint, corpora, *more)) == 0
    assert json.loads(capsys.readouterr().out)["context"] == "window"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--corpus", "bc5cdr"], "has no head for the corpus 'bc5cdr'; it has ncbi-disease, bc2gm"),
        (["--corpus", "mine"], "has no head for the corpus 'mine'"),
        (["--split", "dev"], "--split"),
        (["--threads", "0"], "--threads"),
        (["--documents", "jnlpba=gold.PubTator"], "gold.PubTator"),
    ],
)
def test_a_wrong_option_is_refused(
    checkpoint: str,
    corpora: Path,
    more: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(corpora)
    with pytest.raises(SettingsError, match=message):
        run(words(checkpoint, corpora, *more))


def test_a_corpus_with_other_labels_than_its_head_is_refused(
    checkpoint: str, corpora: Path
) -> None:
    path = corpora / "NCBI-disease-IOBES" / "devel.tsv"
    path.write_text(TSV.replace("Disease", "Gene"), encoding="utf-8")
    with pytest.raises(CorpusError, match="unknown label 'Gene'"):
        run(words(checkpoint, corpora, "--corpus", "ncbi-disease"))


def test_a_corpus_or_checkpoint_that_is_not_there_is_refused(
    checkpoint: str, corpora: Path, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match=r"has a test\.tsv under"):
        run(words(checkpoint, corpora, "--split", "test"))
    with pytest.raises(CheckpointError):
        run(words(str(tmp_path / "nowhere"), corpora))
    with pytest.raises(SettingsError, match="missing argument CHECKPOINT"):
        run(["--data", str(corpora)])


def test_a_corpus_of_the_users_own_is_scored_by_the_head_of_its_name(
    checkpoint: str, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = corpora / "own" / "ncbi-disease"
    own.mkdir(parents=True)
    path = own / "devel.tsv"
    path.write_text(f"{TSV}\n{TSV}", encoding="utf-8")
    assert run(words(checkpoint, corpora, "--corpus", str(own), "--json", "-")) == 0
    assert json.loads(capsys.readouterr().out)["heads"]["ncbi-disease"]["mentions"] == 2
    path.write_text(TSV.replace("Disease", "Gene"), encoding="utf-8")
    with pytest.raises(CorpusError, match="labels Gene, which the head 'ncbi-disease' lacks"):
        run(words(checkpoint, corpora, "--corpus", str(own)))


def test_calibration_is_reported_and_drawn(
    checkpoint: str, corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "scores.json", tmp_path / "plots" / "reliability.svg"
    more = ["--json", str(out), "--reliability", str(plot)]
    assert run(words(checkpoint, corpora, *more)) == 0
    printed = capsys.readouterr().out
    assert "ECE from 0 to 1" in " ".join(printed.split())
    for head in json.loads(out.read_text("utf-8"))["heads"].values():
        assert f" {head['ece']:.3f} " in printed
        bins = head["reliability"]
        spans = sum(part["count"] for part in bins)
        error = sum(part["count"] * abs(part["confidence"] - part["precision"]) for part in bins)
        assert head["ece"] == pytest.approx(error / spans if spans else 0.0)
    assert "ncbi-disease" in plot.read_text("utf-8")
    gold = str(corpora / "gold.PubTator")
    with pytest.raises(SettingsError, match="--reliability describes corpora"):
        run(words(checkpoint, corpora, "--documents", gold, "--reliability", str(plot)))
