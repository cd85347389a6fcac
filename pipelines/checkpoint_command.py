"""`pubner checkpoint show`: what a checkpoint is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from schemas.manifest import CheckpointManifest
from worker.checkpoint import read_manifest, resolve_checkpoint
from worker.command import Settings, human_console, parse_settings, print_table, write_json

PROG = "pubner checkpoint show"


class ShowSettings(Settings):
    """Which checkpoint to show, and where to."""

    checkpoint: str = Field(description="a checkpoint's folder, or `default` for the shipped one")
    json_file: str | None = Field(
        default=None, description="write all of it as JSON; `-` is standard output"
    )


def run(argv: Sequence[str]) -> int:
    """Run the command with the words behind `pubner checkpoint show`; return its exit code.

    :raises PubnerError: with one line to show.
    """
    settings = parse_settings(
        ShowSettings,
        argv,
        prog=PROG,
        description="Verify a checkpoint, and show its tasks, recipe and scores.",
        positional="checkpoint",
    )
    folder = resolve_checkpoint(settings.checkpoint)
    manifest = read_manifest(folder)
    if settings.json_file is not None:
        write_json(describe(folder, manifest), settings.json_file)
    if settings.json_file != "-":
        _print(folder, manifest)
    return 0


def describe(folder: Path, manifest: CheckpointManifest) -> dict[str, Any]:
    """Return the manifest as JSON has it, and the folder as `path`."""
    return {"path": str(folder.resolve()), **manifest.model_dump(mode="json")}


def _print(folder: Path, manifest: CheckpointManifest) -> None:
    console = human_console()
    rows: list[tuple[str, str]] = [
        ("id", manifest.id),
        ("path", str(folder.resolve())),
        ("kind", manifest.kind),
    ]
    rows += [
        (f"head {task.name}", ", ".join(label.name for label in task.labels))
        for task in manifest.tasks
    ]
    rows += [
        (f"scores {head}", ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
        for head, scores in manifest.metrics.items()
    ]
    rows += [(f"recipe {name}", str(value)) for name, value in manifest.recipe.items()]
    print_table(console, rows)
