"""The commands `pubner checkpoint publish`, `list`, `verify`, `rollback` and `history`."""

import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.settings.registry import (
    HistorySettings,
    ListSettings,
    PublishSettings,
    RollbackSettings,
    VerifySettings,
)
from schemas.errors import CheckpointError, RegistryError
from schemas.manifest import CheckpointManifest
from worker.checkpoint.folder import read_manifest, resolve_checkpoint
from worker.cli.command import command, human_console, print_table, write_json
from worker.registry.names import find_checkpoint
from worker.registry.pointer import POINTER
from worker.registry.registry import (
    CHECKPOINTS,
    GATE,
    PUBLISHED,
    Change,
    Pointer,
    Registry,
    open_registry,
)
from worker.registry.who import default_who
from worker.storage.disk import DiskObjects
from worker.system.clock import utc_now

if TYPE_CHECKING:
    from rich.console import Console

_PROG = "pubner checkpoint"
_DEVEL = "devel/"
_SCORE = "strict_f1"

Clock = Callable[[], datetime]


@command(PublishSettings, prog=f"{_PROG} publish", positional="checkpoint")
def publish(settings: PublishSettings, *, clock: Clock = utc_now) -> None:
    """Copy a checkpoint to a registry and verify the copy.

    A published checkpoint never changes; publishing it again has no effect. It is not in use until
    it is promoted.
    """
    folder = resolve_checkpoint(settings.checkpoint)
    registry = open_registry(settings.registry)
    new = registry.publish(folder, who=settings.who or default_who(), when=clock())
    identity = read_manifest(folder, verify=False).id
    published = registry.publication(identity)
    _print_line(
        human_console(),
        f"published {identity} to {registry.root}"
        if new
        else f"{identity} is in {registry.root} already: whole, published "
        f"{_time(published.when)} by {published.who}",
    )


@command(ListSettings, prog=f"{_PROG} list")
def list_checkpoints(settings: ListSettings) -> None:
    """List the checkpoints of a registry, in the order in which they were published.

    The active one is marked with *. Scores are strict F1 on devel.
    """
    registry = open_registry(settings.registry)
    active = registry.pointer().active
    active_id = None if active is None else active.id
    entries = [_describe(registry, identity, active_id) for identity in registry.ids()]
    entries.sort(key=lambda entry: (entry["published"] or "", entry["id"]))
    if settings.json_file is not None:
        listed = {"registry": registry.root, "active": active_id, "checkpoints": entries}
        write_json(listed, settings.json_file)
    console = human_console(settings.json_file)
    if settings.json_file == "-":
        return
    if not entries:
        _require_registry(registry)
        _print_line(console, f"{registry.root} has no checkpoints")
        return
    if active_id is not None and not any(entry["active"] for entry in entries):
        _print_line(console, f"the active checkpoint, {active_id}, is not here any more")
    print_table(
        console,
        [
            (
                "*" if entry["active"] else "",
                entry["id"],
                ", ".join(entry["heads"]) or entry["error"],
                entry["published"] or "",
                entry["who"] or "",
                ", ".join(f"{head} {100 * f1:.1f}" for head, f1 in entry["devel"].items()),
            )
            for entry in entries
        ],
        columns=["", "id", "heads", "published", "by", "devel"],
        whole=[0, 1, 3] if console.is_terminal else range(6),
    )


@command(VerifySettings, prog=f"{_PROG} verify", positional="checkpoint")
def verify(settings: VerifySettings) -> None:
    """Read all of a checkpoint, in a folder or a registry, and compare it with its manifest."""
    found = find_checkpoint(settings.checkpoint, settings.registry)
    manifest = found.verify()
    _print_line(
        human_console(), f"{manifest.id} is whole: {len(manifest.files)} files, {found.location}"
    )


@command(RollbackSettings, prog=f"{_PROG} rollback")
def rollback(settings: RollbackSettings, *, clock: Clock = utc_now) -> None:
    """Reactivate the previously active checkpoint or, with --to, any that was active before.

    It is verified first. Each further rollback goes back by one, never forward.
    """
    registry = open_registry(settings.registry)
    registry.require_conditional("rollback")
    registry.active()
    before = registry.pointer()
    target = before.before() if settings.to is None else _find_earlier(before, settings.to)
    try:
        registry.verify(target)
    except (CheckpointError, RegistryError) as error:
        others = [known for known in _earlier(before) if known != target]
        if not others:
            raise
        raise CheckpointError(
            f"{error}; or roll back past it with --to ID, one of {', '.join(others)}"
        ) from error
    change = registry.move(
        before,
        target,
        action="rollback",
        who=settings.who or default_who(),
        when=clock(),
        why=settings.why,
    )
    _print_line(
        human_console(),
        f"{change.id} is active in {registry.root}; before it was {change.previous}",
    )


def _earlier(pointer: Pointer) -> list[str]:
    """Return the formerly active ids, in the order in which to roll back to them."""
    now = pointer.active
    return [known for known in pointer.fallbacks() if now is None or known != now.id]


def _find_earlier(pointer: Pointer, name: str) -> str:
    """Return the formerly active id that begins with `name`.

    :raises RegistryError: if none does, or several do.
    """
    earlier = _earlier(pointer)
    found = [known for known in earlier if known.startswith(name)]
    if len(found) != 1:
        what = "several checkpoints" if found else "no checkpoint"
        raise RegistryError(
            f"--to {name!r}: {what} of that id were active before; those are "
            f"{', '.join(found or earlier) or 'none'}"
        )
    return found[0]


@command(HistorySettings, prog=f"{_PROG} history")
def history(settings: HistorySettings) -> None:
    """Show every change of a registry's active checkpoint, oldest first.

    Each has the new and the previous checkpoint, the time (UTC), the author and the reason.
    """
    registry = open_registry(settings.registry)
    changes = registry.pointer().changes
    if settings.json_file is not None:
        entries = [change.model_dump(mode="json", exclude={"token"}) for change in changes]
        write_json({"registry": registry.root, "changes": entries}, settings.json_file)
    if settings.json_file == "-":
        return
    console = human_console()
    if not changes:
        _require_registry(registry)
        _print_line(console, f"no checkpoint of {registry.root} was ever active")
        return
    print_table(
        console,
        [
            (
                change.number,
                _time(change.when),
                _action(change),
                change.id,
                change.previous or "",
                change.who,
                change.why,
            )
            for change in changes
        ],
        columns=["", "when", "what", "active", "before", "by", "why"],
        right=[0],
        whole=[0, 1, 3, 4] if console.is_terminal else range(7),
    )
    gone = sorted({change.id for change in changes} - _published(registry, changes))
    if gone:
        _print_line(console, f"not in {registry.root} any more: {', '.join(gone)}")


def _published(registry: Registry, changes: Sequence[Change]) -> set[str]:
    """Return those of the once active checkpoints that are still published."""
    found = set()
    for identity in {change.id for change in changes}:
        with contextlib.suppress(RegistryError):
            found.add(registry.publication(identity).id)
    return found


def _require_registry(registry: Registry) -> None:
    """Check that an empty registry is not a folder with other content.

    :raises RegistryError: if it is.
    """
    if isinstance(registry.objects, DiskObjects):
        found = {entry.name for entry in registry.objects.root.iterdir() if entry.name[0] != "."}
        if found and not found & {CHECKPOINTS, PUBLISHED, GATE, POINTER}:
            raise RegistryError(
                f"{registry.root} is not a registry: it holds {', '.join(sorted(found)[:3])}, and "
                f"neither {PUBLISHED} nor {POINTER}; name the folder that `pubner checkpoint "
                "publish` was given"
            )


def _print_line(console: "Console", line: str) -> None:
    console.print(line, soft_wrap=True)


def _action(change: Change) -> str:
    return f"{change.action}, forced" if change.forced else change.action


def _describe(registry: Registry, identity: str, active: str | None) -> dict[str, Any]:
    """Return an entry of the list, with the error of a damaged checkpoint instead of raising it."""
    published, who, heads, devel, error = None, None, [], {}, None
    try:
        publication = registry.publication(identity)
        published, who = _time(publication.when), publication.who
        manifest = registry.manifest(identity)
        heads, devel = [task.name for task in manifest.tasks], _devel(manifest)
    except (CheckpointError, RegistryError) as reason:
        error = str(reason)
    return {
        "id": identity,
        "active": identity == active,
        "heads": heads,
        "published": published,
        "who": who,
        "devel": devel,
        "error": error,
    }


def _devel(manifest: CheckpointManifest) -> dict[str, float]:
    """Return the strict F1 of each head on devel, from 0 to 1."""
    return {
        name.removeprefix(_DEVEL): scores[_SCORE]
        for name, scores in manifest.metrics.items()
        if name.startswith(_DEVEL) and _SCORE in scores
    }


def _time(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
