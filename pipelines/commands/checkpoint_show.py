"""The command `pubner checkpoint show`."""

from pathlib import Path
from typing import Any

from pipelines.settings.registry import ShowSettings
from schemas.manifest import CheckpointManifest
from worker.cli.command import command, human_console, print_table, write_json
from worker.registry.names import FoundFolder, FoundPublished, find_checkpoint

PROG = "pubner checkpoint show"


@command(ShowSettings, prog=PROG, positional="checkpoint")
def run(settings: ShowSettings) -> None:
    """Show a checkpoint's tasks, recipe and scores.

    One in a folder is verified first; of one in a registry only the manifest is read (see `pubner
    checkpoint verify`).
    """
    found = find_checkpoint(settings.checkpoint, settings.registry)
    if isinstance(found, FoundFolder):
        manifest = found.verify()
        content, publication = describe(found.folder, manifest), {}
    else:
        manifest = found.registry.manifest(found.id)
        publication = _describe_publication(found)
        content = {"path": found.location, **publication, **manifest.model_dump(mode="json")}
    write_json(content, settings.json_file)
    if settings.json_file != "-":
        _print(found.location, manifest, publication)


def describe(folder: Path, manifest: CheckpointManifest) -> dict[str, Any]:
    """Return the manifest as JSON values, with the folder as `path`."""
    return {"path": str(folder.resolve()), **manifest.model_dump(mode="json")}


def _describe_publication(found: FoundPublished) -> dict[str, Any]:
    published = found.registry.publication(found.id)
    active = found.registry.pointer().active
    return {
        "active": active is not None and active.id == found.id,
        "published": published.when.isoformat(),
        "who": published.who,
    }


def _print(path: str, manifest: CheckpointManifest, publication: dict[str, Any]) -> None:
    console = human_console()
    rows: list[tuple[str, str]] = [
        ("id", manifest.id),
        ("path", path),
        ("kind", manifest.kind),
    ]
    if publication:
        rows.append(("published", f"{publication['published']} by {publication['who']}"))
        rows.append(("active", "yes" if publication["active"] else "no"))
    rows += [
        (f"head {task.name}", ", ".join(label.name for label in task.labels))
        for task in manifest.tasks
    ]
    rows += [
        (f"scores {head}", ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
        for head, scores in manifest.metrics.items()
    ]
    if manifest.reference is not None:
        made_on = f"{manifest.reference.citations:,} citations of {manifest.reference.name}"
        rows.append(("drift reference", made_on))
    rows += [(f"recipe {name}", str(value)) for name, value in manifest.recipe.items()]
    print_table(console, rows)
