"""The request to end a running stream, through the place that all its workers reach: the output.

Signals and pipes reach one process; the workers of a cluster are others. The command writes a
request into a file of the output, and every reader looks at it now and then.
"""

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.output.store import local_path, reporting
from schemas.errors import OutputError
from worker.storage.locations import absolute, is_local

if TYPE_CHECKING:
    from worker.storage.objects import Objects

MARKER = ".pubner-stop"
_LOOK_SECONDS = 2.0


@dataclass(slots=True)
class DrainSignal:
    """Whether the runs called `name`, which write to `output`, are asked to end.

    Once they are, it stays so, and `token` tells this request from others. A marker that calls
    another name means nothing.
    """

    output: str
    name: str
    token: str = field(default="", init=False, compare=False)
    _looked: float = field(default=-_LOOK_SECONDS, init=False, compare=False)
    _objects: "Objects | None" = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.output = absolute(self.output)

    def requested(self, now: float) -> bool:
        """Return whether to end; look at most every two seconds of the clock `now`."""
        if not self.token and now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            name, _, token = self._read().decode("utf-8", "replace").partition("\n")
            self.token = token if name == self.name else ""
        return bool(self.token)

    def request(self) -> str:
        """Ask to end; return the token of this request.

        :raises OutputError: if the output cannot be written.
        """
        self.clear()
        token = uuid.uuid4().hex
        data = f"{self.name}\n{token}".encode()
        if is_local(self.output):
            marker = local_path(self.output) / MARKER
            temporary = marker.with_name(f"{MARKER}.{token}")
            with reporting("write", marker):
                temporary.write_bytes(data)
                temporary.replace(marker)
        else:
            self._opened().put(MARKER, data, over=None)
        return token

    def clear(self) -> None:
        """Remove the marker, whomever it names."""
        if is_local(self.output):
            marker = local_path(self.output) / MARKER
            with reporting("remove", marker):
                marker.unlink(missing_ok=True)
        else:
            self._opened().remove(MARKER)

    def __getstate__(self) -> tuple[str, str]:
        return self.output, self.name

    def __setstate__(self, state: tuple[str, str]) -> None:
        self.output, self.name = state
        self.token, self._looked, self._objects = "", -_LOOK_SECONDS, None

    def _read(self) -> bytes:
        try:
            if is_local(self.output):
                return (local_path(self.output) / MARKER).read_bytes()
            stored = self._opened().get(MARKER)
        except (OSError, OutputError):
            return b""  # a store that is away now is asked again two seconds later
        return b"" if stored is None else stored.data

    def _opened(self) -> "Objects":
        """Return the output's objects, opened once: a look must not cost a new connection."""
        if self._objects is None:
            from pipelines.output.object_store import open_object_store

            self._objects = open_object_store(self.output).objects
        return self._objects
