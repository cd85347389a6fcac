"""Registries with small, real checkpoints in them."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

from schemas.errors import RegistryError
from tests.support.dictionaries import head_content, write_dictionary
from worker.checkpoint.folder import WEIGHTS, read_manifest
from worker.registry.pointer import Action, Change
from worker.registry.registry import CHECKPOINTS, Registry, open_registry
from worker.storage.disk import DiskObjects

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def moment(number: int = 0) -> datetime:
    """Return a time, later the greater the number."""
    return START + timedelta(minutes=number)


def small_checkpoint(folder: Path, number: int = 0) -> Path:
    """Write a dictionary checkpoint, another one for each number, and return its folder."""
    known = {"Disease": {f"disease {number}": 0.9}}
    return write_dictionary(folder, {"ncbi-disease": head_content(known)})


def publish(registry: Registry, folder: Path, number: int = 0) -> str:
    """Publish a small checkpoint made in `folder`, and return its id."""
    checkpoint = small_checkpoint(folder / f"source-{number}", number)
    assert registry.publish(checkpoint, who=f"ann{number}", when=moment(number))
    return read_manifest(checkpoint).id


def move(registry: Registry, checkpoint_id: str, action: Action = "promote") -> Change:
    """Make a checkpoint active, whatever is."""
    over = registry.pointer()
    return registry.move(
        over,
        checkpoint_id,
        action=action,
        who="ann",
        when=moment(len(over.changes)),
        why=f"reason {len(over.changes) + 1}",
    )


def rollback(registry: Registry) -> str:
    """Roll back, and return what is active then."""
    return move(registry, registry.pointer().before(), "rollback").id


def damage(registry: Registry, checkpoint_id: str) -> None:
    """Turn one bit of a published encoder's weights, as a bad disk would; twice, and it is whole.

    The registry must lie on a disk.
    """
    assert isinstance(registry.objects, DiskObjects)
    place = registry.objects.root / CHECKPOINTS / checkpoint_id / WEIGHTS
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(data)


def everything(registry: Registry) -> dict[str, bytes]:
    """Return every object of a registry on a disk."""
    root = Path(registry.root)
    files = [path for path in root.rglob("*") if path.is_file() and ".locks" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def race(registry: Registry, checkpoint_id: str, count: int) -> list[str]:
    """Have threads move over one and the same pointer; return what each was told, "" if it won."""
    over = registry.pointer()

    def attempt(number: int) -> str:
        try:  # each says the same at the same time, and is another one all the same
            registry.move(
                over, checkpoint_id, action="promote", who="all", when=moment(), why="a race"
            )
        except RegistryError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(attempt, range(count)))


def race_processes(root: str, ids: Sequence[str], reports: Path) -> list[str]:
    """Have processes move over the pointer as it is, one to each id; return what each was told."""
    context = get_context("forkserver")
    barrier = context.Barrier(len(ids))
    reports.mkdir()
    places = [reports / str(number) for number in range(len(ids))]
    started = [
        context.Process(
            target=_attempt, args=(dict(os.environ), root, checkpoint_id, barrier, place)
        )
        for checkpoint_id, place in zip(ids, places, strict=True)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        assert process.exitcode == 0
    return [place.read_text("utf-8") for place in places]


def _attempt(
    environment: Mapping[str, str], root: str, checkpoint_id: str, barrier: Barrier, report: Path
) -> None:
    os.environ.update(environment)  # the fork server has that of the process that started it
    registry = open_registry(root)
    over = registry.pointer()
    barrier.wait(60)
    said = ""
    try:
        registry.move(
            over, checkpoint_id, action="promote", who=checkpoint_id, when=moment(), why="a race"
        )
    except RegistryError as error:
        said = str(error)
    report.write_text(said, "utf-8")
