"""`pubner checkpoint reference`: a note is written, the id stays, texts are spread."""

import gzip
import json
from pathlib import Path

import pytest

from pipelines.commands.reference import run
from schemas.errors import CheckpointError, InputError, OutputError, SettingsError
from tests.support.checkpoints import sign_again, tiny_checkpoint
from worker.checkpoint.folder import MANIFEST, read_manifest
from worker.drift.tally import reference_of
from worker.tagger import load_tagger


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_checkpoint(tmp_path / "checkpoint")


def write_texts(path: Path, count: int) -> Path:
    lines = [
        json.dumps({"pmid": 1 + n, "title": f"Gene {n}", "abstract": f"A cell of cancer {n}."})
        for n in range(count)
    ]
    lines.insert(1, json.dumps({"pmid": 9_000, "title": "", "abstract": ""}))
    lines.insert(2, "no JSON")
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def test_the_note_is_written_and_nothing_else_changes(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_manifest(checkpoint)
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    texts = write_texts(tmp_path / "texts.jsonl.gz", 21)
    words = [str(checkpoint), "--texts", str(texts), "--limit", "5", "--device", "cpu"]
    assert run([*words, "--threads", "1", "--json", "-"]) == 0
    printed = capsys.readouterr()
    after = read_manifest(checkpoint)
    assert after.id == before.id
    assert after.model_copy(update={"reference": None}) == before
    assert {path.name for path in checkpoint.iterdir()} == set(files)
    for name in set(files) - {MANIFEST}:
        assert (checkpoint / name).read_bytes() == files[name]
    found = json.loads(printed.out)
    assert found["id"] == after.id
    assert after.reference is not None
    assert found["reference"] == after.reference.model_dump(mode="json")
    assert "5 citations of texts.jsonl.gz" in printed.err
    tagger = load_tagger([checkpoint], device="cpu", threads=1)
    chosen = [f"Gene {n}\nA cell of cancer {n}." for n in (0, 5, 10, 15, 20)]
    assert reference_of(tagger, chosen, name="texts.jsonl.gz") == after.reference
    assert tagger.reference == after.reference


def test_a_second_reference_takes_the_place_of_the_first(checkpoint: Path, tmp_path: Path) -> None:
    for count in (3, 4):
        texts = write_texts(tmp_path / "texts.jsonl", count)
        assert run([str(checkpoint), "--texts", str(texts), "--device", "cpu"]) == 0
    found = read_manifest(checkpoint).reference
    assert found is not None
    assert found.citations == 4


def test_what_cannot_be_done_is_one_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(InputError, match="has no citation with text"):
        run([str(checkpoint), "--texts", str(empty)])
    with pytest.raises(SettingsError, match="there is no such file"):
        run([str(checkpoint), "--texts", str(tmp_path / "nowhere.jsonl")])
    (tmp_path / "texts.csv").write_text("")
    with pytest.raises(InputError, match="no known format"):
        run([str(checkpoint), "--texts", str(tmp_path / "texts.csv")])
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        run([str(tmp_path / "nowhere"), "--texts", str(empty)])
    texts = write_texts(tmp_path / "texts.jsonl", 3)
    (checkpoint / f".{MANIFEST}.tmp").mkdir()
    with pytest.raises(OutputError, match="copy the checkpoint to a writable folder"):
        run([str(checkpoint), "--texts", str(texts), "--device", "cpu"])
    assert read_manifest(checkpoint).reference is None


def test_a_checkpoint_signed_again_keeps_its_reference(checkpoint: Path, tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "texts.jsonl", 3)
    assert run([str(checkpoint), "--texts", str(texts), "--device", "cpu"]) == 0
    before = read_manifest(checkpoint)
    sign_again(checkpoint, metrics={"devel/bc2gm": {"strict_f1": 0.5}})
    assert read_manifest(checkpoint).reference == before.reference
