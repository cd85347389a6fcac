"""What a store of objects can do: get, list, and put where no other writer came between."""

from collections.abc import Sequence
from typing import BinaryIO, NamedTuple, Protocol


class Stored(NamedTuple):
    """An object's bytes, and what the store calls this version of it."""

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
    """Objects by path below a root. Every failure is an `OutputError`."""

    def get(self, path: str) -> Stored | None:
        """Return an object; None where there is none."""

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        """Store an object whole and return its version.

        `over` is the version that it replaces, None where there is none yet.

        :raises ConflictError: if something else is there, where the store can tell.
        """

    def open(self, path: str) -> BinaryIO | None:
        """Open an object for reading parts of it; None where there is none."""

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Return the names of the objects in a folder that begin with `prefix`, sorted."""

    def remove(self, path: str) -> None:
        """Remove an object; nothing happens where there is none."""


class ListedObjects(Objects, Protocol):
    """Objects whose listing tells versions: what was read of them need not be read again."""

    def states(self, folder: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        """Return the objects in a folder whose names begin with any of `prefixes`, by name."""
