"""Object store in Google Cloud Storage, written with generation preconditions.

Google's libraries find the credentials: GOOGLE_APPLICATION_CREDENTIALS, the file written by
`gcloud auth application-default login`, or the machine's service account. STORAGE_EMULATOR_HOST
names another server, which is accessed without credentials. See docs/decisions/0020.
"""

from collections.abc import Iterator
from typing import Any

from schemas.errors import ConflictError, OutputError
from worker.storage.buckets import TAIL_BYTES, BucketObjects, Tail
from worker.storage.objects import ObjectState, Stored
from worker.system.extras import missing

_NONE_YET = 0
"""The generation that stands for an object that does not exist."""
_READING_ATTEMPTS = 10


class GcsObjects(BucketObjects):
    """The object store at `gs://BUCKET/PREFIX`; an object's version is its generation.

    `retry_seconds` is how long a request is retried when the network fails.
    """

    scheme = "gs"
    advice = (
        "STORAGE_EMULATOR_HOST if it is set, and the credentials that "
        "GOOGLE_APPLICATION_CREDENTIALS or the machine provides"
    )

    def __init__(self, root: str, *, retry_seconds: float = 60.0) -> None:
        super().__init__(root)
        self._retry_seconds = retry_seconds

    def get(self, path: str) -> Stored | None:
        """Return an object, its bytes and generation from one response; None if missing."""
        from google.api_core.exceptions import NotFound

        with self._reporting("read", path):
            blob = self._blob(path)
            try:
                data = blob.download_as_bytes(retry=self._retry())
            except NotFound:
                return None
            return Stored(data, str(blob.generation))

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        """Store an object if its current version is `over`."""
        from google.api_core.exceptions import PreconditionFailed

        with self._reporting("write", path):
            blob = self._blob(path)
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

    def remove(self, path: str) -> None:
        """Remove an object."""
        from google.api_core.exceptions import NotFound

        with self._reporting("remove", path):
            try:
                self._blob(path).delete(retry=self._retry())
            except NotFound:
                return

    def _tail(self, path: str) -> Tail | None:
        from google.api_core.exceptions import NotFound

        for _ in range(_READING_ATTEMPTS):
            blob = self._bucket().get_blob(self._key(path), retry=self._retry())
            if blob is None:
                return None
            size, version = int(blob.size), str(blob.generation)
            if size == 0:
                return Tail(b"", 0, version)
            try:
                data = self._range(path, max(0, size - TAIL_BYTES), size, version)
            except NotFound:
                continue  # it was replaced meanwhile
            return Tail(data, size, version)
        raise OutputError(f"cannot read '{self.root}/{path}': other writers keep replacing it")

    def _range(self, path: str, begin: int, end: int, version: str) -> bytes:
        blob = self._blob(path, generation=int(version))
        data: bytes = blob.download_as_bytes(start=begin, end=end - 1, retry=self._retry())
        return data

    def _list(self, prefix: str) -> Iterator[tuple[str, ObjectState]]:
        for blob in self._bucket().list_blobs(prefix=prefix, delimiter="/", retry=self._retry()):
            yield blob.name, ObjectState(int(blob.size), str(blob.generation), settled=True)

    def _blob(self, path: str, **options: int) -> Any:  # noqa: ANN401
        return self._bucket().blob(self._key(path), **options)

    def _bucket(self) -> Any:  # noqa: ANN401
        return self._connected().bucket(self.bucket)

    def _library(self) -> Any:  # noqa: ANN401
        try:
            from google.cloud import storage
        except ImportError as error:
            raise missing("google.cloud", f"{self.root!r}") from error
        return storage

    def _connect(self) -> Any:  # noqa: ANN401
        # Object access needs no project, and user credentials may lack one.
        return self._library().Client(project=None)

    def _retry(self) -> Any:  # noqa: ANN401
        from google.cloud.storage.retry import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(self._retry_seconds)

    def _errors(self) -> tuple[type[Exception], ...]:
        """Return the errors of Google's libraries; the last two are of downloads and uploads."""
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.resumable_media.common import DataCorruption, InvalidResponse

        return (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse)
