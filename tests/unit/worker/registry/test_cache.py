"""Checkpoints of a registry fetched to a cache on this machine."""

import errno
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import CheckpointError, OutputError, RegistryError
from tests.support.crash_injection import MemoryObjects, SteppedObjects
from tests.support.registries import (
    publish,
)
from worker.checkpoint.folder import DICTIONARY, read_manifest
from worker.registry.cache import cached, default_cache
from worker.registry.registry import Registry
from worker.system.locks import exclusive


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
    opened = os.open

    def fail(path: Any, *rest: Any, **options: Any) -> int:
        if Path(path).name == DICTIONARY:
            raise OSError(number, os.strerror(number))
        return opened(path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
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
    assert place not in removed, "its files would go one by one under a process that loads them"
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
