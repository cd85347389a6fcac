"""The checkpoint registry in real object stores: S3 and Google Cloud Storage."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pubner import cli
from schemas.errors import CheckpointError, OutputError, RegistryError
from tests.support.crash_injection import CrashAt, CrashError, SteppedObjects
from tests.support.gcs import GcsServer
from tests.support.object_servers import running, skip_without_go
from tests.support.registries import (
    moment,
    move,
    publish,
    race,
    race_processes,
    rollback,
    small_checkpoint,
)
from tests.support.s3 import S3Server
from worker.checkpoint.folder import DICTIONARY, MANIFEST, read_manifest
from worker.registry.registry import Registry, open_registry


@pytest.fixture(scope="module", params=[S3Server, GcsServer])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Server | GcsServer]:
    """One server of each kind; each test takes a prefix of its own."""
    skip_without_go()
    with running(request.param(tmp_path_factory.mktemp("store"))) as found:
        yield found


@pytest.fixture
def registry(
    server: S3Server | GcsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Registry:
    """A registry of this test's own, which nobody has written to yet."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return open_registry(server.url(f"{tmp_path.name}/registry"))


def test_checkpoints_are_published_listed_verified_and_fetched(
    registry: Registry, tmp_path: Path
) -> None:
    assert registry.ids() == []
    ids = [publish(registry, tmp_path, number) for number in range(3)]
    assert registry.ids() == sorted(ids)
    assert not registry.publish(tmp_path / "source-0", who="bob", when=moment(9))
    assert registry.publication(ids[0]).who == "ann0"
    for number, identity in enumerate(ids):
        assert registry.find(identity[:8]) == identity
        assert registry.verify(identity).id == identity
        folder = registry.fetch(identity, tmp_path / "cache")
        assert folder == tmp_path / "cache" / identity
        for name in (DICTIONARY, MANIFEST):
            source = tmp_path / f"source-{number}" / name
            assert (folder / name).read_bytes() == source.read_bytes()


def test_the_pointer_moves_and_comes_back(registry: Registry, tmp_path: Path) -> None:
    ids = [publish(registry, tmp_path, number) for number in range(3)]
    for identity in ids:
        move(registry, identity)
    assert [rollback(registry), rollback(registry)] == [ids[1], ids[0]]
    assert [change.id for change in registry.pointer().changes] == [*ids, ids[1], ids[0]]
    with pytest.raises(RegistryError, match="nothing to roll back to"):
        rollback(registry)


def test_a_promotion_of_what_was_active_before_is_another_version(
    registry: Registry, tmp_path: Path
) -> None:
    """S3's version is a digest of the bytes, which never come again, since the history grows."""
    first, second = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    move(registry, first)
    over = registry.pointer()
    move(registry, second)
    move(registry, first)
    with pytest.raises(RegistryError, match=f"moved to {first} by ann"):
        registry.move(over, second, action="promote", who="bob", when=moment(), why="late")


def test_of_many_that_move_over_one_pointer_one_wins(registry: Registry, tmp_path: Path) -> None:
    ids = [publish(registry, tmp_path, number) for number in range(4)]
    told = race(registry, ids[0], 8)
    assert told.count("") == 1
    assert all(f"moved to {ids[0]} by all" in said for said in told if said)
    told = race_processes(registry.root, ids, tmp_path / "reports")
    assert told.count("") == 1
    first, second = registry.pointer().changes
    assert (first.id, second.id) == (ids[0], ids[told.index("")])
    assert all(f"moved to {second.id} by {second.id}" in said for said in told if said)


def test_many_publish_the_same_at_once(registry: Registry, tmp_path: Path) -> None:
    source = small_checkpoint(tmp_path / "source")

    def attempt(number: int) -> bool:
        return registry.publish(source, who=f"{number}", when=moment())

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(attempt, range(6)))
    assert done.count(True) == 1
    identity = read_manifest(source).id
    assert registry.publication(identity).who == str(done.index(True))
    assert registry.verify(identity).id == identity


@pytest.mark.parametrize("late", [False, True])
def test_a_publication_that_is_killed_lists_as_nothing_and_can_be_ended(
    registry: Registry, tmp_path: Path, late: bool
) -> None:
    source = small_checkpoint(tmp_path / "source")
    identity = read_manifest(source).id
    crashes = 0
    for steps in range(50):
        root = f"{registry.root}-{steps}"
        objects = open_registry(root).objects
        dying = Registry(root, SteppedObjects(objects, CrashAt(steps), late=late))
        try:
            dying.publish(source, who="ann", when=moment())
        except CrashError as crash:
            crashes += 1
            recorded = late and str(crash).startswith("put published")
            found = open_registry(root)
            assert found.ids() == ([identity] if recorded else [])
            assert found.publish(source, who="ann", when=moment(1)) is not recorded
            assert found.verify(identity).id == identity
        else:
            break
    assert crashes >= 6


def test_damage_is_found_and_no_copy_of_it_kept(registry: Registry, tmp_path: Path) -> None:
    identity = publish(registry, tmp_path)
    path = f"checkpoints/{identity}/{DICTIONARY}"
    found = registry.objects.get(path)
    assert found is not None
    registry.objects.put(path, found.data + b" ", over=found.version)
    with pytest.raises(CheckpointError, match=f"{path} is altered"):
        registry.verify(identity)
    with pytest.raises(CheckpointError, match=f"{path} is altered"):
        registry.fetch(identity, tmp_path / "cache")
    registry.objects.remove(path)
    with pytest.raises(CheckpointError, match=f"{path} is missing"):
        registry.publish(tmp_path / "source-0", who="ann", when=moment())
    assert not (tmp_path / "cache" / identity).exists()


def test_a_bucket_that_is_not_there_is_one_error(registry: Registry, tmp_path: Path) -> None:
    root = registry.root.partition("://")[0] + "://no-such-bucket/registry"
    for action in (
        lambda: open_registry(root).ids(),
        lambda: open_registry(root).publish(
            small_checkpoint(tmp_path / "source"), who="ann", when=moment()
        ),
    ):
        with pytest.raises(OutputError, match=r"cannot .*no-such-bucket.*check the bucket"):
            action()


def test_the_commands_work_there(
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PUBNER_REGISTRY", registry.root)
    source = small_checkpoint(tmp_path / "source")
    identity = read_manifest(source).id
    assert cli.main(["checkpoint", "publish", str(source)]) == 0
    assert cli.main(["checkpoint", "verify", identity[:6]]) == 0
    move(registry, identity)
    capsys.readouterr()
    assert cli.main(["checkpoint", "list"]) == 0
    assert f"*   {identity}" in capsys.readouterr().out
    assert cli.main(["checkpoint", "rollback", "--why=worse"]) == 2
    assert "nothing to roll back to" in capsys.readouterr().err
