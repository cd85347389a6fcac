"""A registry: publishing, finding, verifying, opening."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schemas.errors import CheckpointError, OutputError, RegistryError
from tests.support.checkpoints import sign_again
from tests.support.crash_injection import CrashAt, CrashError, MemoryObjects, SteppedObjects
from tests.support.registries import (
    everything,
    moment,
    publish,
    small_checkpoint,
)
from worker.checkpoint.folder import DICTIONARY, MANIFEST, read_manifest
from worker.registry.registry import Registry, open_registry
from worker.storage.disk import DiskObjects
from worker.storage.objects import Objects
from worker.storage.opening import open_objects


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
            CheckpointError, match=r"the manifest's id .* is not the id of its content"
        ):
            action(identity)
    with pytest.raises(CheckpointError, match="the manifest was edited"):
        registry.publish(tmp_path / "source-0", who="bob", when=moment())


def test_a_collision_of_ids_is_refused(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ids are digests, so that two contents share one only where a digest is not one any more.
    for module in ("worker.checkpoint.folder", "tests.support.checkpoints"):
        monkeypatch.setattr(f"{module}.content_id", lambda *_, **__: "0123456789abcdef")
    assert publish(registry, tmp_path, 1) == "0123456789abcdef"
    before = everything(registry)
    with pytest.raises(RegistryError, match=r"other content under the id 0123456789abcdef.*immut"):
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
        with pytest.raises(
            CheckpointError, match=rf"{DICTIONARY} is {damage}: its manifest has SHA-256"
        ):
            action()


def test_a_manifest_of_another_checkpoint_is_found(registry: Registry, tmp_path: Path) -> None:
    identity, other = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    folder = Path(registry.root) / "checkpoints"
    shutil.copy(folder / other / MANIFEST, folder / identity / MANIFEST)
    for action in (registry.manifest, registry.verify):
        with pytest.raises(
            CheckpointError, match=rf"{identity}/{MANIFEST} is the manifest of {other}"
        ):
            action(identity)
    with pytest.raises(CheckpointError, match=f"is the manifest of {other}"):
        registry.fetch(identity, tmp_path / "cache")
    (folder / identity / MANIFEST).write_bytes(b"{")
    with pytest.raises(CheckpointError, match=f"{identity}/{MANIFEST} is not a valid manifest"):
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
    with pytest.raises(CheckpointError, match="differs from the manifest"):
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
        with pytest.raises(RegistryError, match=r"is not a checkpoint's id"):
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
        " ": "the registry's name is blank",
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
    with pytest.raises(OutputError, match=r"cannot write '.*file/.*check the folder's permissions"):
        registry.publish(source, who="ann", when=moment())
    objects: Objects = registry.objects
    assert isinstance(objects, DiskObjects)
