"""Objects in Google Cloud Storage, by uploads that name the generation which they replace.

Credentials come from where Google's libraries find them: GOOGLE_APPLICATION_CREDENTIALS, what
`gcloud auth application-default login` left, or the machine's service account. None of them is ever
part of this object, so none travels to workers: each finds its own. STORAGE_EMULATOR_HOST names
another server, which is asked without credentials.
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
"""The generation of an object that is not there."""
_READING_ATTEMPTS = 10


class GcsObjects:
    """The objects below the URL `root`, `gs://BUCKET/PREFIX`.

    An object's version is its generation. `retry_seconds` is how long a request is tried again
    where the network fails.

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
        """Pickle the URL alone: the client holds credentials."""
        return GcsObjects, (self.root,)

    def get(self, path: str) -> Stored | None:
        """Return an object; its bytes and its generation come in one answer."""
        from google.api_core.exceptions import NotFound

        with self._reporting("read", path):
            blob = self._bucket().blob(self._key(path))
            try:
                data = blob.download_as_bytes(retry=self._retry())
            except NotFound:
                return None
            return Stored(data, str(blob.generation))

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        """Store an object if `over` is what it replaces."""
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
        """Open an object; its end is fetched at once, for that is where Parquet begins."""
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
                    continue  # it was replaced in between
                if begin == 0:
                    return io.BytesIO(tail)
                return io.BufferedReader(RangeStream(self, path, version, size, tail))
        raise OutputError(f"cannot read '{self.root}/{path}': other writers change it all the time")

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
                # Objects need no project, which credentials of a user may lack.
                self._client = _import_storage(self.root).Client(project=None)
            return self._client.bucket(self.bucket)

    def _retry(self) -> Any:  # noqa: ANN401
        from google.cloud.storage.retry import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(self._retry_seconds)

    @contextmanager
    def _reporting(self, action: str, path: str) -> Iterator[None]:
        """Turn the failures of Google's libraries and of the network into an `OutputError`.

        A ValueError is what they raise for a STORAGE_EMULATOR_HOST that is no URL, DataCorruption
        and InvalidResponse what a download or an upload raises by itself.
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
                "GOOGLE_APPLICATION_CREDENTIALS or the machine gives, then give the same command "
                "again: what is in place stays"
            ) from error


def _import_storage(root: str) -> Any:  # noqa: ANN401 - google-cloud-storage publishes no types
    try:
        from google.cloud import storage
    except ImportError as error:
        raise missing("google.cloud", f"{root!r}") from error
    return storage
