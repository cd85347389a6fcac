"""Object store in Google Cloud Storage, written with generation preconditions.

Google's libraries find the credentials: GOOGLE_APPLICATION_CREDENTIALS, the file written by
`gcloud auth application-default login`, or the machine's service account. They are never stored in
this object, so they are never sent to workers: each worker finds its own. STORAGE_EMULATOR_HOST
names another server, which is accessed without credentials.
"""

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

from schemas.errors import ConflictError, OutputError
from worker.storage.objects import ObjectState, Stored
from worker.storage.ranges import TAIL_BYTES, RangeStream
from worker.system.extras import missing

_NONE_YET = 0
"""The generation that stands for an object that does not exist."""
_READING_ATTEMPTS = 10


class GcsObjects:
    """The object store at the URL `root`, `gs://BUCKET/PREFIX`.

    An object's version is its generation. `retry_seconds` is how long a request is retried when
    the network fails.

    :raises OutputError: if the URL names no bucket.
    :raises MissingPackageError: if google-cloud-storage is not installed.
    """

    def __init__(self, root: str, *, retry_seconds: float = 60.0) -> None:
        self.root = root.rstrip("/")
        self.bucket, _, prefix = root.removeprefix("gs://").partition("/")
        self.prefix = prefix.strip("/")
        self._retry_seconds = retry_seconds
        self._client: Any = None
        self._lock = threading.Lock()
        if not self.bucket:
            raise OutputError(f"{root!r} names no bucket; expected gs://BUCKET/PREFIX")
        _import_storage(root)

    def __reduce__(self) -> tuple[type["GcsObjects"], tuple[str]]:
        """Pickle only the URL, because the client holds credentials."""
        return GcsObjects, (self.root,)

    def get(self, path: str) -> Stored | None:
        """Return an object, its bytes and generation from one response; None if missing."""
        from google.api_core.exceptions import NotFound

        with self._reporting("read", path):
            blob = self._bucket().blob(self._key(path))
            try:
                data = blob.download_as_bytes(retry=self._retry())
            except NotFound:
                return None
            return Stored(data, str(blob.generation))

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        """Store an object if its current version is `over`."""
        from google.api_core.exceptions import PreconditionFailed

        with self._reporting("write", path):
            blob = self._bucket().blob(self._key(path))
            try:
                blob.upload_from_string(
                    data,
                    content_type="application/octet-stream",
                    if_generation_match=_NONE_YET if over is None else int(over),
                    checksum="crc32c",
                    retry=self._retry(),
                )
            except PreconditionFailed as error:
                raise ConflictError(f"{self.root}/{path} was replaced by another writer") from error
            return str(blob.generation)

    def open(self, path: str) -> BinaryIO | None:
        """Open an object and fetch its tail at once, because Parquet readers begin there."""
        from google.api_core.exceptions import NotFound

        with self._reporting("read", path):
            for _ in range(_READING_ATTEMPTS):
                blob = self._bucket().get_blob(self._key(path), retry=self._retry())
                if blob is None:
                    return None
                size, version = int(blob.size), str(blob.generation)
                if size == 0:
                    return io.BytesIO()
                begin = max(0, size - TAIL_BYTES)
                try:
                    tail = self._download(path, begin, size, version)
                except NotFound:
                    continue  # it was replaced meanwhile
                if begin == 0:
                    return io.BytesIO(tail)
                return io.BufferedReader(RangeStream(self, path, version, size, tail))
        raise OutputError(f"cannot read '{self.root}/{path}': other writers keep replacing it")

    def read_range(self, path: str, begin: int, end: int, version: str) -> bytes:
        """Return the bytes [begin, end) of a version of an object."""
        with self._reporting("read", path):
            return self._download(path, begin, end, version)

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """List the objects in a folder."""
        return sorted(self.states(folder, (prefix,)))

    def states(self, folder: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        """List the objects in a folder; their versions are their generations."""
        place = f"{self._key(folder)}/"
        found: dict[str, ObjectState] = {}
        with self._reporting("list", folder):
            for prefix in prefixes:
                for blob in self._bucket().list_blobs(
                    prefix=place + prefix, delimiter="/", retry=self._retry()
                ):
                    name = blob.name.removeprefix(place)
                    found[name] = ObjectState(int(blob.size), str(blob.generation), settled=True)
        found.pop("", None)
        return found

    def remove(self, path: str) -> None:
        """Remove an object."""
        from google.api_core.exceptions import NotFound

        with self._reporting("remove", path):
            try:
                self._bucket().blob(self._key(path)).delete(retry=self._retry())
            except NotFound:
                return

    def _download(self, path: str, begin: int, end: int, version: str) -> bytes:
        blob = self._bucket().blob(self._key(path), generation=int(version))
        data: bytes = blob.download_as_bytes(start=begin, end=end - 1, retry=self._retry())
        return data

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def _bucket(self) -> Any:  # noqa: ANN401 - google-cloud-storage publishes no types
        with self._lock:
            if self._client is None:
                # Object access needs no project, and user credentials may lack one.
                self._client = _import_storage(self.root).Client(project=None)
            return self._client.bucket(self.bucket)

    def _retry(self) -> Any:  # noqa: ANN401
        from google.cloud.storage.retry import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(self._retry_seconds)

    @contextmanager
    def _reporting(self, action: str, path: str) -> Iterator[None]:
        """Turn exceptions of Google's libraries and of the network into an `OutputError`.

        They raise ValueError if STORAGE_EMULATOR_HOST is not a URL; downloads and uploads raise
        DataCorruption and InvalidResponse themselves.
        """
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.resumable_media.common import DataCorruption, InvalidResponse

        known = (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse)
        try:
            yield
        except (*known, OSError, ValueError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise OutputError(
                f"cannot {action} {f'{self.root}/{path}'!r}: {reason}; check the bucket, "
                "STORAGE_EMULATOR_HOST if it is set, and the credentials that "
                "GOOGLE_APPLICATION_CREDENTIALS or the machine provides, then run the same "
                "command again: committed data is kept"
            ) from error


def _import_storage(root: str) -> Any:  # noqa: ANN401 - google-cloud-storage publishes no types
    try:
        from google.cloud import storage
    except ImportError as error:
        raise missing("google.cloud", f"{root!r}") from error
    return storage
