"""Drain request: a marker file in the output that asks the readers of a running stream to stop.

Signals and pipes reach one process only, and a cluster's workers run in others. All of them reach
the output, so the command writes the request there, and every reader polls for it.
"""

import uuid
from dataclasses import dataclass, field

from pipelines.output.store import open_store
from schemas.errors import OutputError
from worker.storage.locations import absolute
from worker.storage.objects import Objects, put_over

MARKER = ".pubner-stop"
_CHECK_SECONDS = 2.0


@dataclass(slots=True)
class DrainSignal:
    """Reads and writes the request that the runs called `name`, writing to `output`, drain.

    A request once seen stays in force, and `token` identifies it. A marker with another name is
    ignored.
    """

    output: str
    name: str
    token: str = field(default="", init=False, compare=False)
    _checked_at: float = field(default=-_CHECK_SECONDS, init=False, compare=False)
    _objects: Objects | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.output = absolute(self.output)

    def requested(self, now: float) -> bool:
        """Return whether to drain; read the marker at most every two seconds of the clock `now`."""
        if not self.token and now - self._checked_at >= _CHECK_SECONDS:
            self._checked_at = now
            name, _, token = self._read().decode("utf-8", "replace").partition("\n")
            self.token = token if name == self.name else ""
        return bool(self.token)

    def request(self) -> str:
        """Write a request; return its token.

        :raises OutputError: if the output cannot be written.
        """
        token = uuid.uuid4().hex
        put_over(self._opened(), MARKER, f"{self.name}\n{token}".encode())
        return token

    def clear(self) -> None:
        """Remove the marker, whichever run it names."""
        self._opened().remove(MARKER)

    def __getstate__(self) -> tuple[str, str]:
        return self.output, self.name

    def __setstate__(self, state: tuple[str, str]) -> None:
        self.output, self.name = state
        self.token, self._checked_at, self._objects = "", -_CHECK_SECONDS, None

    def _read(self) -> bytes:
        try:
            stored = self._opened().get(MARKER)
        except OutputError:
            return b""  # an unreachable store is retried two seconds later
        return b"" if stored is None else stored.data

    def _opened(self) -> Objects:
        """Return the output's objects, opened once so that polling opens no connections."""
        if self._objects is None:
            self._objects = open_store(self.output).objects
        return self._objects
