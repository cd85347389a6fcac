"""Runs that take their checkpoint from a registry."""

import json
from pathlib import Path

import pytest

from pubner import cli
from tests.support.annotating import article, articles, check_output, pubmed_xml
from tests.support.registries import damage, moment, move
from worker.checkpoint.folder import read_manifest
from worker.registry.registry import Registry, open_registry


@pytest.fixture
def registry(tmp_path: Path, checkpoint: Path, other_checkpoint: Path) -> Registry:
    """Two checkpoints; the first is active."""
    made = open_registry(str(tmp_path / "registry"))
    for folder in (checkpoint, other_checkpoint):
        made.publish(folder, who="ann", when=moment())
    move(made, read_manifest(checkpoint).id)
    return made


def run(source: Path, output: Path, registry: Registry, *options: str) -> int:
    return cli.main(
        [
            "annotate",
            str(source),
            f"--output={output}",
            f"--registry={registry.root}",
            "--threads=1",
            "--block-size=5",
            f"--json={output.parent / 'summary.json'}",
            *options,
        ]
    )


def test_a_batch_is_made_by_what_is_active_when_it_begins(
    tmp_path: Path, registry: Registry, checkpoint: Path, other_checkpoint: Path
) -> None:
    source, output = pubmed_xml(tmp_path / "a.xml", articles(12)), tmp_path / "out"
    for folder, written in ((checkpoint, 3), (checkpoint, 0), (other_checkpoint, 3)):
        move(registry, read_manifest(folder).id)
        assert run(source, output, registry) == 0
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert summary["checkpoint_id"] == read_manifest(folder).id
        assert summary["blocks_written_now"] == written
        rows = check_output(output)
        for kind in ("citations", "mentions"):
            assert {row["checkpoint_id"] for row in rows[kind]} == {read_manifest(folder).id}
        assert rows["mentions"]


def test_what_an_older_one_made_is_annotated_again(
    tmp_path: Path, registry: Registry, other_checkpoint: Path
) -> None:
    source, output = pubmed_xml(tmp_path / "a.xml", articles(12)), tmp_path / "out"
    assert run(source, output, registry) == 0
    newer = read_manifest(other_checkpoint).id
    move(registry, newer)
    words = [str(output), f"--where=checkpoint_id <> '{newer}'", f"--registry={registry.root}"]
    assert cli.main(["reannotate", *words, "--threads=1"]) == 0
    rows = check_output(output)
    assert {row["checkpoint_id"] for kind in ("citations", "mentions") for row in rows[kind]} == {
        newer
    }
    assert run(source, output, registry) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["blocks_written_now"] == 0


def test_dead_letters_are_annotated_by_it_too(
    tmp_path: Path, registry: Registry, capfd: pytest.CaptureFixture[str]
) -> None:
    source = pubmed_xml(tmp_path / "a.xml", [*articles(3), article("no number")])
    assert run(source, tmp_path / "out", registry) == 0
    words = ["dead-letters", "replay", str(tmp_path / "out"), "--pipeline", "--json=-"]
    capfd.readouterr()
    assert cli.main([*words, f"--registry={registry.root}"]) == 0
    assert json.loads(capfd.readouterr().out)["checkpoint_id"] == registry.active().id


def test_what_cannot_be_is_said_in_one_line(
    tmp_path: Path, registry: Registry, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = pubmed_xml(tmp_path / "a.xml", articles(1))

    def complaint(registry: Registry, *options: str) -> str:
        capfd.readouterr()
        assert run(source, tmp_path / "out", registry, *options) == 2
        err = capfd.readouterr().err
        assert err.count("\n") == 1
        return err

    several = f"--checkpoint={checkpoint},default"
    assert "--registry takes one checkpoint" in complaint(registry, several)
    assert "no checkpoint" in complaint(registry, "--checkpoint=ffffffffffff")
    (tmp_path / "empty").mkdir()
    empty = open_registry(str(tmp_path / "empty"))
    assert "has no active checkpoint" in complaint(empty)
    damage(registry, registry.active().id)
    assert "altered: its manifest has SHA-256" in complaint(registry)
    assert not (tmp_path / "out").exists()
