"""The pointer of a registry: who wins, who is told, and what a lost answer means."""

from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from schemas.errors import ConflictError, OutputError, RegistryError
from tests.support.crash_injection import MemoryObjects, SteppedObjects
from tests.support.registries import (
    everything,
    moment,
    move,
    publish,
    race,
    race_processes,
    rollback,
    small_checkpoint,
)
from worker.checkpoint.folder import read_manifest
from worker.registry.registry import Registry, open_registry
from worker.storage.objects import Stored


def test_promotions_and_rollbacks_move_the_pointer(registry: Registry, tmp_path: Path) -> None:
    ids = [publish(registry, tmp_path, number) for number in range(3)]
    with pytest.raises(RegistryError, match="has no active checkpoint; publish one and promote it"):
        registry.active()
    for identity in ids:
        move(registry, identity)
        assert registry.active().id == identity
    assert registry.active().id == registry.find("active") == ids[2]
    assert [rollback(registry), rollback(registry)] == [ids[1], ids[0]]
    change = registry.active()
    assert (change.number, change.action, change.previous) == (5, "rollback", ids[1])
    assert (change.who, change.when, change.why) == ("ann", moment(4), "reason 5")
    assert [x.id for x in registry.pointer().changes] == [*ids, ids[1], ids[0]]
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        rollback(registry)


def test_only_what_is_published_becomes_active(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path)
    with pytest.raises(RegistryError, match="has no checkpoint 'fedcba9876543210'"):
        move(registry, "fedcba9876543210")
    assert registry.pointer().active is None


def test_whoever_comes_late_is_told_by_whom_and_nothing_changes(
    registry: Registry, tmp_path: Path
) -> None:
    first, second = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    for version in ("where none was active", "where one was"):
        over = registry.pointer()
        registry.move(over, first, action="promote", who="ann", when=moment(), why="better")
        with pytest.raises(RegistryError, match=rf"moved to {first} by ann \(change \d: better\)"):
            registry.move(over, second, action="promote", who="bob", when=moment(), why=version)
    assert [change.who for change in registry.pointer().changes] == ["ann", "ann"]


def test_a_pointer_that_was_removed_meanwhile_is_told(registry: Registry, tmp_path: Path) -> None:
    identity = publish(registry, tmp_path)
    move(registry, identity)
    over = registry.pointer()
    registry.objects.remove("active.json")
    with pytest.raises(RegistryError, match="was removed meanwhile; nothing was changed"):
        registry.move(over, identity, action="promote", who="ann", when=moment(), why="x")


def test_of_many_threads_that_move_over_one_pointer_one_wins(
    registry: Registry, tmp_path: Path
) -> None:
    identity = publish(registry, tmp_path)
    for round_number in (1, 2, 3):
        told = race(registry, identity, 8)
        assert told.count("") == 1
        assert all(f"moved to {identity} by all" in said for said in told if said)
        assert len(registry.pointer().changes) == round_number


def test_of_many_processes_that_move_over_one_pointer_one_wins(
    registry: Registry, tmp_path: Path
) -> None:
    ids = [publish(registry, tmp_path, number) for number in range(5)]
    told = race_processes(registry.root, ids, tmp_path / "reports")
    [change] = registry.pointer().changes
    assert told.count("") == 1
    assert ids[told.index("")] == change.id
    assert all(f"moved to {change.id} by {change.id}" in said for said in told if said)


class Unsure(MemoryObjects):
    """A bucket whose every answer to a PUT is lost, so that the client's own retry is refused."""

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        super().put(path, data, over=over)
        raise ConflictError(path)


def test_a_write_whose_answer_is_lost_has_won(tmp_path: Path) -> None:
    objects = MemoryObjects()
    registry = Registry("memory", objects)
    identity = publish(registry, tmp_path)
    unsure = Registry("memory", Unsure(objects.stored))
    assert move(unsure, identity).id == identity
    assert len(registry.pointer().changes) == 1
    other = small_checkpoint(tmp_path / "other", 7)
    assert unsure.publish(other, who="ann", when=moment())
    assert registry.publication(read_manifest(other).id).who == "ann"


class Silent(MemoryObjects):
    """A bucket that applies a PUT of the pointer, or does not, and never says so."""

    applies = True
    answers = True

    def get(self, path: str) -> Stored | None:
        if not self.answers:
            raise OutputError(f"cannot read {path!r}: timed out; give the same command again")
        return super().get(path)

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        if self.applies:
            super().put(path, data, over=over)
        raise OutputError(f"cannot write {path!r}: timed out; give the same command again")


def silent(objects: MemoryObjects) -> tuple[Silent, Registry]:
    """Return a view of a bucket whose puts are never answered, and the registry in it."""
    found = Silent(objects.stored, objects.puts)
    return found, Registry("memory", found)


def test_a_change_that_was_applied_without_an_answer_is_known(
    remote: Registry, tmp_path: Path
) -> None:
    first, second = publish(remote, tmp_path, 1), publish(remote, tmp_path, 2)
    move(remote, first)
    move(remote, second)
    assert isinstance(remote.objects, MemoryObjects)
    _, unsure = silent(remote.objects)
    assert rollback(unsure) == first
    assert [change.id for change in remote.pointer().changes] == [first, second, first]


def test_a_change_that_was_not_applied_says_to_look_first(remote: Registry, tmp_path: Path) -> None:
    identity = publish(remote, tmp_path)
    assert isinstance(remote.objects, MemoryObjects)
    bucket, unsure = silent(remote.objects)
    bucket.applies = False
    with pytest.raises(OutputError, match="did not become active: cannot write") as caught:
        move(unsure, identity)
    assert "check `pubner checkpoint history` before" in str(caught.value)
    assert "same command" not in str(caught.value)
    assert remote.pointer().active is None


def test_a_change_of_which_nothing_is_known_says_so(remote: Registry, tmp_path: Path) -> None:
    identity = publish(remote, tmp_path)
    assert isinstance(remote.objects, MemoryObjects)
    bucket, _ = silent(remote.objects)

    def fall_silent(step: str) -> None:
        bucket.answers = bucket.answers and not step.startswith("put")

    failing = Registry("memory", SteppedObjects(bucket, fall_silent))
    with pytest.raises(
        OutputError,
        match=r"unknown whether .* became active: .*timed out, and then .*history` before",
    ):
        move(failing, identity)


def test_a_change_that_failed_while_another_was_made_tells_of_that(
    remote: Registry, tmp_path: Path
) -> None:
    first, second = publish(remote, tmp_path, 1), publish(remote, tmp_path, 2)
    assert isinstance(remote.objects, MemoryObjects)
    bucket, unsure = silent(remote.objects)
    bucket.applies = False
    over = unsure.pointer()
    move(remote, second)
    with pytest.raises(RegistryError, match=f"moved to {second} by ann"):
        unsure.move(over, first, action="promote", who="bob", when=moment(), why="late")


class Overtaken(MemoryObjects):
    """A bucket in which another promotes behind our write, before its refusal is looked at."""

    other: Callable[[], object]

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        super().put(path, data, over=over)
        self.other()
        raise ConflictError(path)


def test_a_write_that_won_and_was_overtaken_has_won(tmp_path: Path) -> None:
    objects = MemoryObjects()
    registry = Registry("memory", objects)
    first, second = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    overtaken = Overtaken(objects.stored)
    overtaken.puts = objects.puts
    overtaken.other = lambda: move(registry, second)
    assert move(Registry("memory", overtaken), first).id == first
    assert [change.id for change in registry.pointer().changes] == [first, second]


@pytest.mark.parametrize(("refusals", "wins"), [(3, True), (1000, False)])
def test_a_refusal_beside_a_write_that_came_to_nothing_is_tried_again(
    tmp_path: Path, refusals: int, wins: bool
) -> None:
    objects = MemoryObjects()
    identity = publish(Registry("memory", objects), tmp_path)
    left = refusals

    def refuse(step: str) -> None:
        nonlocal left
        if step == "put active.json" and left:
            left -= 1
            raise ConflictError(step)

    registry = Registry("memory", SteppedObjects(objects, refuse))
    if wins:
        assert move(registry, identity).number == 1
    else:
        with pytest.raises(RegistryError, match="too many concurrent updates"):
            move(registry, identity)
        assert registry.pointer().active is None


def test_a_file_system_without_conditional_writes_can_be_read_and_says_why_no_more(
    tmp_path: Path,
) -> None:
    registry = open_registry(str(tmp_path / "registry"))
    identity = publish(registry, tmp_path)
    move(registry, identity)
    root = f"memory://{tmp_path.name}"
    for path, data in everything(registry).items():
        with fsspec.open(f"{root}/{path}", "wb") as stream:
            stream.write(data)
    read = open_registry(root)
    assert read.ids() == [identity]
    assert read.active() == registry.active()
    assert read.verify(identity).id == identity
    assert read_manifest(read.fetch(identity, tmp_path / "cache")).id == identity
    reason = "such a file system has no conditional writes.*a folder of this machine, s3://, gs:"
    with pytest.raises(RegistryError, match=f"cannot publish in {root}: {reason}"):
        read.publish(tmp_path / "source-0", who="ann", when=moment())
    for action in ("promote", "rollback"):
        with pytest.raises(RegistryError, match=f"cannot {action} in {root}: {reason}"):
            read.move(read.pointer(), identity, action=action, who="a", when=moment(), why="x")
    with pytest.raises(OutputError, match="is read-only here"):
        read.put_report(identity, "report.json", b"{}")
