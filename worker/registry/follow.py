"""Tagger sources of a worker process: a fixed tagger, or a registry's active checkpoint.

A process that follows a registry polls its pointer in a background thread. A newly active
checkpoint is fetched, verified, loaded and tried while the current one stays in use, and then
replaces it between two batches: each batch obtains one immutable tagger and uses it to its end.
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
from worker.network.memory import release_memory
from worker.registry.cache import default_cache
from worker.registry.choice import Registered
from worker.registry.pointer import Change
from worker.registry.registry import Registry, open_registry
from worker.registry.trial import try_tagger
from worker.tagger import Tagger

_PERMANENT: Final = (CheckpointError, RecordError, RegistryError)
"""Errors caused by the checkpoint itself; any other error may be transient."""
_ENDS_THE_PROCESS: Final = (KeyboardInterrupt, SystemExit)
_ATTEMPTS: Final = 3
"""Failed attempts to load a checkpoint before it is refused, if the error may be transient."""
_PATIENCE_SECONDS: Final = 120.0
"""How long a starting worker waits for a registry that does not respond."""
_PAUSE_SECONDS: Final = 3.0
_RELEASE_SECONDS: Final = 1.0
"""Interval between checks whether the last batch of a replaced tagger has ended."""


@dataclass(frozen=True, slots=True)
class SwapEvent:
    """A reportable event of polling the pointer.

    `swapped`: `checkpoint_id` replaced `previous` after `seconds` of loading; `refused`: that
    checkpoint was rejected for `reason`, and the previous one stays in use; `failed`: loading it
    failed, perhaps transiently, and is retried; `unreachable`: the registry does not respond,
    reported once until it does.
    """

    kind: Literal["swapped", "refused", "failed", "unreachable"]
    checkpoint_id: str = ""
    previous: str = ""
    reason: str = ""
    seconds: float = 0.0


class TaggerSource(Protocol):
    """A source of the tagger for each batch."""

    def current(self) -> Tagger:
        """Return the tagger for one batch, which uses it to its end."""

    def events(self) -> list[SwapEvent]:
        """Return what happened since the last call."""


class FixedTagger:
    """A tagger source whose tagger never changes."""

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger

    def current(self) -> Tagger:
        """Return the tagger."""
        return self._tagger

    def events(self) -> list[SwapEvent]:
        """Return an empty list: there are never any events."""
        return []


class LiveTagger:
    """A tagger source that follows a registry's active checkpoint; see the module's docstring.

    `load` creates a tagger from a verified checkpoint's folder. `on_event` is called with each
    event at once, in the polling thread. `release` returns memory to the system, and is called once
    a replaced tagger is no longer in use, however late that is.

    The registry is read by the constructor, and then by `check_pointer`, which `follow` calls.

    :raises PubnerError: if no checkpoint that was ever active can be loaded, or the registry does
        not respond for minutes.
    """

    def __init__(
        self,
        registry: Registry,
        cache: Path,
        *,
        load: Callable[[Path], Tagger],
        on_event: Callable[[SwapEvent], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        release: Callable[[], None] = release_memory,
    ) -> None:
        self.registry = registry
        self._cache = cache
        self._load = load
        self._on_event = on_event
        self._clock = clock
        self._release = release
        self._events: deque[SwapEvent] = deque(maxlen=1000)
        self._failures: dict[str, int] = {}
        self._reachable = True
        self._replaced: list[weakref.ref[Tagger]] = []
        self._poll_lock = threading.Lock()
        self._seen, self._current = self._first(pause)

    def current(self) -> Tagger:
        """Return the tagger for one batch, which uses it to its end."""
        return self._current

    def events(self) -> list[SwapEvent]:
        """Return what happened since the last call."""
        found = []
        while self._events:
            found.append(self._events.popleft())
        return found

    def check_pointer(self) -> None:
        """Read the pointer; if it names another checkpoint, load that one and swap it in.

        A checkpoint that fails verification or on the trial texts is refused until the pointer
        changes again; one that cannot be loaded for another reason is retried by later calls. If
        the registry is unreachable, the next call tries again.
        """
        with self._poll_lock:
            try:
                change = self.registry.pointer().active
            except _ENDS_THE_PROCESS:
                raise
            except BaseException as error:  # the worker must go on, whatever the error
                self._record_unreachable(error)
                return
            if change is not None and change != self._seen and change.id != self._current.id:
                self._swap(change)
                return
            self._seen = change or self._seen
            self._reachable = True

    def poll(self, *, release_only: bool = False) -> None:
        """Check the pointer, unless `release_only`, and release memory; report errors as events."""
        try:
            if not release_only:
                self.check_pointer()
            self.release_replaced()
        except BaseException as error:  # no error may end the polling thread
            self._record(SwapEvent("failed", self._current.id, reason=_error_text(error)))

    @property
    def has_replaced(self) -> bool:
        """Whether a replaced tagger may still hold memory."""
        return bool(self._replaced)

    def release_replaced(self) -> None:
        """Release the memory of replaced taggers whose last batch has ended."""
        in_use = [old for old in self._replaced if old() is not None]
        if len(in_use) < len(self._replaced):
            self._replaced = in_use
            self._release()

    def _swap(self, change: Change) -> None:
        begun = self._clock()
        tagger = self._attempt(change.id)
        if tagger is None:
            if change.id not in self._failures:
                self._seen = change
            self._release()
            return
        self._replaced.append(weakref.ref(self._current))
        previous, self._current, self._seen = self._current.id, tagger, change
        seconds = self._clock() - begun
        self._record(SwapEvent("swapped", change.id, previous=previous, seconds=seconds))

    def _attempt(self, checkpoint_id: str) -> Tagger | None:
        """Fetch, verify, load and try a checkpoint; on failure record an event and return None.

        A checkpoint that is refused for good is then no longer in `_failures`.
        """
        try:
            tagger = self._load_and_try(checkpoint_id)
        except OutputError as error:  # the store's fault, not the checkpoint's: retry later
            self._failures.setdefault(checkpoint_id, 0)
            self._record_unreachable(error)
            return None
        except _ENDS_THE_PROCESS:
            raise
        except BaseException as error:  # includes panics of Rust libraries
            self._reachable = True
            count = self._failures.pop(checkpoint_id, 0) + 1
            if isinstance(error, _PERMANENT) or count >= _ATTEMPTS:
                self._record(SwapEvent("refused", checkpoint_id, reason=_error_text(error)))
            else:
                self._failures[checkpoint_id] = count
                self._record(SwapEvent("failed", checkpoint_id, reason=_error_text(error)))
            return None
        self._reachable = True
        self._failures.pop(checkpoint_id, None)
        return tagger

    def _load_and_try(self, checkpoint_id: str) -> Tagger:
        tagger = self._load(self.registry.fetch(checkpoint_id, self._cache))
        if tagger.id != checkpoint_id:
            raise CheckpointError(
                f"{self.registry.root}: the folder {checkpoint_id} holds checkpoint {tagger.id}; "
                "publish the checkpoint again"
            )
        try_tagger(tagger)
        return tagger

    def _first(self, pause: Callable[[float], None]) -> tuple[Change, Tagger]:
        """Load the active checkpoint, or if it is refused, one that was active before."""
        end = self._clock() + _PATIENCE_SECONDS
        while True:
            try:
                active, candidates = self.registry.active_and_fallbacks()
            except OutputError as error:
                if self._clock() >= end:
                    raise
                self._record_unreachable(error)
                pause(_PAUSE_SECONDS)
                continue
            for checkpoint_id in candidates:
                tagger = self._attempt(checkpoint_id)
                if tagger is not None:
                    return active, tagger
                if checkpoint_id in self._failures:
                    break
            else:
                raise CheckpointError(
                    f"{self.registry.root}: none of the checkpoints that were ever active can be "
                    f"used: {self._events[-1].reason}"
                )
            if self._clock() >= end:
                raise CheckpointError(
                    f"{self.registry.root}: {checkpoint_id} cannot be loaded: "
                    f"{self._events[-1].reason}"
                )
            pause(_PAUSE_SECONDS)

    def _record(self, event: SwapEvent) -> None:
        self._events.append(event)
        with contextlib.suppress(Exception):  # a failing callback must not end the polling
            self._on_event(event)

    def _record_unreachable(self, error: BaseException) -> None:
        if self._reachable:
            self._reachable = False
            self._record(SwapEvent("unreachable", reason=_error_text(error)))


def _error_text(error: BaseException) -> str:
    return str(error) if isinstance(error, PubnerError) else f"{type(error).__name__}: {error}"


def follow(live: LiveTagger, poll_seconds: float) -> None:
    """Start a thread that polls the pointer every `poll_seconds`, as long as `live` is in use."""
    stop = threading.Event()
    weakref.finalize(live, stop.set)
    threading.Thread(
        target=_follow,
        args=(weakref.ref(live), stop, poll_seconds),
        name="pubner-registry",
        daemon=True,
    ).start()


def _follow(
    reference: "weakref.ref[LiveTagger]", stop: threading.Event, poll_seconds: float
) -> None:
    remaining = poll_seconds
    while True:
        live = reference()
        if live is None:
            return
        wait = min(remaining, _RELEASE_SECONDS) if live.has_replaced else remaining
        del live
        if stop.wait(wait):
            return
        remaining -= wait
        live = reference()
        if live is None:
            return
        due = remaining <= 0
        remaining = poll_seconds if due else remaining
        live.poll(release_only=not due)
        del live


def open_source(
    choice: Registered,
    *,
    load: Callable[[Path], Tagger],
    on_event: Callable[[SwapEvent], None] = lambda _: None,
) -> TaggerSource:
    """Return the tagger source of a worker process, according to `choice`.

    :raises PubnerError: if no checkpoint can be loaded.
    """
    registry = open_registry(choice.registry)
    cache = default_cache() if choice.cache is None else Path(choice.cache)
    if choice.pinned is not None:
        return FixedTagger(load(registry.fetch(choice.pinned, cache)))
    live = LiveTagger(registry, cache, load=load, on_event=on_event)
    follow(live, choice.poll_seconds)
    return live
