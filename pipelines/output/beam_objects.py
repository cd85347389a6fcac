"""Objects in any file system that Beam opens, by plain PUT: one run at a time may write there."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.output.store import reporting
from schemas.errors import OutputError
from worker.storage.objects import ObjectState, Stored
from worker.system.extras import install_command

_SETTLED_SECONDS = 900.0
"""How old a modification must be for its time to be trusted: the server's clock is not ours."""


@dataclass(frozen=True, slots=True)
class BeamObjects:
    """The objects below the URL `root`. Their versions are all the same: nothing is compared."""

    root: str

    def __post_init__(self) -> None:
        try:
            FileSystems.get_filesystem(self.root)
        except ValueError as error:
            raise OutputError(
                f"cannot open {self.root!r}: {error}; give a folder, or install what opens such "
                f"URLs ({install_command('aws')} for s3://, {install_command('gcp')} for gs://)"
            ) from error

    def _place(self, path: str) -> str:
        return FileSystems.join(self.root, *path.split("/"))

    def get(self, path: str) -> Stored | None:
        """Return an object."""
        stream = self.open(path)
        if stream is None:
            return None
        with reporting("read", self._place(path)), stream:
            return Stored(stream.read(), "")

    def put(self, path: str, data: bytes, *, over: str | None) -> str:  # noqa: ARG002
        """Upload an object, whatever is there."""
        place = self._place(path)
        with (
            reporting("write", place),
            FileSystems.create(place, compression_type=CompressionTypes.UNCOMPRESSED) as stream,
        ):
            stream.write(data)
        return ""

    def open(self, path: str) -> BinaryIO | None:
        """Open an object."""
        place = self._place(path)
        with reporting("read", place):
            if not FileSystems.exists(place):
                return None
            return FileSystems.open(place, compression_type=CompressionTypes.UNCOMPRESSED)

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """List the objects in a folder."""
        return sorted(self.states(folder, (prefix,)))

    def states(self, folder: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        """List the objects in a folder; their versions are when they were written, if known."""
        place = self._place(folder).rstrip("/")
        oldest = time.time() - _SETTLED_SECONDS
        with reporting("list", place):
            results = FileSystems.match([f"{place}/{prefix}*" for prefix in prefixes])
        return {
            entry.path.rpartition("/")[2]: ObjectState(
                int(entry.size_in_bytes or 0),
                str(entry.last_updated_in_seconds),
                settled=0 < (entry.last_updated_in_seconds or 0) < oldest,
            )
            for result in results
            for entry in result.metadata_list
        }

    def remove(self, path: str) -> None:
        """Remove an object."""
        place = self._place(path)
        with reporting("remove", place):
            if FileSystems.exists(place):
                FileSystems.delete([place])
