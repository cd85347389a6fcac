"""Objects in any file system that Beam supports, by unconditional PUT: for one writer at a time."""

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
"""Minimum age of a modification time that is trusted: the server's clock may differ."""


@dataclass(frozen=True, slots=True)
class BeamObjects:
    """The objects below the URL `root`, all with an empty version: writes are unconditional."""

    root: str

    def __post_init__(self) -> None:
        try:
            FileSystems.get_filesystem(self.root)
        except ValueError as error:
            raise OutputError(
                f"cannot open {self.root!r}: {error}; give a folder, or install what opens such "
                f"URLs ({install_command('aws')} for s3://, {install_command('gcp')} for gs://)"
            ) from error

    def _url(self, path: str) -> str:
        return FileSystems.join(self.root, *path.split("/"))

    def get(self, path: str) -> Stored | None:
        """Return an object."""
        stream = self.open(path)
        if stream is None:
            return None
        with reporting("read", self._url(path)), stream:
            return Stored(stream.read(), "")

    def put(self, path: str, data: bytes, *, over: str | None) -> str:  # noqa: ARG002
        """Upload an object, replacing an existing one."""
        url = self._url(path)
        with (
            reporting("write", url),
            FileSystems.create(url, compression_type=CompressionTypes.UNCOMPRESSED) as stream,
        ):
            stream.write(data)
        return ""

    def open(self, path: str) -> BinaryIO | None:
        """Open an object."""
        url = self._url(path)
        with reporting("read", url):
            if not FileSystems.exists(url):
                return None
            return FileSystems.open(url, compression_type=CompressionTypes.UNCOMPRESSED)

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """List the objects in a folder."""
        return sorted(self.states(folder, (prefix,)))

    def states(self, folder: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        """List the objects in a folder; their versions are the modification times, if known."""
        url = self._url(folder).rstrip("/")
        oldest = time.time() - _SETTLED_SECONDS
        with reporting("list", url):
            results = FileSystems.match([f"{url}/{prefix}*" for prefix in prefixes])
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
        url = self._url(path)
        with reporting("remove", url):
            if FileSystems.exists(url):
                FileSystems.delete([url])
