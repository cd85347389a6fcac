"""The tagger of a worker process: fixed, or whatever checkpoint a registry says is active.

A process that follows a registry looks at its pointer from a thread of its own. What becomes active
is fetched, verified, loaded and tried beside the one in use, and then takes its place between two
batches: whoever reads a batch takes one immutable tagger and keeps it to the batch's end.
"""

import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from schemas.errors import CheckpointError, OutputError, PubnerError, RecordError, RegistryError
from worker.network.memory import settle_memory
from worker.registry.cache import default_cache
from worker.registry.choice import Registered
from worker.registry.pointer import Change
from worker.registry.registry import Registry, open_registry
from worker.registry.trial import try_tagger
from worker.tagger import Tagger

_CERTAIN: Final = (CheckpointError, RecordError, RegistryError)
"""Failures that say that the checkpoint itself is at fault; any other may pass."""
_ENDS_THE_PROCESS: Final = (KeyboardInterrupt, SystemExit)
_ATTEMPTS: Final = 3
"""How often a checkpoint is loaded in vain before it is refused, where the failure may pass."""
_PATIENCE_SECONDS: Final = 120.0
"""How long a worker that starts waits for a registry that does not answer."""
_PAUSE_SECONDS: Final = 3.0
_TIDY_SECONDS: Final = 1.0
"""How often it is seen whether the last batch of a tagger that was replaced has ended."""


@dataclass(frozen=True, slots=True)
class SwapEvent:
    """What became of a look at the pointer that found something to tell.

    `swapped` to `checkpoint_id` from `previous` after `seconds` of loading beside it; `refused`
    that checkpoint for `reason`, so that the one before goes on; `failed` to load it for a reason
    that may pass, so it is tried again; or the registry was `unreachable`, told of once until it
    answers.
    """

    kind: Literal["swapped", "refused", "failed", "unreachable"]
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
    the thread that looks. `release` gives memory back, and is called when a tagger that was
    replaced is no longer in use, however late that is.

    The registry is read when this is made, and then by `look`, which `follow` calls.

    :raises PubnerError: if no checkpoint that was ever active can be loaded, or the registry does
        not answer for minutes.
    """

    def __init__(
        self,
        registry: Registry,
        cache: Path,
        *,
        load: Callable[[Path], Tagger],
        tell: Callable[[SwapEvent], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        release: Callable[[], None] = settle_memory,
    ) -> None:
        self.registry = registry
        self._cache = cache
        self._load = load
        self._tell = tell
        self._clock = clock
        self._release = release
        self._happened: deque[SwapEvent] = deque(maxlen=1000)
        self._failures: dict[str, int] = {}
        self._reached = True
        self._retired: list[weakref.ref[Tagger]] = []
        self._looking = threading.Lock()
        self._seen, self._current = self._first(pause)

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

        A checkpoint that is not what it says, or cannot read the trial texts, is refused until the
        pointer changes again; one that cannot be loaded for another reason is tried again by the
        next looks. Where the registry cannot be reached, the next look asks again.
        """
        with self._looking:
            try:
                change = self.registry.pointer().active
            except _ENDS_THE_PROCESS:
                raise
            except BaseException as error:  # whatever it is, the feed goes on
                self._note_unreachable(error)
                return
            if change is not None and change != self._seen and change.id != self._current.id:
                self._swap(change)
                return
            self._seen = change or self._seen
            self._reached = True

    def poll(self, *, tidy_only: bool = False) -> None:
        """Look, unless `tidy_only`, and tidy; what fails is an event, and nothing is raised."""
        try:
            if not tidy_only:
                self.look()
            self.tidy()
        except BaseException as error:  # nothing may end the thread that follows the registry
            self._note(SwapEvent("failed", self._current.id, reason=_said(error)))

    @property
    def untidy(self) -> bool:
        """Whether a tagger that was replaced still holds memory."""
        return bool(self._retired)

    def tidy(self) -> None:
        """Give the memory of taggers that were replaced back, once their last batch is done."""
        still = [old for old in self._retired if old() is not None]
        if len(still) < len(self._retired):
            self._retired = still
            self._release()

    def _swap(self, change: Change) -> None:
        begun = self._clock()
        tagger = self._attempt(change.id)
        if tagger is None:
            if change.id not in self._failures:
                self._seen = change
            self._release()
            return
        self._retired.append(weakref.ref(self._current))
        previous, self._current, self._seen = self._current.id, tagger, change
        seconds = self._clock() - begun
        self._note(SwapEvent("swapped", change.id, previous=previous, seconds=seconds))

    def _attempt(self, checkpoint_id: str) -> Tagger | None:
        """Fetch, verify, load and try a checkpoint; None where that fails, which is noted.

        It is refused for good if it is no longer among `_failures` then.
        """
        try:
            tagger = self._tried(checkpoint_id)
        except OutputError as error:  # the store, not the checkpoint: it may answer next time
            self._failures.setdefault(checkpoint_id, 0)
            self._note_unreachable(error)
            return None
        except _ENDS_THE_PROCESS:
            raise
        except BaseException as error:  # also what no library should raise, such as a panic
            self._reached = True
            count = self._failures.pop(checkpoint_id, 0) + 1
            if isinstance(error, _CERTAIN) or count >= _ATTEMPTS:
                self._note(SwapEvent("refused", checkpoint_id, reason=_said(error)))
            else:
                self._failures[checkpoint_id] = count
                self._note(SwapEvent("failed", checkpoint_id, reason=_said(error)))
            return None
        self._reached = True
        self._failures.pop(checkpoint_id, None)
        return tagger

    def _tried(self, checkpoint_id: str) -> Tagger:
        tagger = self._load(self.registry.fetch(checkpoint_id, self._cache))
        if tagger.id != checkpoint_id:
            raise CheckpointError(
                f"{self.registry.root}: what lies under {checkpoint_id} is checkpoint {tagger.id}"
            )
        try_tagger(tagger)
        return tagger

    def _first(self, pause: Callable[[float], None]) -> tuple[Change, Tagger]:
        """Load the active checkpoint, or, where it is refused, the one that was active before."""
        end = self._clock() + _PATIENCE_SECONDS
        while True:
            try:
                active, waiting = self.registry.active_and_fallbacks()
            except OutputError as error:
                if self._clock() >= end:
                    raise
                self._note_unreachable(error)
                pause(_PAUSE_SECONDS)
                continue
            for checkpoint_id in waiting:
                tagger = self._attempt(checkpoint_id)
                if tagger is not None:
                    return active, tagger
                if checkpoint_id in self._failures:
                    break
            else:
                raise CheckpointError(
                    f"{self.registry.root}: none of the checkpoints that were ever active can be "
                    f"used: {self._happened[-1].reason}"
                )
            if self._clock() >= end:
                raise CheckpointError(
                    f"{self.registry.root}: {checkpoint_id} cannot be loaded: "
                    f"{self._happened[-1].reason}"
                )
            pause(_PAUSE_SECONDS)

    def _note(self, event: SwapEvent) -> None:
        self._happened.append(event)
        with contextlib.suppress(Exception):  # a log that fails must not end the following
            self._tell(event)

    def _note_unreachable(self, error: BaseException) -> None:
        if self._reached:
            self._reached = False
            self._note(SwapEvent("unreachable", reason=_said(error)))


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, PubnerError) else f"{type(error).__name__}: {error}"


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
    rest = look_seconds
    while True:
        live = reference()
        if live is None:
            return
        wait = min(rest, _TIDY_SECONDS) if live.untidy else rest
        del live
        if stop.wait(wait):
            return
        rest -= wait
        live = reference()
        if live is None:
            return
        due = rest <= 0
        rest = look_seconds if due else rest
        live.poll(tidy_only=not due)
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
    registry = open_registry(choice.registry)
    cache = default_cache() if choice.cache is None else Path(choice.cache)
    if choice.pinned is not None:
        return FixedTagger(load(registry.fetch(choice.pinned, cache)))
    live = LiveTagger(registry, cache, load=load, tell=tell)
    follow(live, choice.look_seconds)
    return live
