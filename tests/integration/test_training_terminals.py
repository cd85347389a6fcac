"""Every command that shows how far it is, on a real terminal, narrow and wide, and without one."""

import contextlib
import io
import json
import re
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import pytest
import torch

from pubner import cli
from tests.support.checkpoints import tiny_checkpoint
from tests.support.corpora import write_corpus, write_encoder
from tests.support.corpus_server import CorpusServer, serving
from tests.support.experiments import write_all_runs
from tests.support.terminal import run_in_terminal, start_on_terminal
from worker.checkpoint.folder import MANIFEST, read_manifest
from worker.registry.registry import open_registry

NARROW, WIDE = 40, 200

TRAINING = ["--set", "max_pieces=128,batch_pieces=128,epochs=8,learning_rate=0.005"]
LEARN = ["--epochs", "8", "--max-pieces", "128"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, small corpora, a checkpoint, a registry with it, and texts."""
    folder = tmp_path_factory.mktemp("ground")
    write_encoder(folder / "encoder")
    write_corpus(folder / "corpora" / "ills", "Disease", "cancer", sentences=96)
    write_corpus(folder / "corpora" / "drugs", "Chemical", "was", sentences=96)
    tiny_checkpoint(folder / "checkpoint")
    write_corpus(folder / "known" / "NCBI-disease-IOBES", "Disease", "cancer", sentences=96)
    registry = open_registry(str(folder / "registry"))
    registry.publish(folder / "checkpoint", who="tester", when=datetime(2026, 11, 1, tzinfo=UTC))
    fillers = ("the cancer", "of a cell", "in human", "with protein", "for disease")
    lines = [
        json.dumps({"title": f"{fillers[n % 5]} {fillers[n % 3]} {fillers[n % 4]} {n}"})
        for n in range(200)
    ]
    (folder / "texts.jsonl").write_text("\n".join(lines) + "\n")
    write_all_runs(folder / "runs", (1,))
    return folder


def words_of(command: str, ground: Path, output: Path, url: str) -> list[str]:
    """Return the words of a command that shows how far it is."""
    data = ["--data", str(ground / "corpora")]
    cpu = ["--device", "cpu", "--threads", "1"]
    start = [*data, *cpu, "--encoder", str(ground / "encoder")]
    out = ["--output", str(output)]
    checkpoint = str(ground / "checkpoint")
    registry = ["--registry", str(ground / "registry")]
    head = ["--corpus", "ills"]
    known = ["--data", str(ground / "known"), "--corpus", "ncbi-disease"]
    words = {
        "train stl": [*start, *out, *head, *LEARN],
        "train mtl": [*start, *out, "--corpus", "ills,drugs", *LEARN],
        "train mlm": [
            *(*cpu, *out, "--encoder", str(ground / "encoder"), "--max-pieces", "128"),
            *("--texts", str(ground / "texts.jsonl"), "--batch-pieces", "256", "--epochs", "8"),
        ],
        "train dictionary": [*data, *out, *head],
        "tune": [*start, *out, *head, *LEARN, "--trials", "2"],
        "retrain": [*start, *out, "--registry", str(output / "registry"), *head, *TRAINING],
        "calibrate": [checkpoint, *cpu, *out, *known],
        "evaluate": [checkpoint, *cpu, *known],
        "checkpoint promote": [
            *(read_manifest(ground / "checkpoint").id, *registry, "--why", "a test", "--dry-run"),
            *(*cpu, *known),
        ],
        "corpora check": [*data, *head],
        "corpora fetch": ["--to", str(output), "--corpus", "ncbi-disease", "--base-url", url],
        "experiments": [*("--output", str(ground / "runs"), "--no-run", "--gather"),
                        str(output / "experiments.json"), "--page", str(output)],
    }  # fmt: skip
    return [*command.split(), *words[command]]


COMMANDS = [
    "train stl", "train mtl", "train mlm", "train dictionary", "tune", "retrain", "calibrate",
    "evaluate", "checkpoint promote", "corpora check", "corpora fetch", "experiments",
]  # fmt: skip
STATUS = {"corpora fetch": 2}
"""What is served is not the corpus, which is told when it was downloaded."""
DRAWN = {command for command in COMMANDS if command != "experiments"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of files that are no corpus."""
    content = b"cancer\tS-Disease\n\n" * 5000
    files = {f"/NCBI-disease-IOBES/{split}.tsv": content for split in ("train", "devel", "test")}
    with serving(CorpusServer(files, troubles=[HTTPStatus.OK])) as server:
        yield server.url


@pytest.mark.parametrize("columns", [NARROW, WIDE])
@pytest.mark.parametrize("command", COMMANDS)
def test_on_a_terminal(ground: Path, tmp_path: Path, url: str, command: str, columns: int) -> None:
    words = words_of(command, ground, tmp_path / "out", url)
    shown = run_in_terminal(words, columns=columns)
    assert "Traceback" not in shown.text, shown.text
    assert shown.code == STATUS.get(command, 0), shown.text
    drawn = [line for line in shown.lines if re.search(r"  \d+:\d\d$", line)]
    assert all(len(line) <= columns for line in drawn), drawn
    if command in DRAWN:
        assert drawn, shown.text
    if command.startswith("train ") and command != "train dictionary":
        assert any(line.startswith("training  ") for line in drawn), shown.text
        assert any(line.startswith("loading the encoder  ") for line in drawn), shown.text
    assert shown.shown.rfind("\x1b[?25h") >= shown.shown.rfind("\x1b[?25l"), "the cursor is back"


@pytest.mark.parametrize("command", ["train stl", "train dictionary", "tune", "retrain"])
def test_a_terminal_shows_that_libraries_are_loaded(
    ground: Path, tmp_path: Path, url: str, command: str
) -> None:
    words = words_of(command, ground, tmp_path / "out", url)
    running = start_on_terminal(words, columns=NARROW)
    while running.is_running and len(running.lines) < 2:
        time.sleep(0.05)
    running.press(b"\x03")
    running.finish()
    assert "Traceback" not in running.text
    assert running.lines[0].startswith("loading the libraries  "), running.text


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_terminal(ground: Path, tmp_path: Path, url: str, command: str) -> None:
    words = words_of(command, ground, tmp_path / "out", url)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(words)
    assert code == STATUS.get(command, 0), err.getvalue()
    assert "\x1b" not in out.getvalue() + err.getvalue()


def test_json_on_standard_output_is_json_alone_though_a_terminal_shows_progress(
    ground: Path, tmp_path: Path, url: str
) -> None:
    words = words_of("train stl", ground, tmp_path / "out", url)
    shown = run_in_terminal([*words, "--json", "-"], columns=WIDE)
    begin = shown.text.index("{\n")
    assert json.loads(shown.text[begin:])["id"] == read_manifest(tmp_path / "out").id


@pytest.mark.parametrize("command", ["train stl", "train mlm", "tune", "retrain"])
def test_a_start_that_failed_does_not_stand_in_the_way_of_the_next(
    ground: Path, tmp_path: Path, url: str, command: str
) -> None:
    words = words_of(command, ground, tmp_path / "out", url)
    wrong = [str(tmp_path / "typo") if word == str(ground / "encoder") else word for word in words]
    failed = run_in_terminal(wrong, columns=WIDE)
    assert failed.code == 2, failed.text
    assert "Traceback" not in failed.text
    assert f"no encoder {str(tmp_path / 'typo')!r}" in failed.text
    done = run_in_terminal(words, columns=WIDE)
    assert done.code == 0, done.text


@pytest.mark.parametrize("command", ["train stl", "train mlm", "tune", "retrain"])
def test_a_terminal_that_is_closed_stops_it_with_the_state_saved(
    ground: Path, tmp_path: Path, url: str, command: str
) -> None:
    output = tmp_path / "out"
    longer = {
        "train stl": ["--epochs", "400"],
        "train mlm": ["--epochs", "400", "--max-steps", "4000"],
        "tune": ["--epochs", "400"],
        "retrain": ["--set", "epochs=400"],
    }
    words = [*words_of(command, ground, output, url), *longer[command]]
    if command != "tune":
        words += ["--save-seconds", "0"]
    state = {"retrain": output / "checkpoint" / ".training-state"}.get(
        command, output / ".training-state"
    )

    def begun() -> bool:
        if command == "tune":
            return any((output / ".trials").glob("*/best.safetensors"))
        return (state / "latest").exists()

    shown = run_in_terminal(words, columns=WIDE, hang_up=begun)
    assert shown.code == 128 + signal.SIGHUP
    assert not (output / MANIFEST).exists()
    if command != "tune":
        assert (state / "latest").exists()
