"""Object-store protocol: get, list, open, remove, and compare-and-swap put."""

from collections.abc import Sequence
from typing import BinaryIO, NamedTuple, Protocol


class Stored(NamedTuple):
    """An object's bytes, and the store's name for this version of it."""

    data: bytes
    version: str


class ObjectState(NamedTuple):
    """What a listing says of an object: its bytes and its version, as text.

    `settled` says that another content under this name will have another size or version. It is
    false for a file whose time of modification is so recent that the next change may bear the same.
    """

    size: int
    version: str
    settled: bool


class Objects(Protocol):
    """An object store: objects by path below a root. Every failure is an `OutputError`."""

    def get(self, path: str) -> Stored | None:
        """Return an object; None if it does not exist."""

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        """Store an object atomically and return its version.

        `over` is the version to replace; None if the object must not exist yet.

        :raises ConflictError: if the store holds another version, as far as it can check that.
        """

    def open(self, path: str) -> BinaryIO | None:
        """Open an object for random-access reads; None if it does not exist."""

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Return the names of the objects in a folder that begin with `prefix`, sorted."""

    def remove(self, path: str) -> None:
        """Remove an object; nothing happens where there is none."""


class ListedObjects(Objects, Protocol):
    """Objects whose listing tells versions: what was read of them need not be read again."""

    def states(self, folder: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        """Return the objects in a folder whose names begin with any of `prefixes`, by name."""
