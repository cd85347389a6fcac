"""Objects in whatever fsspec opens, to read."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from schemas.errors import OutputError
from tests.support.registries import move, publish
from worker.checkpoint.folder import read_manifest
from worker.registry.registry import open_registry
from worker.storage.fsspec_objects import ReadObjects
from worker.storage.opening import open_objects


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The URL of a web server over the test's folder."""
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def memory(tmp_path: Path) -> str:
    """The URL of a folder in memory, of this test alone."""
    return f"memory://{tmp_path.name}/root"


def write(url: str, data: bytes) -> None:
    with fsspec.open(url, "wb") as stream:
        stream.write(data)


def test_objects_are_read_and_listed(memory: str) -> None:
    for name in ("a/x", "a/y", "a/below/z"):
        write(f"{memory}/{name}", name.encode())
    objects = open_objects(memory)
    assert isinstance(objects, ReadObjects)
    found = objects.get("a/x")
    assert found is not None
    assert found.data == b"a/x"
    stream = objects.open("a/y")
    assert stream is not None
    stream.seek(2)
    assert stream.read() == b"y"
    assert objects.names("a") == ["x", "y"]
    assert objects.names("a", "y") == ["y"]
    assert objects.names("none") == []
    assert objects.get("a/none") is None
    assert objects.open("a/none") is None
    write(f"{memory}/a/x2", b"")
    assert objects.names("a", "x") == ["x", "x2"]


def test_nothing_is_ever_written(memory: str) -> None:
    objects = ReadObjects(memory)
    with pytest.raises(OutputError, match=r"cannot write .*memory:// is read-only here.*s3://"):
        objects.put("x", b"", over=None)
    write(f"{memory}/x", b"")
    with pytest.raises(OutputError, match=r"cannot remove .*memory:// is read-only"):
        objects.remove("x")
    assert objects.get("x") is not None


def test_http_gives_objects_and_says_that_it_has_no_listing(web: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"by HTTP")
    objects = open_objects(f"{web}/a/")
    found = objects.get("x")
    assert found is not None
    assert found.data == b"by HTTP"
    assert objects.get("none") is None
    with pytest.raises(OutputError, match=r"cannot list .*HTTP has no listing; give full paths"):
        objects.names("published")


def test_a_registry_that_a_web_server_serves_is_used_by_whole_ids(web: str, tmp_path: Path) -> None:
    written = open_registry(str(tmp_path / "registry"))
    identity = publish(written, tmp_path)
    move(written, identity)
    registry = open_registry(f"{web}/registry")
    assert registry.find("active") == registry.find(identity) == identity
    assert registry.verify(identity).id == identity
    assert read_manifest(registry.fetch(identity, tmp_path / "cache")).id == identity
    for action in (registry.ids, lambda: registry.find(identity[:5])):
        with pytest.raises(OutputError, match=r"HTTP has no listing; give full paths"):
            action()


def test_what_cannot_be_opened_or_reached_is_one_error(web: str) -> None:
    with pytest.raises(OutputError, match=r"cannot open 'nonsense://a': .*nonsense"):
        open_objects("nonsense://a")
    port = web.rpartition(":")[2]
    with pytest.raises(OutputError, match=f"cannot read 'https://127.0.0.1:{port}/x': .*check"):
        open_objects(f"https://127.0.0.1:{port}").get("x")
