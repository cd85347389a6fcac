"""Checkpoints: found, verified, refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from schemas.errors import CheckpointError
from schemas.manifest import HeadCalibration
from tests.support.checkpoints import sign_again, tiny_checkpoint
from worker.checkpoint.folder import MANIFEST, WEIGHTS, read_manifest, resolve_checkpoint
from worker.tagger import load_tagger


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("made"))


@pytest.fixture
def checkpoint(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "checkpoint"))


def test_an_export_verifies_and_equal_content_has_an_equal_id(made: Path, tmp_path: Path) -> None:
    manifest = read_manifest(made)
    assert manifest.kind == "encoder"
    assert [task.name for task in manifest.task_records()] == ["ncbi-disease", "bc2gm"]
    assert read_manifest(tiny_checkpoint(tmp_path / "same")).id == manifest.id
    assert read_manifest(tiny_checkpoint(tmp_path / "other", seed=1)).id != manifest.id


def test_notes_do_not_change_the_id_but_meaning_does(checkpoint: Path) -> None:
    before = read_manifest(checkpoint)
    sign_again(checkpoint, metrics={"devel/bc2gm": {"strict_f1": 0.5}})
    assert read_manifest(checkpoint).id == before.id
    sign_again(checkpoint, calibration={"bc2gm": HeadCalibration(temperature=1.3)})
    assert read_manifest(checkpoint).id != before.id


def test_the_table_that_texts_are_read_with_is_part_of_the_id(made: Path, checkpoint: Path) -> None:
    before = read_manifest(made)
    assert before.reading is None
    assert "reading" not in json.loads((made / MANIFEST).read_text())
    sign_again(checkpoint, reading="1")
    assert read_manifest(checkpoint).reading == "1"
    assert read_manifest(checkpoint).id != before.id
    written, plain = "TNF−α in breast\u2009ｃａｎｃｅｒ", "TNF-alpha in breast cancer"
    tagger, without = load_tagger([checkpoint], device="cpu"), load_tagger([made], device="cpu")
    (one,), (other,) = tagger.annotate([written]), tagger.annotate([plain])
    assert (one.word_pieces, one.unknown_pieces) == (other.word_pieces, other.unknown_pieces)
    assert [m.score for m in one.mentions] == [m.score for m in other.mentions]
    assert without.annotate([written]) != without.annotate([plain])
    assert without.annotate([plain])[0].word_pieces == other.word_pieces


def test_a_table_that_this_version_lacks_is_refused(checkpoint: Path) -> None:
    sign_again(checkpoint, reading="2")
    with pytest.raises(CheckpointError, match="the table '2', this version has only '1'"):
        load_tagger([checkpoint])


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_one_changed_byte_is_noticed(checkpoint: Path, name: str) -> None:
    content = bytearray((checkpoint / name).read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} differs from the manifest"):
        load_tagger([checkpoint])


def test_a_missing_file_is_noticed(checkpoint: Path) -> None:
    (checkpoint / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        read_manifest(checkpoint)


def edit(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        manifest[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (edit("letter_case", False), "id .* is not the id of its content"),
        (edit("kind", "magic"), "not a valid manifest: kind"),
        (edit("surprise", 1), "not a valid manifest: surprise"),
        (edit("format_version", 2), "not a valid manifest: format_version"),
        (edit("tasks", []), "not a valid manifest: tasks"),
        (edit("files", {"../elsewhere": "0"}), "outside the checkpoint"),
    ],
)
def test_an_edited_manifest_is_refused(
    checkpoint: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    values = json.loads((checkpoint / MANIFEST).read_text())
    change(values)
    (checkpoint / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=says):
        read_manifest(checkpoint)


def test_a_manifest_that_names_a_head_the_weights_lack_is_refused(checkpoint: Path) -> None:
    manifest = read_manifest(checkpoint)
    extra = manifest.tasks[0].model_copy(update={"name": "bc5cdr"})
    sign_again(checkpoint, tasks=(*manifest.tasks, extra))
    with pytest.raises(CheckpointError, match="a head is missing"):
        load_tagger([checkpoint])


def test_a_head_named_twice_is_refused(checkpoint: Path) -> None:
    manifest = read_manifest(checkpoint)
    sign_again(checkpoint, tasks=(*manifest.tasks, manifest.tasks[0]))
    with pytest.raises(CheckpointError, match="lists a head twice"):
        read_manifest(checkpoint)


def test_weights_that_do_not_fit_the_config_are_refused(checkpoint: Path) -> None:
    weights = load_file(checkpoint / WEIGHTS)
    del weights["encoder.encoder.layer.1.output.dense.bias"]
    save_file(weights, checkpoint / WEIGHTS)
    sign_again(checkpoint)
    with pytest.raises(CheckpointError, match=r"weights do not fit config\.json"):
        load_tagger([checkpoint])


def test_attention_heads_that_do_not_divide_the_width_are_refused(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "num_attention_heads": 5}))
    sign_again(checkpoint)
    with pytest.raises(CheckpointError, match="5 attention heads for a width of 32"):
        load_tagger([checkpoint])


def test_broken_formats_are_refused_with_one_clear_error(checkpoint: Path) -> None:
    (checkpoint / WEIGHTS).write_bytes(b"not weights")
    sign_again(checkpoint)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_tagger([checkpoint])


def test_contradictions_between_config_and_manifest_are_refused(checkpoint: Path) -> None:
    sign_again(checkpoint, max_pieces=4096)
    with pytest.raises(CheckpointError, match="max_pieces is 4096, the encoder reads 128"):
        load_tagger([checkpoint])
    sign_again(checkpoint, max_pieces=128)
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"model_type": "no-such-model"}))
    sign_again(checkpoint)
    with pytest.raises(CheckpointError, match="names no encoder"):
        load_tagger([checkpoint])


def test_a_dictionary_checkpoint_is_not_taken_for_an_encoder(checkpoint: Path) -> None:
    sign_again(checkpoint, kind="dictionary")
    with pytest.raises(CheckpointError, match="of kind 'dictionary'"):
        load_tagger([checkpoint])


def test_names_resolve_to_folders_with_a_manifest(checkpoint: Path, tmp_path: Path) -> None:
    assert resolve_checkpoint(str(checkpoint)) == checkpoint
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        resolve_checkpoint(str(tmp_path / "missing"))
    (checkpoint / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match=r"has no manifest\.json"):
        resolve_checkpoint(str(checkpoint))


def test_the_shipped_checkpoint_is_whole_and_says_what_it_is() -> None:
    path = resolve_checkpoint("default")
    manifest = read_manifest(path)
    assert [task.name for task in manifest.tasks] == ["ncbi-disease", "bc5cdr", "bc2gm", "jnlpba"]
    assert manifest.recipe["name"] == "shipped"
    assert (path / WEIGHTS).stat().st_size <= 50_000_000
    assert {str(tensor.dtype) for tensor in load_file(path / WEIGHTS).values()} == {"torch.float16"}
    assert all(entry.split == "train" for entry in manifest.corpora)
    assert resolve_checkpoint(manifest.id) == path
