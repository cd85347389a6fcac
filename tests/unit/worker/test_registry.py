"""A registry: publishing, finding, verifying, moving the pointer, fetching."""

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from schemas.errors import CheckpointError, OutputError, RegistryError
from tests.support.checkpoints import sign_again
from tests.support.registries import (
    moment,
    move,
    publish,
    race,
    race_processes,
    rollback,
    small_checkpoint,
)
from tests.support.stepped import CrashAt, CrashError, MemoryObjects, SteppedObjects
from worker.checkpoint import DICTIONARY, MANIFEST, read_manifest
from worker.locks import exclusive
from worker.objects.base import ConflictError, Objects, Stored
from worker.objects.disk import DiskObjects
from worker.objects.opening import open_objects
from worker.registry.cache import cached, default_cache
from worker.registry.registry import Registry, open_registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry on a disk, which nobody has written to yet."""
    return open_registry(str(tmp_path / "registry"))


@pytest.fixture
def remote() -> Registry:
    """A registry in a bucket."""
    return Registry("memory", MemoryObjects())


def everything(registry: Registry) -> dict[str, bytes]:
    """Return every object of a registry on a disk."""
    root = Path(registry.root)
    files = [path for path in root.rglob("*") if path.is_file() and ".locks" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_what_is_published_is_there_as_it_was(registry: Registry, tmp_path: Path) -> None:
    assert registry.ids() == []
    first, second = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    assert registry.ids() == sorted([first, second])
    publication = registry.publication(first)
    assert (publication.id, publication.who, publication.when) == (first, "ann1", moment(1))
    folder = Path(registry.root) / "checkpoints" / first
    for name in (DICTIONARY, MANIFEST):
        assert (folder / name).read_bytes() == (tmp_path / "source-1" / name).read_bytes()
    assert registry.manifest(first) == registry.verify(first) == read_manifest(folder)


def test_the_same_again_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path)
    before = everything(registry)
    again = small_checkpoint(tmp_path / "again")
    sign_again(again, metrics={"devel/ncbi-disease": {"strict_f1": 0.5}})  # a note, no content
    assert not registry.publish(again, who="bob", when=moment(9))
    assert everything(registry) == before


def test_another_content_under_one_id_is_refused(registry: Registry, tmp_path: Path) -> None:
    identity = publish(registry, tmp_path)
    place = Path(registry.root) / "checkpoints" / identity / MANIFEST
    content = json.loads(place.read_bytes())
    content["max_pieces"] = 7
    place.write_text(json.dumps(content))
    for action in (registry.manifest, registry.verify):
        with pytest.raises(
            CheckpointError, match=r"the manifest's id .* is not that of its content"
        ):
            action(identity)
    with pytest.raises(CheckpointError, match="the manifest was edited"):
        registry.publish(tmp_path / "source-0", who="bob", when=moment())


def test_a_collision_of_ids_is_refused(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ids are digests, so that two contents share one only where a digest is not one any more.
    for module in ("worker.checkpoint", "tests.support.checkpoints"):
        monkeypatch.setattr(f"{module}.content_id", lambda *_, **__: "0123456789abcdef")
    assert publish(registry, tmp_path, 1) == "0123456789abcdef"
    before = everything(registry)
    with pytest.raises(
        RegistryError, match=r"another content under the id 0123456789abcdef.*immut"
    ):
        registry.publish(small_checkpoint(tmp_path / "x", 2), who="bob", when=moment())
    assert everything(registry) == before


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_damaged_file_is_found(registry: Registry, tmp_path: Path, damage: str) -> None:
    identity = publish(registry, tmp_path)
    file = Path(registry.root) / "checkpoints" / identity / DICTIONARY
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes() + b" ")
    assert registry.manifest(identity).id == identity
    for action in (
        lambda: registry.verify(identity),
        lambda: registry.fetch(identity, tmp_path / "cache"),
        lambda: registry.publish(tmp_path / "source-0", who="bob", when=moment()),
    ):
        with pytest.raises(CheckpointError, match=rf"{DICTIONARY} is {damage}: it is not what its"):
            action()


def test_a_manifest_of_another_checkpoint_is_found(registry: Registry, tmp_path: Path) -> None:
    identity, other = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    folder = Path(registry.root) / "checkpoints"
    shutil.copy(folder / other / MANIFEST, folder / identity / MANIFEST)
    for action in (registry.manifest, registry.verify):
        with pytest.raises(CheckpointError, match=rf"{identity}/{MANIFEST} is that of {other}"):
            action(identity)
    with pytest.raises(CheckpointError, match=f"is that of {other}"):
        registry.fetch(identity, tmp_path / "cache")
    (folder / identity / MANIFEST).write_bytes(b"{")
    with pytest.raises(CheckpointError, match=f"{identity}/{MANIFEST} is no valid manifest"):
        registry.manifest(identity)


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/passwd", "..", "", MANIFEST, "a\0b"])
def test_a_manifest_may_name_nothing_outside_its_folder(
    registry: Registry, tmp_path: Path, name: str
) -> None:
    source = small_checkpoint(tmp_path / "source")
    content = json.loads((source / MANIFEST).read_bytes())
    content["files"][name] = "0" * 64
    (source / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="names a file outside the checkpoint"):
        registry.publish(source, who="ann", when=moment())
    assert not Path(registry.root).exists()
    identity = publish(registry, tmp_path, 0)
    shutil.copy(source / MANIFEST, Path(registry.root) / "checkpoints" / identity)
    with pytest.raises(CheckpointError, match="names a file outside the checkpoint"):
        registry.fetch(identity, tmp_path / "cache")


def test_a_broken_checkpoint_is_not_published(registry: Registry, tmp_path: Path) -> None:
    source = small_checkpoint(tmp_path / "source")
    (source / DICTIONARY).write_bytes(b"{}")
    with pytest.raises(CheckpointError, match="is not what the manifest says"):
        registry.publish(source, who="ann", when=moment())
    assert not Path(registry.root).exists()


def test_a_source_that_changes_meanwhile_is_not_published(tmp_path: Path) -> None:
    source = small_checkpoint(tmp_path / "source")
    objects = MemoryObjects()

    def alter(step: str) -> None:
        if step.startswith("get"):
            (source / DICTIONARY).write_bytes(b"{}")

    registry = Registry("memory", SteppedObjects(objects, alter))
    with pytest.raises(CheckpointError, match="was altered while it was being published"):
        registry.publish(source, who="ann", when=moment())
    assert objects.stored == {}


class Spoiling(MemoryObjects):
    """A bucket in which a file's last byte is lost on the way."""

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        return super().put(path, data[:-1] if path.endswith(DICTIONARY) else data, over=over)


def test_a_copy_that_came_out_wrong_is_not_published(tmp_path: Path) -> None:
    registry = Registry("memory", Spoiling())
    source = small_checkpoint(tmp_path / "source")
    with pytest.raises(CheckpointError, match=rf"{DICTIONARY} is altered"):
        registry.publish(source, who="ann", when=moment())
    assert registry.ids() == []
    with pytest.raises(RegistryError, match="has no checkpoint"):
        registry.manifest(read_manifest(source).id)


@pytest.mark.parametrize("late", [False, True])
def test_a_publication_that_is_killed_at_any_put_lists_as_nothing_and_can_be_ended(
    tmp_path: Path, late: bool
) -> None:
    source = small_checkpoint(tmp_path / "source")
    identity = read_manifest(source).id
    whole = MemoryObjects()
    assert Registry("memory", whole).publish(source, who="ann", when=moment())
    assert [path.rpartition("/")[2] for path in whole.puts] == [
        DICTIONARY,
        MANIFEST,
        f"{identity}.json",
    ]
    crashes = 0
    for steps in range(50):
        objects = MemoryObjects()
        hook = CrashAt(steps)
        try:
            stepped = Registry("memory", SteppedObjects(objects, hook, late=late))
            stepped.publish(source, who="ann", when=moment())
        except CrashError as crash:
            crashes += 1
            registry = Registry("memory", objects)
            recorded = late and str(crash).startswith("put published")
            assert registry.ids() == ([identity] if recorded else [])
            if not recorded:
                with pytest.raises(RegistryError, match="no checkpoint"):
                    registry.find(identity)
                with pytest.raises(RegistryError, match="no checkpoint"):
                    registry.fetch(identity, tmp_path / "cache")
            assert registry.publish(source, who="ann", when=moment(1)) is not recorded
            assert registry.verify(identity).id == identity
            assert objects.stored.keys() == whole.stored.keys()
        else:
            break
    assert crashes == len(hook.done) >= 6


def test_half_a_file_of_a_broken_publication_is_written_again(
    registry: Registry, tmp_path: Path
) -> None:
    source = small_checkpoint(tmp_path / "source-0")
    identity = read_manifest(source).id
    registry.objects.put(f"checkpoints/{identity}/{DICTIONARY}", b"ha", over=None)
    assert publish(registry, tmp_path) == identity
    assert registry.verify(identity).id == identity


def test_of_two_that_publish_at_once_one_is_recorded(tmp_path: Path) -> None:
    """The second comes in between any two steps of the first, with other notes."""
    source = small_checkpoint(tmp_path / "source")
    other = small_checkpoint(tmp_path / "other")
    sign_again(other, metrics={"devel/ncbi-disease": {"strict_f1": 0.5}})
    identity = read_manifest(source).id
    results = set()
    for step in range(1, 12):
        objects = MemoryObjects()
        second = Registry("memory", objects)
        seen = 0
        came = None

        def between(name: str, step: int = step, second: Registry = second) -> None:
            nonlocal seen, came
            seen += 1
            if seen == step:
                came = second.publish(other, who="bob", when=moment(1))

        first = Registry("memory", SteppedObjects(objects, between))
        went = first.publish(source, who="ann", when=moment())
        if came is None:
            break
        results.add((went, came))
        assert went != came
        winner = second.publication(identity).who
        assert winner == ("ann" if went else "bob")
        assert second.verify(identity).id == identity
        manifests = [path for path in objects.puts if path.endswith(MANIFEST)]
        assert len(manifests) == 1, "a manifest that is there is never replaced"
    assert (False, True) in results


def test_many_publish_at_once_on_a_disk(registry: Registry, tmp_path: Path) -> None:
    source = small_checkpoint(tmp_path / "source")
    with ThreadPoolExecutor(8) as pool:
        done = list(
            pool.map(
                lambda number: registry.publish(source, who=f"{number}", when=moment()), range(16)
            )
        )
    assert done.count(True) == 1
    identity = read_manifest(source).id
    assert registry.publication(identity).who == str(done.index(True))
    assert registry.verify(identity).id == identity


def test_a_checkpoint_is_found_by_the_beginning_of_its_id(
    registry: Registry, tmp_path: Path
) -> None:
    ids = [publish(registry, tmp_path, number) for number in range(18)]
    assert len({identity[0] for identity in ids}) < len(ids), "two begin alike, for there are 16"
    for identity in ids:
        assert registry.find(identity) == identity
        assert registry.find(identity[:12]) == identity
    with pytest.raises(
        RegistryError, match=r"has no checkpoint whose id begins with 'nope'.* and 8"
    ):
        registry.find("nope")
    with pytest.raises(RegistryError, match="has no checkpoint whose id begins with ''"):
        registry.find("")
    first = next(x[0] for x in sorted(ids) if sum(y[0] == x[0] for y in ids) > 1)
    count = sum(identity[0] == first for identity in ids)
    with pytest.raises(RegistryError, match=f"has {count} checkpoints whose id begins with"):
        registry.find(first)
    for action in (registry.publication, registry.manifest, registry.verify):
        with pytest.raises(RegistryError, match="has no checkpoint 'fedcba9876543210'; publish it"):
            action("fedcba9876543210")


@pytest.mark.parametrize("identity", ["", ".", "..", "../x", "a/b", ".hidden"])
def test_no_id_leaves_its_folder(registry: Registry, tmp_path: Path, identity: str) -> None:
    remote = Registry("memory", MemoryObjects())
    for action in (
        lambda: registry.publication(identity),
        lambda: registry.manifest(identity),
        lambda: registry.put_report(identity, "report.json", b""),
        lambda: registry.fetch(identity, tmp_path / "cache"),
        lambda: remote.fetch(identity, tmp_path / "cache"),
    ):
        with pytest.raises(RegistryError, match=r"is no checkpoint's id"):
            action()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_of_a_publication(registry: Registry, tmp_path: Path) -> None:
    identity, other = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    records = Path(registry.root) / "published"
    shutil.copy(records / f"{other}.json", records / f"{identity}.json")
    with pytest.raises(RegistryError, match=f"published/{identity}.json is damaged; remove it"):
        registry.publication(identity)
    (records / f"{identity}.json").write_bytes(b"{")
    with pytest.raises(RegistryError, match="is damaged; remove it and publish"):
        registry.publication(identity)


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
    with pytest.raises(RegistryError, match="was removed in between; nothing was changed"):
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
    assert "look at `pubner checkpoint history` before" in str(caught.value)
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
        OutputError, match=r"became active is not known: .*timed out, and then .*history` before"
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
        with pytest.raises(RegistryError, match="other commands write it all the time"):
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
    reason = "such a file system has no write that is refused.*a folder of this machine, s3://, gs:"
    with pytest.raises(RegistryError, match=f"cannot publish in {root}: {reason}"):
        read.publish(tmp_path / "source-0", who="ann", when=moment())
    for action in ("promote", "rollback"):
        with pytest.raises(RegistryError, match=f"cannot {action} in {root}: {reason}"):
            read.move(read.pointer(), identity, action=action, who="a", when=moment(), why="x")
    with pytest.raises(OutputError, match="can only be read here"):
        read.put_report(identity, "report.json", b"{}")


def test_a_registry_on_a_disk_is_read_where_it_lies(registry: Registry, tmp_path: Path) -> None:
    identity = publish(registry, tmp_path)
    before = sorted(Path(registry.root).rglob("*"))
    folder = registry.fetch(identity, tmp_path / "cache")
    assert folder == Path(registry.root) / "checkpoints" / identity
    assert sorted(Path(registry.root).rglob("*")) == before, "reading writes nothing, not a lock"
    assert not (tmp_path / "cache").exists()
    (Path(registry.root) / "published" / f"{identity}.json").unlink()
    with pytest.raises(RegistryError, match="has no checkpoint"):
        registry.fetch(identity, tmp_path / "cache")


def test_another_is_copied_once_for_all_that_share_the_cache(
    remote: Registry, tmp_path: Path
) -> None:
    identity = publish(remote, tmp_path)
    read: list[str] = []
    lock = threading.Lock()

    def note(step: str) -> None:
        with lock:
            read.append(step)

    watched = Registry("memory", SteppedObjects(remote.objects, note))
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: watched.fetch(identity, cache), range(16)))
    assert found == {cache / identity}
    assert read_manifest(cache / identity) == remote.manifest(identity)
    assert read.count(f"get checkpoints/{identity}/{DICTIONARY}") == 1
    assert sorted(path.name for path in cache.iterdir()) == [".locks", identity]
    mask = os.umask(0)
    os.umask(mask)
    assert (cache / identity).stat().st_mode & 0o777 == 0o777 & ~mask


def test_what_is_cached_is_used_while_the_registry_is_away(
    remote: Registry, tmp_path: Path
) -> None:
    identity = publish(remote, tmp_path)
    place = remote.fetch(identity, tmp_path / "cache")
    assert Registry("memory", MemoryObjects()).fetch(identity, tmp_path / "cache") == place


@pytest.mark.parametrize("damage", ["altered", "missing", "another", "killed"])
def test_a_damaged_copy_is_replaced(remote: Registry, tmp_path: Path, damage: str) -> None:
    identity, other = publish(remote, tmp_path, 1), publish(remote, tmp_path, 2)
    cache = tmp_path / "cache"
    place = remote.fetch(identity, cache)
    if damage == "altered":
        (place / DICTIONARY).write_bytes(b"{}")
    elif damage == "missing":
        (place / DICTIONARY).unlink()
    elif damage == "another":
        shutil.rmtree(place)
        shutil.copytree(remote.fetch(other, cache), place)
    else:
        (cache / f".{identity}.tmp").mkdir()
        (cache / f".{identity}.tmp" / "half").write_bytes(b"ha")
        shutil.rmtree(place)
    assert remote.fetch(identity, cache) == place
    assert read_manifest(place).id == identity
    assert [path.name for path in cache.glob(".*.tmp")] == []


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES])
def test_a_copy_that_cannot_be_read_now_is_left_as_it_is(
    remote: Registry, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = publish(remote, tmp_path)
    cache = tmp_path / "cache"
    place = remote.fetch(identity, cache)
    kept = (place / DICTIONARY).stat().st_ino
    opened = Path.open

    def fail(self: Path, *rest: Any, **options: Any) -> Any:
        if self.name == DICTIONARY:
            raise OSError(number, os.strerror(number))
        return opened(self, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(OutputError, match=f"{os.strerror(number)}.*is left as it is"):
            remote.fetch(identity, cache)
    assert (place / DICTIONARY).stat().st_ino == kept
    assert remote.fetch(identity, cache) == place


def test_a_damaged_copy_lies_there_until_the_new_one_is_whole_and_is_then_moved_aside(
    remote: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = publish(remote, tmp_path)
    place = remote.fetch(identity, tmp_path / "cache")
    (place / DICTIONARY).write_bytes(b"{}")
    seen: list[bool] = []

    def look(step: str) -> None:
        seen.append((place / DICTIONARY).exists())

    removed: list[Path] = []
    remove = shutil.rmtree

    def note(folder: Path, **options: Any) -> None:
        removed.append(folder)
        remove(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", note)
    Registry("memory", SteppedObjects(remote.objects, look)).fetch(identity, place.parent)
    assert seen
    assert all(seen)
    assert place not in removed, "its files would go one by one under whoever loads them"
    assert read_manifest(place).id == identity
    assert [path.name for path in place.parent.iterdir() if path.name != ".locks"] == [identity]


def test_a_process_that_does_not_end_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    identity = "0123456789abcdef"
    with (
        exclusive(tmp_path / ".locks" / f"{identity}.lock"),
        pytest.raises(
            OutputError, match=rf"process {os.getpid()} has been fetching checkpoint {identity}"
        ),
    ):
        cached(identity, tmp_path, fill=lambda *_: None, wait_seconds=0)


def test_what_is_damaged_there_is_not_cached(tmp_path: Path) -> None:
    objects = MemoryObjects()
    registry = Registry("memory", objects)
    identity = publish(registry, tmp_path)
    path = f"checkpoints/{identity}/{DICTIONARY}"
    objects.put(path, b"{}", over=objects.stored[path].version)
    with pytest.raises(CheckpointError, match=f"{path} is altered"):
        registry.fetch(identity, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".locks"]


def test_a_cache_that_cannot_be_written_is_one_error(remote: Registry, tmp_path: Path) -> None:
    identity = publish(remote, tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        OutputError, match=r"cannot write checkpoints to '.*file/c'.*--checkpoint-c"
    ):
        remote.fetch(identity, tmp_path / "file" / "c")


def test_where_the_cache_is() -> None:
    cases = {
        "/c/pubner/checkpoints": {"XDG_CACHE_HOME": "/c", "HOME": "/h"},
        "/h/.cache/pubner/checkpoints": {"HOME": "/h"},
    }
    for place, environment in cases.items():
        assert default_cache(environment) == Path(place)
    assert default_cache({}).parts[-2:] == ("pubner", "checkpoints")


def test_a_report_is_kept_and_can_be_kept_again(registry: Registry) -> None:
    for data in (b"one", b"one", b"two"):
        place = registry.put_report("0123456789abcdef", "report.json", data)
        found = registry.objects.get(place)
        assert found is not None
        assert found.data == data


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    registry = open_registry("~/registry")
    assert registry == open_registry(str(tmp_path / "registry"))
    assert open_objects("~/registry") == DiskObjects(tmp_path / "registry")
    with pytest.raises(RegistryError, match="cannot open '~nobody-of-this-name/r'"):
        open_registry("~nobody-of-this-name/r")


@pytest.mark.parametrize(
    "url",
    [
        "https://ann:secret@host/r",
        "https://secret@host/r",
        "s3://ann:secret@host/r",
        "https://ann:se/cret@host/r",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(RegistryError, match=r"'\w+://host/r' was given with a user") as caught:
        open_registry(url)
    assert "cret" not in str(caught.value)


def test_what_is_no_password_in_a_url_is_let_through() -> None:
    for url in ("s3://bucket/a@b", "http://127.0.0.1:9/a@b"):
        assert open_registry(url).root == url


def test_what_is_no_registry_is_one_error(tmp_path: Path) -> None:
    for root, part in {
        " ": "no registry is named",
        "s3://": "names no bucket",
        "gs://": "names no bucket",
        "nonsense://x": "cannot open",
    }.items():
        with pytest.raises(RegistryError, match=part):
            open_registry(root)
    (tmp_path / "file").write_bytes(b"")
    source = small_checkpoint(tmp_path / "source")
    registry = open_registry(str(tmp_path / "file"))
    assert registry.ids() == []
    with pytest.raises(OutputError, match=r"cannot write '.*file/.*check the folder's rights"):
        registry.publish(source, who="ann", when=moment())
    objects: Objects = registry.objects
    assert isinstance(objects, DiskObjects)
