"""Workers that follow a registry in an object store, and share what they fetch."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.registries import moment, move
from tests.support.s3 import S3Server
from worker.checkpoint.folder import WEIGHTS, read_manifest
from worker.registry.follow import LiveTagger, SwapEvent
from worker.registry.registry import open_registry
from worker.tagger import Tagger, load_tagger


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    if shutil.which("go") is None and not os.environ.get("CI"):
        pytest.skip("go is not installed: it is needed to build the server")
    found = S3Server(tmp_path_factory.mktemp("store"))
    try:
        found.up()
        yield found
    finally:
        found.down()


def load(folder: Path) -> Tagger:
    return load_tagger([folder], device="cpu", threads=1)


def test_two_workers_of_a_machine_swap_and_fetch_once(
    server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    checkpoint: Path,
    other_checkpoint: Path,
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    registry = open_registry(server.url("registry"))
    ids = [read_manifest(folder).id for folder in (checkpoint, other_checkpoint)]
    for folder in (checkpoint, other_checkpoint):
        registry.publish(folder, who="ann", when=moment())
    move(registry, ids[0])
    cache, told = tmp_path / "cache", list[SwapEvent]()
    workers = [LiveTagger(registry, cache, load=load, on_event=told.append) for _ in range(2)]
    move(registry, ids[1])
    fetched = []
    for worker in workers:
        worker.check_pointer()
        assert worker.current().id == ids[1]
        fetched.append((cache / ids[1] / WEIGHTS).stat().st_ino)
    assert [event.kind for event in told] == ["swapped"] * 2
    assert fetched[0] == fetched[1]

    # A damaged object is refused, though its like was never seen here.
    shutil.rmtree(cache)
    place = f"checkpoints/{ids[0]}/{WEIGHTS}"
    stored = registry.objects.get(place)
    assert stored is not None
    registry.objects.put(place, stored.data[:-1] + b"?", over=stored.version)
    move(registry, ids[0])
    workers[0].check_pointer()
    assert workers[0].current().id == ids[1]
    assert told[-1].kind == "refused"
    assert "its manifest has SHA-256" in told[-1].reason
