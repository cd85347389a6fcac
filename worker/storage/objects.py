"""What a store of objects can do: get, list, and put where no other writer came between."""

from typing import BinaryIO, NamedTuple, Protocol


class Stored(NamedTuple):
    """An object's bytes, and what the store calls this version of it."""

    data: bytes
    version: str


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
