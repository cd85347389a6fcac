"""`pubner calibrate`: a copy with another id, the original untouched, errors in one line."""

import json
from pathlib import Path

import pytest

from schemas.errors import CheckpointError, CorpusError, OutputError, SettingsError
from schemas.manifest import HeadCalibration
from tests.support.checkpoints import sign_again, tiny_checkpoint
from tests.support.corpora import write_corpus
from tests.support.drift import annotations, reference
from training.commands.calibrate import run
from worker.checkpoint.folder import MANIFEST, read_manifest
from worker.tagger import load_tagger


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tiny_checkpoint(tmp_path / "checkpoint")
    sign_again(folder, metrics={"devel/bc2gm": {"strict_f1": 0.5}})
    return folder


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    root = tmp_path / "corpora"
    write_corpus(root / "NCBI-disease-IOBES", "Disease", "cancer")
    write_corpus(root / "BC2GM-IOBES", "GENE", "gene")
    write_corpus(root / "JNLPBA", "protein", "gene")
    return root


def words(checkpoint: Path, corpora: Path, output: Path, *more: str) -> list[str]:
    return [
        *(str(checkpoint), "--output", str(output), "--data", str(corpora)),
        *("--device", "cpu", "--threads", "1", *more),
    ]


def test_the_copy_is_another_checkpoint_with_the_same_files(
    checkpoint: Path, corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    output, plot = tmp_path / "out" / "copy", tmp_path / "plots" / "reliability.svg"
    assert run(words(checkpoint, corpora, output, "--json", "-", "--plot", str(plot))) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    old, new = read_manifest(checkpoint), read_manifest(output)
    assert report["id"] == new.id != old.id
    assert new.files == old.files
    assert not any((output / name).is_symlink() for name in new.files)
    assert set(new.calibration) == {"ncbi-disease", "bc2gm"} == set(report["heads"])
    metrics = new.metrics["devel/bc2gm"]
    assert metrics["strict_f1"] == 0.5
    names = {"ece", "ece_before", "ece_window", "ece_window_before"}
    assert set(metrics) == {"strict_f1", *names}
    head = report["heads"]["bc2gm"]
    assert {name: head[name] for name in names} == {name: metrics[name] for name in names}
    assert head["temperature"] == new.calibration["bc2gm"].temperature
    assert "Expected calibration error on devel" in printed.err
    assert "before: ECE" in plot.read_text("utf-8")
    text = "the gene of human cancer cell was in gene"
    found = [load_tagger([path], device="cpu").annotate([text])[0] for path in (checkpoint, output)]
    assert [[(m.task, m.start, m.end) for m in one.mentions] for one in found] == [
        [(m.task, m.start, m.end) for m in found[0].mentions]
    ] * 2


def test_the_same_command_makes_the_same_checkpoint_and_heads_can_be_named(
    checkpoint: Path, corpora: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        assert run(words(checkpoint, corpora, tmp_path / name, "--corpus", "bc2gm")) == 0
    a, b = read_manifest(tmp_path / "a"), read_manifest(tmp_path / "b")
    assert a == b
    assert set(a.calibration) == {"bc2gm"}
    assert run(words(tmp_path / "a", corpora, tmp_path / "c", "--corpus", "ncbi-disease")) == 0
    c = read_manifest(tmp_path / "c")
    assert c.calibration["bc2gm"] == a.calibration["bc2gm"]
    assert set(c.calibration) == {"bc2gm", "ncbi-disease"}


def test_calibrating_twice_gives_what_once_gives(
    checkpoint: Path, corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A temperature far from 1, beyond which a second fit on top of it would go on.
    sign_again(
        checkpoint,
        calibration={"bc2gm": HeadCalibration(temperature=8.0, a=2.0, b=0.5, c=1.0)},
    )
    reports = []
    for source, output in ((checkpoint, "once"), (tmp_path / "once", "twice")):
        assert run(words(source, corpora, tmp_path / output, "--json", "-")) == 0
        reports.append(json.loads(capsys.readouterr().out))
    once, twice = (read_manifest(tmp_path / name) for name in ("once", "twice"))
    assert twice.calibration == once.calibration
    assert twice.id == once.id
    first, second = (report["heads"]["bc2gm"] for report in reports)
    assert second["ece_window_before"] == second["ece_window"] == first["ece_window"]
    assert first["ece_window_before"] != first["ece_window"]


def test_the_drift_reference_is_left_out_since_scores_change(
    checkpoint: Path, corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_again(checkpoint, reference=reference(annotations(10)))
    assert run(words(checkpoint, corpora, tmp_path / "copy")) == 0
    assert read_manifest(checkpoint).reference is not None
    assert read_manifest(tmp_path / "copy").reference is None
    assert f"pubner checkpoint reference {tmp_path / 'copy'}" in capsys.readouterr().out


def test_the_copy_reads_with_the_same_table(
    checkpoint: Path, corpora: Path, tmp_path: Path
) -> None:
    sign_again(checkpoint, reading="1")
    assert run(words(checkpoint, corpora, tmp_path / "copy")) == 0
    assert read_manifest(tmp_path / "copy").reading == "1"


def test_what_cannot_be_done_is_refused_before_anything_is_written(
    checkpoint: Path, corpora: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with pytest.raises(OutputError, match="already holds a checkpoint"):
        run(words(checkpoint, corpora, checkpoint))
    with pytest.raises(OutputError, match="no empty folder"):
        run(words(checkpoint, corpora, corpora))
    with pytest.raises(SettingsError, match="it is a file; name a folder"):
        run(words(checkpoint, corpora, checkpoint / MANIFEST))
    with pytest.raises(SettingsError, match="no head for the corpus 'jnlpba'; it has ncbi-dis"):
        run(words(checkpoint, corpora, output, "--corpus", "jnlpba"))
    with pytest.raises(CorpusError, match="no corpus 'nothing'"):
        run(words(checkpoint, corpora, output, "--corpus", "nothing"))
    with pytest.raises(CorpusError, match=r"has a devel\.tsv under"):
        run(words(checkpoint, tmp_path / "empty", output))
    with pytest.raises(OutputError, match="it is a folder"):
        run(words(checkpoint, corpora, output, "--plot", str(tmp_path)))
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        run(words(tmp_path / "nowhere", corpora, output))
    with pytest.raises(SettingsError, match="missing required option --output"):
        run([str(checkpoint)])
    assert not output.exists()
