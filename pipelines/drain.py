"""The request to end a running stream, through the place that all its workers reach: the output.

Signals and pipes reach one process; the workers of a cluster are others. The command writes the
run's name into a file of the output, and every reader looks at it now and then.
"""

from dataclasses import dataclass, field

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

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
            self._requested = self._read() == self.run_id
        return self._requested

    def request(self) -> None:
        """Ask the run to end."""
        with FileSystems.create(
            self._place, compression_type=CompressionTypes.UNCOMPRESSED
        ) as stream:
            stream.write(self.run_id.encode())

    def clear(self) -> None:
        """Remove the marker, whomever it names."""
        if FileSystems.exists(self._place):
            FileSystems.delete([self._place])

    def __getstate__(self) -> tuple[str, str]:
        return self.output, self.run_id

    def __setstate__(self, state: tuple[str, str]) -> None:
        self.output, self.run_id = state
        self._looked, self._requested = -_LOOK_SECONDS, False

    @property
    def _place(self) -> str:
        return FileSystems.join(self.output, MARKER)

    def _read(self) -> str:
        try:
            if not FileSystems.exists(self._place):
                return ""
            with FileSystems.open(
                self._place, compression_type=CompressionTypes.UNCOMPRESSED
            ) as stream:
                return bytes(stream.read()).decode("utf-8", "replace").strip()
        except (OSError, BeamIOError):
            return ""  # the next look, two seconds later, sees it
