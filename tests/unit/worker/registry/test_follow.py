"""The tagger that follows a registry: swaps, refusals, falling back, memory."""

import gc
import queue
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import CheckpointError, OutputError, RecordError, RegistryError
from tests.support.checkpoints import tiny_checkpoint, with_panicking_tokeniser
from tests.support.registries import damage, moment, move, rollback
from worker.checkpoint.folder import read_manifest
from worker.registry.choice import Registered
from worker.registry.follow import LiveTagger, SwapEvent, follow, open_source
from worker.registry.pointer import POINTER
from worker.registry.registry import Registry, open_registry
from worker.storage.disk import DiskObjects
from worker.storage.objects import Stored
from worker.tagger import Tagger, load_tagger

TEXTS = ["BRCA1 in breast cancer", "the disease of a cell"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three checkpoints; the second has other heads than the first."""
    root = tmp_path_factory.mktemp("checkpoints")
    return [
        tiny_checkpoint(root / "first"),
        tiny_checkpoint(root / "second", tasks=["jnlpba", "bc2gm", "bc5cdr"], seed=1),
        tiny_checkpoint(root / "third", seed=2),
    ]


@pytest.fixture
def ids(folders: list[Path]) -> list[str]:
    return [read_manifest(folder, verify=False).id for folder in folders]


@pytest.fixture
def registry(tmp_path: Path, folders: list[Path]) -> Registry:
    """All three, published; none is active."""
    made = open_registry(str(tmp_path / "registry"))
    for folder in folders:
        made.publish(folder, who="ann", when=moment())
    return made


def load(folder: Path) -> Tagger:
    return load_tagger([folder], device="cpu", threads=1)


@pytest.fixture
def told() -> list[SwapEvent]:
    return []


def live(registry: Registry, told: list[SwapEvent], cache: Path = Path("unused")) -> LiveTagger:
    return LiveTagger(registry, cache, load=load, on_event=told.append)


def test_without_an_active_checkpoint_it_says_what_to_do(
    registry: Registry, told: list[SwapEvent]
) -> None:
    with pytest.raises(RegistryError, match="checkpoint promote"):
        live(registry, told)


def test_what_is_promoted_is_taken_between_two_batches(
    registry: Registry, ids: list[str], folders: list[Path], told: list[SwapEvent]
) -> None:
    move(registry, ids[0])
    source = live(registry, told)
    first = source.current()
    move(registry, ids[1])
    assert source.current() is first  # nobody has looked yet
    source.check_pointer()
    second = source.current()
    assert (first.id, second.id) == (ids[0], ids[1])
    assert [task.name for task in second.tasks] == ["jnlpba", "bc2gm", "bc5cdr"]
    # The batch that had begun goes on with the tagger that it took, and each gives what it gives.
    for tagger, folder in ((first, folders[0]), (second, folders[1])):
        found = tagger.annotate(TEXTS)
        assert found == load(folder).annotate(TEXTS)
        assert {m.checkpoint_id for one in found for m in one.mentions} == {tagger.id}
    [event] = told
    assert (event.kind, event.checkpoint_id, event.previous) == ("swapped", ids[1], ids[0])
    assert source.events() == [event]
    assert source.events() == []


def test_a_look_that_finds_the_same_changes_nothing(
    registry: Registry, ids: list[str], told: list[SwapEvent]
) -> None:
    move(registry, ids[0])
    source = live(registry, told)
    tagger = source.current()
    move(registry, ids[0])
    source.check_pointer()
    source.check_pointer()
    assert source.current() is tagger
    assert told == []


def test_a_damaged_checkpoint_is_refused_once_and_the_one_in_use_goes_on(
    registry: Registry, ids: list[str], told: list[SwapEvent]
) -> None:
    move(registry, ids[0])
    source = live(registry, told)
    tagger = source.current()
    damage(registry, ids[1])
    move(registry, ids[1])
    source.check_pointer()
    source.check_pointer()
    assert source.current() is tagger
    [event] = told
    assert (event.kind, event.checkpoint_id) == ("refused", ids[1])
    assert "altered: its manifest has SHA-256" in event.reason
    move(registry, ids[2])
    source.check_pointer()
    assert source.current().id == ids[2]


def test_one_that_was_mended_is_taken_when_it_is_promoted_again(
    registry: Registry, ids: list[str], told: list[SwapEvent]
) -> None:
    move(registry, ids[0])
    source = live(registry, told)
    damage(registry, ids[1])
    move(registry, ids[1])
    source.check_pointer()
    damage(registry, ids[1])  # the same bit again: it is whole
    source.check_pointer()
    assert source.current().id == ids[0]
    move(registry, ids[1])
    source.check_pointer()
    assert source.current().id == ids[1]


class Failing(Tagger):
    """A tagger that cannot read: `error` says why."""

    error: Exception = MemoryError("no room")

    def annotate(self, texts: object) -> object:  # type: ignore[override]
        raise self.error


def failing(ids: list[str], error: Exception, times: int = 1_000) -> Callable[[Path], Tagger]:
    """Load taggers, of which the second checkpoint's fail on the trial texts some times."""
    left = [times]

    def load_some(folder: Path) -> Tagger:
        tagger = load(folder)
        if tagger.id == ids[1] and left[0]:
            left[0] -= 1
            tagger.__class__ = type("Failed", (Failing,), {"error": error})
        return tagger

    return load_some


def test_one_whose_scores_are_no_numbers_is_refused_at_once(
    registry: Registry, ids: list[str], told: list[SwapEvent]
) -> None:
    move(registry, ids[0])
    loading = failing(ids, RecordError("scores that are no numbers"))
    source = LiveTagger(registry, Path("unused"), load=loading, on_event=told.append)
    move(registry, ids[1])
    source.check_pointer()
    source.check_pointer()
    assert source.current().id == ids[0]
    assert [(event.kind, event.reason) for event in told] == [
        ("refused", "scores that are no numbers")
    ]


def test_what_may_pass_is_tried_again_and_refused_in_the_end(
    registry: Registry, ids: list[str], told: list[SwapEvent]
) -> None:
    move(registry, ids[0])
    error = MemoryError("no room")
    source = LiveTagger(registry, Path("unused"), load=failing(ids, error, 2), on_event=told.append)
    move(registry, ids[1])
    for _ in range(3):
        source.check_pointer()
    assert source.current().id == ids[1]
    assert [event.kind for event in told] == ["failed", "failed", "swapped"]
    assert told[0].reason == "MemoryError: no room"

    told.clear()
    move(registry, ids[0])
    source = LiveTagger(registry, Path("unused"), load=failing(ids, error), on_event=told.append)
    move(registry, ids[1])
    for _ in range(5):
        source.check_pointer()
    assert source.current().id == ids[0]
    assert [event.kind for event in told] == ["failed", "failed", "refused"]


def test_a_worker_that_starts_on_a_damaged_one_takes_the_one_before(
    registry: Registry, ids: list[str], told: list[SwapEvent]
) -> None:
    for checkpoint_id in (ids[0], ids[2], ids[1]):
        move(registry, checkpoint_id)
    damage(registry, ids[1])
    source = live(registry, told)
    assert source.current().id == ids[2]
    assert [(event.kind, event.checkpoint_id) for event in told] == [("refused", ids[1])]
    source.check_pointer()
    assert len(told) == 1
    damage(registry, ids[0])
    damage(registry, ids[2])
    with pytest.raises(CheckpointError, match="its manifest has SHA-256"):
        live(registry, told)


class Away(DiskObjects):
    """A registry that is not always to be reached."""

    error: Exception | None = None

    def get(self, path: str) -> Stored | None:
        if Away.error is not None:
            raise Away.error
        return DiskObjects.get(self, path)


def test_while_the_registry_is_away_the_feed_goes_on(
    registry: Registry, ids: list[str], told: list[SwapEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    move(registry, ids[0])
    assert isinstance(registry.objects, DiskObjects)
    far = Registry(registry.root, Away(registry.objects.root))
    source = live(far, told)
    move(registry, ids[1])
    for error in (OutputError("no route to it"), ValueError("what a library may raise")):
        monkeypatch.setattr(Away, "error", error)
        source.check_pointer()
        source.check_pointer()
        assert source.current().id == ids[0]
    assert [event.kind for event in told] == ["unreachable"]
    monkeypatch.setattr(Away, "error", None)
    source.check_pointer()
    assert source.current().id == ids[1]


def test_the_tagger_before_is_let_go_when_its_last_batch_is_done_however_late(
    registry: Registry, ids: list[str]
) -> None:
    move(registry, ids[0])
    released: list[bool] = []
    source = LiveTagger(
        registry,
        Path("unused"),
        load=load,
        release=lambda: released.append(first() is None),
    )
    held = [source.current()]
    first = weakref.ref(held[0])
    gc.freeze()  # as in a worker, where the collector passes over what was there
    try:
        move(registry, ids[1])
        source.check_pointer()
        source.release_replaced()
        assert source.has_replaced
        # Meanwhile the registry is followed: a rollback does not wait for the batch.
        rollback(registry)
        source.check_pointer()
        assert source.current().id == ids[0]
        assert first() is not None
        assert all(released)
        held.clear()
        source.release_replaced()
    finally:
        gc.unfreeze()
    assert released[-1]
    assert first() is None


def test_what_a_refused_checkpoint_took_is_given_back(registry: Registry, ids: list[str]) -> None:
    move(registry, ids[0])
    released: list[str] = []
    source = LiveTagger(
        registry, Path("unused"), load=load, release=lambda: released.append("again")
    )
    damage(registry, ids[1])
    move(registry, ids[1])
    source.check_pointer()
    assert released == ["again"]


def test_a_pointer_that_was_made_anew_is_followed(
    registry: Registry, ids: list[str], told: list[SwapEvent]
) -> None:
    move(registry, ids[0])
    source = live(registry, told)
    registry.objects.remove("active.json")
    source.check_pointer()
    move(registry, ids[1])
    source.check_pointer()
    assert source.current().id == ids[1]


def test_a_worker_that_starts_waits_for_a_registry_that_is_away(
    registry: Registry, ids: list[str], told: list[SwapEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    move(registry, ids[0])
    assert isinstance(registry.objects, DiskObjects)
    far = Registry(registry.root, Away(registry.objects.root))
    seconds = [0.0]
    monkeypatch.setattr(Away, "error", OutputError("no route to it"))

    def pause(duration: float) -> None:
        seconds[0] += duration
        if seconds[0] > 30:
            monkeypatch.setattr(Away, "error", None)

    def start() -> LiveTagger:
        return LiveTagger(
            far,
            Path("unused"),
            load=load,
            on_event=told.append,
            clock=lambda: seconds[0],
            pause=pause,
        )

    assert start().current().id == ids[0]
    assert [event.kind for event in told] == ["unreachable"]
    assert seconds[0] > 30
    monkeypatch.setattr(Away, "error", OutputError("no route to it"))
    seconds[0] = -1e9  # for ever
    with pytest.raises(OutputError, match="no route"):
        LiveTagger(
            far,
            Path("unused"),
            load=load,
            clock=iter(range(0, 10**6, 50)).__next__,
            pause=lambda _: None,
        )


def test_it_is_followed_by_a_thread_that_ends_with_it(registry: Registry, ids: list[str]) -> None:
    move(registry, ids[0])
    swapped = threading.Event()
    source: LiveTagger | None = LiveTagger(
        registry, Path("unused"), load=load, on_event=lambda _: swapped.set(), release=lambda: None
    )
    assert source is not None
    follow(source, 0.01)
    [thread] = [x for x in threading.enumerate() if x.name == "pubner-registry"]
    move(registry, ids[1])
    assert swapped.wait(60)
    assert source.current().id == ids[1]
    source = None
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()


def test_a_tokeniser_that_panics_is_refused_and_the_next_promotion_is_taken(
    registry: Registry, ids: list[str], tmp_path: Path
) -> None:
    bad = with_panicking_tokeniser(tiny_checkpoint(tmp_path / "bad", seed=3))
    registry.publish(bad, who="eve", when=moment())
    move(registry, ids[0])
    told: queue.Queue[SwapEvent] = queue.Queue()
    source = LiveTagger(
        registry, Path("unused"), load=load, on_event=told.put, release=lambda: None
    )
    follow(source, 0.01)
    move(registry, read_manifest(bad, verify=False).id)
    event = told.get(timeout=60)
    assert event.kind == "refused"
    assert "tokeniser fails" in event.reason
    move(registry, ids[2])
    assert told.get(timeout=60).kind == "swapped"
    assert source.current().id == ids[2]


def test_the_pointer_is_read_once_at_the_start(
    registry: Registry, ids: list[str], told: list[SwapEvent]
) -> None:
    move(registry, ids[0])
    objects = registry.objects
    assert isinstance(objects, DiskObjects)
    reads: list[str] = []

    class Counted(DiskObjects):
        def get(self, path: str) -> Stored | None:
            reads.append(path)
            return super().get(path)

    live(Registry(registry.root, Counted(objects.root)), told)
    assert reads.count(POINTER) == 1


class Unforeseen(BaseException):
    """What no library should raise: no `Exception`."""


@pytest.mark.parametrize("place", ["load", "read", "release"])
def test_nothing_ends_the_thread_that_follows_the_registry(
    registry: Registry, ids: list[str], place: str
) -> None:
    fails = threading.Event()

    def raising(where: str) -> None:
        if fails.is_set() and where == place:
            raise Unforeseen(where)

    class Strange(DiskObjects):
        def get(self, path: str) -> Stored | None:
            raising("read")
            return super().get(path)

    def loading(folder: Path) -> Tagger:
        raising("load")
        return load(folder)

    move(registry, ids[0])
    told: queue.Queue[SwapEvent] = queue.Queue()
    objects = registry.objects
    assert isinstance(objects, DiskObjects)
    source = LiveTagger(
        Registry(registry.root, Strange(objects.root)),
        Path("unused"),
        load=loading,
        on_event=told.put,
        release=lambda: raising("release"),
    )
    follow(source, 0.01)
    fails.set()
    move(registry, ids[1])
    while "Unforeseen" not in (event := told.get(timeout=60)).reason:
        pass
    assert event.kind == ("unreachable" if place == "read" else "failed")
    fails.clear()
    move(registry, ids[2])
    while (event := told.get(timeout=60)).checkpoint_id != ids[2]:
        pass
    assert event.kind == "swapped"


def test_a_pinned_checkpoint_stays(registry: Registry, ids: list[str], tmp_path: Path) -> None:
    move(registry, ids[0])
    choice = Registered(registry.root, str(tmp_path / "cache"), pinned=ids[1])
    source = open_source(choice, load=load)
    assert source.current().id == ids[1]
    assert source.events() == []
