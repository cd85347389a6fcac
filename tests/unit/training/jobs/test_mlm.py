"""`pubner train mlm`: from text to an encoder that `pubner train` takes; kills, wrong options."""

import json
import signal
from pathlib import Path

import pytest

from pubner.cli import main
from tests.support.corpora import write_corpus, write_encoder
from tests.support.stopping import kill_command, signalled
from worker.checkpoint.folder import WEIGHTS, read_manifest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, a corpus and two files of text."""
    folder = tmp_path_factory.mktemp("ground")
    write_encoder(folder / "encoder")
    write_corpus(folder / "corpora" / "BC2GM-IOBES", "GENE", "protein")
    for name in ("a", "b"):
        lines = [
            json.dumps({"title": f"The {name} {number}", "abstract": "of the Cell was in." * 3})
            for number in range(60)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def words(ground: Path, output: Path, *more: str) -> list[str]:
    return [
        "train", "mlm", "--data", str(ground / "corpora"), "--encoder", str(ground / "encoder"),
        "--output", str(output), "--threads", "1", "--device", "cpu", "--max-pieces", "64",
        "--batch-pieces", "256", *more,
    ]  # fmt: skip


def test_an_encoder_is_made_and_a_checkpoint_from_it_says_so(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = tmp_path / "encoder"
    texts = ["--texts", str(ground / "a.jsonl"), "--texts", str(ground / "b.jsonl")]
    arguments = words(ground, encoder, *texts, "--corpus", "bc2gm", "--epochs", "2")
    assert main([*arguments, "--json", "-"]) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert summary["path"] == str(encoder)
    assert [found["epoch"] for found in summary["held_out"]] == [0, 1, 2]
    assert "Before training: held-out loss" in printed.err
    record = json.loads((encoder / "pretraining.json").read_text())
    assert [text["name"] for text in record["texts"]] == ["a.jsonl", "b.jsonl", "bc2gm"]
    assert record["recipe"]["batch_pieces"] == 256
    checkpoint = tmp_path / "checkpoint"
    fine_tune = [
        "train", "stl", "--corpus", "bc2gm", "--data", str(ground / "corpora"), "--encoder",
        str(encoder), "--output", str(checkpoint), "--threads", "1", "--device", "cpu",
        "--max-pieces", "64", "--epochs", "1",
    ]  # fmt: skip
    assert main(fine_tune) == 0
    assert read_manifest(checkpoint).encoder_source == record["source"]
    assert "letter_case" not in json.loads((checkpoint / "config.json").read_text())
    capsys.readouterr()
    assert main(arguments) == 2
    assert "already holds a finished encoder" in capsys.readouterr().err
    assert main([*arguments, "--restart", "--no-letter-case", "--epochs", "1"]) == 0
    assert "letter_case" not in json.loads((encoder / "config.json").read_text())
    capsys.readouterr()
    assert main(words(ground, checkpoint, *texts)) == 2
    assert "holds a finished checkpoint; name another --output" in capsys.readouterr().err


LONG_RUN = ["--epochs", "12"]


@pytest.fixture(scope="module")
def undisturbed(ground: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights that the long run gives when nothing stops it."""
    output = tmp_path_factory.mktemp("undisturbed")
    assert main(words(ground, output, "--texts", str(ground / "a.jsonl"), *LONG_RUN)) == 0
    return (output / WEIGHTS).read_bytes()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on_and_ends_as_if_never_killed(
    ground: Path,
    tmp_path: Path,
    undisturbed: bytes,
    how: signal.Signals,
    capsys: pytest.CaptureFixture[str],
) -> None:
    again = words(ground, tmp_path, "--texts", str(ground / "a.jsonl"), *LONG_RUN)
    broken = [*again, "--save-seconds", "0"]
    state = tmp_path / ".training-state"
    if how is signal.SIGKILL:
        kill_command(broken, (state / "latest").exists)
    else:
        with signalled(how, (state / "latest").exists):
            assert main(broken) == 128 + how
        assert "the same command resumes from here" in capsys.readouterr().out
    assert (state / "latest").exists(), "it was stopped before its end"
    assert main(again) == 0
    assert "Resuming at step" in capsys.readouterr().out
    assert (tmp_path / WEIGHTS).read_bytes() == undisturbed


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "nothing to train on; name text with --texts or --corpus"),
        (["--texts", "none.jsonl"], "--texts 'none.jsonl': there is no such file"),
        (["--texts", f"{__file__},{__file__}"], "--texts has a duplicate"),
        (["--corpus", "jnlpba"], "corpus 'jnlpba' is not there"),
        (["--corpus", "bc2gm", "--epochs", "0"], "epochs is 0"),
        (["--corpus", "bc2gm", "--device", "abacus"], "--device 'abacus': expected auto, cpu"),
        (["--corpus", "bc2gm", "--max-pieces", "512"], "batch_pieces is 256"),
    ],
)
def test_a_wrong_option_is_one_clear_line(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    assert main(words(ground, tmp_path / "out", *more)) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1


def test_an_output_that_is_a_file_is_refused(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(words(ground, tmp_path / "file", "--corpus", "bc2gm")) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
