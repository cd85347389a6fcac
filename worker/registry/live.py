"""The tagger of a worker process: fixed, or whatever checkpoint a registry says is active.

A process that follows a registry looks at its pointer from a thread of its own. What becomes active
is fetched, verified, loaded and tried beside the one in use, and then takes its place between two
batches: whoever reads a batch takes one immutable tagger and keeps it to the batch's end.
"""

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from schemas.errors import CheckpointError, OutputError, PubnerError
from worker.memory import settle_memory
from worker.registry.choice import Registered
from worker.registry.pointer import Change
from worker.registry.registry import Registry, open_registry
from worker.tagger import Tagger

_WARM_UP: Final = tuple(
    "Mutations of BRCA1 in patients with breast cancer treated with tamoxifen. " * count
    for count in (1, 8, 2, 24, 4)
)
"""Texts of several lengths, so that what is laid out at first use is laid out before the swap."""
_PAUSE_SECONDS: Final = 0.05
_RELEASE_SECONDS: Final = 60.0
"""How long the batches of the tagger before are waited for until its memory is given back."""


@dataclass(frozen=True, slots=True)
class SwapEvent:
    """What became of a look at the pointer that found something to tell.

    `swapped` to `checkpoint_id` from `previous` after `seconds` of loading beside it; `refused`
    that checkpoint for `reason`, so that the one before goes on; or the registry was
    `unreachable`.
    """

    kind: Literal["swapped", "refused", "unreachable"]
    checkpoint_id: str = ""
    previous: str = ""
    reason: str = ""
    seconds: float = 0.0


class TaggerSource(Protocol):
    """Gives each batch the tagger that reads it."""

    def take(self) -> Tagger:
        """Return the tagger for one batch, which keeps it to its end."""

    def events(self) -> list[SwapEvent]:
        """Return what happened since the last call."""


class FixedTagger:
    """A tagger that never changes."""

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger

    def take(self) -> Tagger:
        """Return it."""
        return self._tagger

    def events(self) -> list[SwapEvent]:
        """Return nothing: nothing ever happens."""
        return []


class LiveTagger:
    """The tagger of a registry's active checkpoint; see the module's docstring.

    `load` makes a tagger of a verified checkpoint's folder. `tell` is given each event at once, in
    the thread that looks. `release` is called when the tagger before is no longer in use.

    The registry is read when this is made, and then by `look`, which `follow` calls.

    :raises PubnerError: if no checkpoint that was ever active can be loaded.
    """

    def __init__(
        self,
        registry: Registry,
        cache: Path,
        *,
        load: Callable[[Path], Tagger],
        tell: Callable[[SwapEvent], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        release: Callable[[], None] = settle_memory,
    ) -> None:
        self.registry = registry
        self._cache = cache
        self._load = load
        self._tell = tell
        self._clock = clock
        self._release = release
        self._happened: deque[SwapEvent] = deque(maxlen=1000)
        self._seen = 0
        self._looking = threading.Lock()
        self._current = self._first()

    def take(self) -> Tagger:
        """Return the tagger for one batch, which keeps it to its end."""
        return self._current

    def events(self) -> list[SwapEvent]:
        """Return what happened since the last call."""
        found = []
        while self._happened:
            found.append(self._happened.popleft())
        return found

    def look(self) -> None:
        """Read the pointer; where it names another checkpoint, load that and put it in use.

        A checkpoint that cannot be loaded, or does not read the trial texts, is refused until the
        pointer changes again. Where the registry cannot be reached, the next look tries again.
        """
        with self._looking:
            try:
                change = self.registry.pointer().active
            except PubnerError as error:
                self._note(SwapEvent("unreachable", reason=str(error)))
                return
            if change is None or change.number == self._seen:
                return
            if change.id == self._current.id:
                self._seen = change.number
                return
            self._swap(change)

    def _swap(self, change: Change) -> None:
        begun = self._clock()
        try:
            tagger = self._loaded(change.id)
        except OutputError as error:  # the store, not the checkpoint: it may answer next time
            self._note(SwapEvent("unreachable", change.id, reason=str(error)))
            return
        except Exception as error:  # a checkpoint must not end the feed, whatever is wrong with it
            self._seen = change.number
            self._refuse(change.id, error)
            return
        before = self._current
        old, previous = weakref.ref(before), before.id
        del before
        self._seen = change.number
        self._current = tagger
        seconds = self._clock() - begun
        self._note(SwapEvent("swapped", change.id, previous=previous, seconds=seconds))
        self._let_go(old)

    def _first(self) -> Tagger:
        """Load the active checkpoint, or, where it is refused, the one that was active before."""
        self._seen = self.registry.active().number
        pointer = self.registry.pointer()
        failures: list[Exception] = []
        for checkpoint_id in pointer.fallbacks():
            try:
                return self._loaded(checkpoint_id)
            except OutputError:
                raise
            except Exception as error:
                failures.append(error)
                self._refuse(checkpoint_id, error)
        raise failures[0]

    def _loaded(self, checkpoint_id: str) -> Tagger:
        """Fetch, verify, load and try a checkpoint."""
        tagger = self._load(self.registry.fetch(checkpoint_id, self._cache))
        if tagger.id != checkpoint_id:
            raise CheckpointError(
                f"{self.registry.root}: what lies under {checkpoint_id} is checkpoint {tagger.id}"
            )
        tagger.annotate(_WARM_UP)
        return tagger

    def _refuse(self, checkpoint_id: str, error: Exception) -> None:
        reason = (
            str(error) if isinstance(error, PubnerError) else f"{type(error).__name__}: {error}"
        )
        self._note(SwapEvent("refused", checkpoint_id, reason=reason))

    def _note(self, event: SwapEvent) -> None:
        self._happened.append(event)
        self._tell(event)

    def _let_go(self, old: "weakref.ref[Tagger]") -> None:
        """Give the memory of the tagger before back, once its last batch is done."""
        end = self._clock() + _RELEASE_SECONDS
        while old() is not None and self._clock() < end:
            time.sleep(_PAUSE_SECONDS)
        self._release()


def follow(live: LiveTagger, look_seconds: float) -> None:
    """Have a thread look at the pointer every `look_seconds`, as long as `live` is in use."""
    stop = threading.Event()
    weakref.finalize(live, stop.set)
    threading.Thread(
        target=_follow,
        args=(weakref.ref(live), stop, look_seconds),
        name="pubner-registry",
        daemon=True,
    ).start()


def _follow(
    reference: "weakref.ref[LiveTagger]", stop: threading.Event, look_seconds: float
) -> None:
    while not stop.wait(look_seconds):
        live = reference()
        if live is None:
            return
        live.look()
        del live


def open_source(
    choice: Registered,
    *,
    load: Callable[[Path], Tagger],
    tell: Callable[[SwapEvent], None] = lambda _: None,
) -> TaggerSource:
    """Return what gives a worker process its taggers, by `choice`.

    :raises PubnerError: if no checkpoint can be loaded.
    """
    registry, cache = open_registry(choice.registry), Path(choice.cache)
    if choice.pinned is not None:
        return FixedTagger(load(registry.fetch(choice.pinned, cache)))
    live = LiveTagger(registry, cache, load=load, tell=tell)
    follow(live, choice.look_seconds)
    return live
