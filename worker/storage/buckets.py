"""What object stores with buckets share: the URL, the client, the listing, and reads by range."""

import io
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, ClassVar, NamedTuple, Self

from schemas.errors import OutputError
from worker.storage.objects import ObjectState

TAIL_BYTES = 2**17
"""Large enough for the footer of a Parquet file, which is read first, in one request."""


class Tail(NamedTuple):
    """The last bytes of an object, its size, and its version."""

    data: bytes
    size: int
    version: str


class BucketObjects(ABC):
    """The object store at the URL `root`, `SCHEME://BUCKET/PREFIX`.

    The store's own library finds the credentials. They are never kept in this object, so they are
    never sent to workers: each worker finds its own.

    :raises OutputError: if the URL names no bucket.
    :raises MissingPackageError: if the store's library is not installed.
    """

    scheme: ClassVar[str]
    advice: ClassVar[str]
    """What to check where a request fails."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.bucket, _, prefix = root.removeprefix(f"{self.scheme}://").partition("/")
        self.prefix = prefix.strip("/")
        self._client: Any = None
        self._lock = threading.Lock()
        if not self.bucket:
            scheme = self.scheme
            raise OutputError(f"{root!r} names no bucket; expected {scheme}://BUCKET/PREFIX")
        self._library()

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Pickle only the URL, because the client holds credentials."""
        return type(self), (self.root,)

    @abstractmethod
    def _library(self) -> Any:  # noqa: ANN401 - the libraries publish no types
        """Import the store's library."""

    @abstractmethod
    def _connect(self) -> Any:  # noqa: ANN401
        """Return a client, which all threads use."""

    @abstractmethod
    def _errors(self) -> tuple[type[Exception], ...]:
        """Return what the library raises, beside OSError and ValueError."""

    @abstractmethod
    def _tail(self, path: str) -> Tail | None:
        """Return the last `TAIL_BYTES` of an object; None if it does not exist."""

    @abstractmethod
    def _range(self, path: str, begin: int, end: int, version: str) -> bytes:
        """Return the bytes [begin, end) of a version of an object."""

    @abstractmethod
    def _list(self, prefix: str) -> Iterator[tuple[str, ObjectState]]:
        """Yield the keys that begin with `prefix` and have no further `/`, with their states."""

    def open(self, path: str) -> BinaryIO | None:
        """Open an object and fetch its tail at once, because Parquet readers begin there."""
        with self._reporting("read", path):
            tail = self._tail(path)
        if tail is None:
            return None
        if len(tail.data) == tail.size:
            return io.BytesIO(tail.data)
        return io.BufferedReader(_RangeStream(self, path, tail))

    def read_range(self, path: str, begin: int, end: int, version: str) -> bytes:
        """Return the bytes [begin, end) of a version of an object."""
        with self._reporting("read", path):
            return self._range(path, begin, end, version)

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Return the sorted names of the objects in a folder that begin with `prefix`."""
        return sorted(self.states(folder, (prefix,)))

    def states(self, folder: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        """List the objects in a folder; their versions are those that `put` replaces."""
        place = f"{self._key(folder)}/"
        with self._reporting("list", folder):
            found = {
                key.removeprefix(place): state
                for prefix in prefixes
                for key, state in self._list(place + prefix)
            }
        found.pop("", None)
        return found

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def _connected(self) -> Any:  # noqa: ANN401
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    @contextmanager
    def _reporting(self, action: str, path: str) -> Iterator[None]:
        """Turn exceptions of the library and of the network into an `OutputError`.

        The libraries raise ValueError if an endpoint is not a URL.
        """
        known: tuple[type[Exception], ...] = (*self._errors(), OSError, ValueError)
        try:
            yield
        except known as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise OutputError(
                f"cannot {action} {f'{self.root}/{path}'!r}: {reason}; check the bucket, "
                f"{self.advice}, then run the same command again: committed data is kept"
            ) from error


class _RangeStream(io.RawIOBase):
    """A readable stream over one version of an object, whose tail was fetched already."""

    def __init__(self, objects: BucketObjects, path: str, tail: Tail) -> None:
        super().__init__()
        self._objects = objects
        self._path = path
        self._tail = tail
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._tail.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        end = min(self._position + len(buffer), self._tail.size)
        data = self._read(self._position, end) if self._position < end else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, begin: int, end: int) -> bytes:
        tail_begin = self._tail.size - len(self._tail.data)
        if begin >= tail_begin:
            return self._tail.data[begin - tail_begin : end - tail_begin]
        return self._objects.read_range(self._path, begin, end, self._tail.version)
