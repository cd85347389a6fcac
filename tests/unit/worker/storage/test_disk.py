"""Objects in a folder: versions, conflicts, and what goes wrong."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schemas.errors import ConflictError, OutputError
from worker.storage.disk import DiskObjects
from worker.storage.objects import put_over
from worker.storage.opening import is_conditional, open_objects


@pytest.fixture
def objects(tmp_path: Path) -> DiskObjects:
    return DiskObjects(tmp_path / "root")


def test_an_object_is_put_got_opened_listed_and_removed(objects: DiskObjects) -> None:
    version = objects.put("a/b/x", b"one", over=None)
    found = objects.get("a/b/x")
    assert found is not None
    assert (found.data, found.version) == (b"one", version)
    stream = objects.open("a/b/x")
    assert stream is not None
    with stream:
        assert stream.read() == b"one"
    assert objects.digest("a/b/x") == hashlib.sha256(b"one").hexdigest()
    objects.put("a/b/w", b"", over=None)
    objects.put("a/b/c/deeper", b"", over=None)
    assert objects.names("a/b") == ["w", "x"]
    assert objects.names("a/b", "x") == ["x"]
    objects.remove("a/b/x")
    objects.remove("a/b/x")
    assert objects.get("a/b/x") is None
    assert objects.names("a/b") == ["w"]


def test_nothing_is_there_before_it_is_put_and_nothing_is_made_by_looking(
    objects: DiskObjects,
) -> None:
    assert objects.get("x") is None
    assert objects.open("x") is None
    assert objects.digest("x") is None
    assert objects.names("a") == []
    assert not objects.root.exists()
    objects.put("x", b"", over=None)
    assert objects.get("x/below") is None
    assert objects.open("x/below") is None
    assert objects.digest("x/below") is None


def test_it_is_replaced_only_over_the_version_that_is_there(objects: DiskObjects) -> None:
    with pytest.raises(ConflictError, match="another writer"):
        objects.put("x", b"one", over="nothing was there")
    first = objects.put("x", b"one", over=None)
    with pytest.raises(ConflictError):
        objects.put("x", b"two", over=None)
    second = objects.put("x", b"two", over=first)
    with pytest.raises(ConflictError):
        objects.put("x", b"three", over=first)
    assert objects.get("x") == (b"two", second)


def test_of_many_writers_one_wins(objects: DiskObjects) -> None:
    first = objects.put("x", b"-", over=None)

    def write(number: int) -> bool:
        try:
            objects.put("x", b"%d" % number, over=first)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(32)))
    assert won.count(True) == 1
    found = objects.get("x")
    assert found is not None
    assert found.data == b"%d" % won.index(True)


def test_what_a_writer_that_died_left_is_no_object(objects: DiskObjects) -> None:
    first = objects.put("a/x", b"whole", over=None)
    (objects.root / "a" / ".x.tmp").write_bytes(b"ha")
    assert objects.names("a") == ["x"]
    objects.put("a/x", b"next", over=first)
    assert sorted(path.name for path in (objects.root / "a").iterdir()) == ["x"]


def test_what_cannot_be_done_says_where_and_why(objects: DiskObjects) -> None:
    objects.put("x", b"", over=None)
    attempts: dict[str, Callable[[], object]] = {
        "write": lambda: objects.put("x/y", b"", over=None),
        "read": lambda: objects.get("."),
        "remove": lambda: objects.remove(".locks"),
    }
    for action, attempt in attempts.items():
        with pytest.raises(
            OutputError, match=rf"cannot {action} '.*root.*free disk space or check"
        ):
            attempt()


def test_which_roots_have_conditional_writes(tmp_path: Path) -> None:
    assert all(is_conditional(root) for root in ("a/b", "/a", "file:///a", "s3://a", "gs://a"))
    assert not any(is_conditional(root) for root in ("hdfs://a", "https://a/b", "memory://a"))
    for root in (str(tmp_path), f"file://{tmp_path}"):
        assert open_objects(root) == DiskObjects(tmp_path)


def test_an_object_is_put_over_whatever_is_there(objects: DiskObjects) -> None:
    for data in (b"one", b"two", b"two"):
        put_over(objects, "a/x", data)
        found = objects.get("a/x")
        assert found is not None
        assert found.data == data

    class Contended(DiskObjects):
        def put(self, path: str, data: bytes, *, over: str | None) -> str:
            raise ConflictError(path)

    put_over(Contended(objects.root), "a/x", b"two")
    with pytest.raises(ConflictError, match="a/x: other writers keep replacing it"):
        put_over(Contended(objects.root), "a/x", b"three")
