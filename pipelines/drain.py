"""The request to end a running stream, through the place that all its workers reach: the output.

Signals and pipes reach one process; the workers of a cluster are others. The command writes the
run's name into a file of the output, and every reader looks at it now and then.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.store import is_local, local_path
from schemas.errors import OutputError

if TYPE_CHECKING:
    from pipelines.object_store import Objects

MARKER = ".pubner-stop"
_LOOK_SECONDS = 2.0


@dataclass(slots=True)
class DrainSignal:
    """Whether the run `run_id`, which writes to `output`, is asked to end.

    Once it is, it stays so. A marker that names another run means nothing.
    """

    output: str
    run_id: str
    _looked: float = field(default=-_LOOK_SECONDS, init=False, compare=False)
    _requested: bool = field(default=False, init=False, compare=False)

    def requested(self, now: float) -> bool:
        """Return whether the run is to end; look at most every two seconds of the clock `now`."""
        if not self._requested and now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self._requested = self._read() == self.run_id.encode()
        return self._requested

    def request(self) -> None:
        """Ask the run to end.

        :raises OutputError: if the output cannot be written.
        """
        self.clear()
        if is_local(self.output):
            temporary = local_path(self.output) / f"{MARKER}.{self.run_id}"
            temporary.write_bytes(self.run_id.encode())
            temporary.replace(local_path(self.output) / MARKER)
        else:
            _objects(self.output).put(MARKER, self.run_id.encode(), over=None)

    def clear(self) -> None:
        """Remove the marker, whomever it names."""
        if is_local(self.output):
            (local_path(self.output) / MARKER).unlink(missing_ok=True)
        else:
            _objects(self.output).remove(MARKER)

    def __getstate__(self) -> tuple[str, str]:
        return self.output, self.run_id

    def __setstate__(self, state: tuple[str, str]) -> None:
        self.output, self.run_id = state
        self._looked, self._requested = -_LOOK_SECONDS, False

    def _read(self) -> bytes:
        try:
            if is_local(self.output):
                return (local_path(self.output) / MARKER).read_bytes()
            stored = _objects(self.output).get(MARKER)
        except (FileNotFoundError, OutputError):
            return b""  # a store that is away now is asked again two seconds later
        return b"" if stored is None else stored.data


def _objects(output: str) -> "Objects":
    from pipelines.object_store import open_object_store

    return open_object_store(output).objects
