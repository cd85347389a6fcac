"""Object-store protocol: get, list, open, remove, and compare-and-swap put."""

from collections.abc import Sequence
from typing import BinaryIO, NamedTuple, Protocol

from schemas.errors import ConflictError

_ATTEMPTS = 10


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


def put_over(objects: Objects, path: str, data: bytes) -> None:
    """Store an object whatever is there now; nothing is written where it has these bytes already.

    :raises ConflictError: if other writers keep replacing it.
    """
    for _ in range(_ATTEMPTS):
        found = objects.get(path)
        if found is not None and found.data == data:
            return
        try:
            objects.put(path, data, over=None if found is None else found.version)
        except ConflictError:
            continue
        return
    raise ConflictError(f"{path}: other writers keep replacing it; end them, and try again")
