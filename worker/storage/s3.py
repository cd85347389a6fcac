"""Object store in S3 or a compatible server, written with conditional PUT.

boto3 finds the endpoint, region and credentials: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID
and AWS_SECRET_ACCESS_KEY, a profile, or the machine's role. They are never stored in this object,
so they are never sent to workers: each worker finds its own.
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

_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_MISSING = ("NoSuchKey", "404", "NotFound")
_CONNECTIONS = 32
"""As many as threads may ask at once; beyond these a request opens one that is not kept."""


class S3Objects:
    """The object store at the URL `root`, `s3://BUCKET/PREFIX`.

    :raises OutputError: if the URL names no bucket.
    :raises MissingPackageError: if boto3 is not installed.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.bucket, _, prefix = root.removeprefix("s3://").partition("/")
        self.prefix = prefix.strip("/")
        self._client: Any = None
        self._lock = threading.Lock()
        if not self.bucket:
            raise OutputError(f"{root!r} names no bucket; expected s3://BUCKET/PREFIX")
        _import_boto3(root)

    def __reduce__(self) -> tuple[type["S3Objects"], tuple[str]]:
        """Pickle only the URL, because the client holds credentials."""
        return S3Objects, (self.root,)

    def get(self, path: str) -> Stored | None:
        """Return an object; None if it does not exist."""
        with self._reporting("read", path):
            try:
                found = self._s3().get_object(Bucket=self.bucket, Key=self._key(path))
                return Stored(found["Body"].read(), found["ETag"])
            except _client_error() as error:
                if _code(error) in _MISSING:
                    return None
                raise

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        """Store an object if its current version is `over`."""
        condition = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over}
        with self._reporting("write", path):
            try:
                done = self._s3().put_object(
                    Bucket=self.bucket, Key=self._key(path), Body=data, **condition
                )
            except _client_error() as error:
                # If a version is to be replaced, a missing object is a conflict too.
                if _code(error) in _CONFLICTS or (over and _code(error) in _MISSING):
                    raise ConflictError(
                        f"{self.root}/{path} was replaced by another writer"
                    ) from error
                raise
        version: str = done["ETag"]
        return version

    def open(self, path: str) -> BinaryIO | None:
        """Open an object and fetch its tail at once, because Parquet readers begin there."""
        with self._reporting("read", path):
            try:
                found = self._s3().get_object(
                    Bucket=self.bucket, Key=self._key(path), Range=f"bytes=-{TAIL_BYTES}"
                )
                tail = found["Body"].read()
            except _client_error() as error:
                if _code(error) in _MISSING:
                    return None
                if _code(error) in ("InvalidRange", "416"):
                    return io.BytesIO()
                raise
        size = int(found.get("ContentRange", f"/{len(tail)}").rpartition("/")[2])
        if size == len(tail):
            return io.BytesIO(tail)
        return io.BufferedReader(RangeStream(self, path, found["ETag"], size, tail))

    def read_range(self, path: str, begin: int, end: int, version: str) -> bytes:
        """Return the bytes [begin, end) of a version of an object."""
        with self._reporting("read", path):
            found = self._s3().get_object(
                Bucket=self.bucket,
                Key=self._key(path),
                Range=f"bytes={begin}-{end - 1}",
                IfMatch=version,
            )
            data: bytes = found["Body"].read()
        return data

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """List the objects in a folder."""
        return sorted(self.states(folder, (prefix,)))

    def states(self, folder: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        """List the objects in a folder; their versions are their ETags."""
        place = f"{self._key(folder)}/"
        found: dict[str, ObjectState] = {}
        with self._reporting("list", folder):
            paginator = self._s3().get_paginator("list_objects_v2")
            for prefix in prefixes:
                for page in paginator.paginate(
                    Bucket=self.bucket, Prefix=place + prefix, Delimiter="/"
                ):
                    for item in page.get("Contents", ()):
                        name = item["Key"].removeprefix(place)
                        found[name] = ObjectState(item["Size"], item["ETag"], settled=True)
        found.pop("", None)
        return found

    def remove(self, path: str) -> None:
        """Remove an object."""
        with self._reporting("remove", path):
            self._s3().delete_object(Bucket=self.bucket, Key=self._key(path))

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def _s3(self) -> Any:  # noqa: ANN401 - boto3 creates its classes at run time
        with self._lock:
            if self._client is None:
                boto3 = _import_boto3(self.root)
                from botocore.config import Config

                config = Config(max_pool_connections=_CONNECTIONS)
                self._client = boto3.session.Session().client("s3", config=config)
            return self._client

    @contextmanager
    def _reporting(self, action: str, path: str) -> Iterator[None]:
        """Turn exceptions of boto3 and of the network into an `OutputError`.

        botocore raises ValueError if the endpoint is not a URL.
        """
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, HTTPClientError

        try:
            yield
        except (
            _client_error(),
            BotoCoreError,
            Boto3Error,
            HTTPClientError,
            OSError,
            ValueError,
        ) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise OutputError(
                f"cannot {action} {f'{self.root}/{path}'!r}: {reason}; check the bucket, "
                "AWS_ENDPOINT_URL and the credentials in the environment, then run the same "
                "command again: committed data is kept"
            ) from error


def _import_boto3(root: str) -> Any:  # noqa: ANN401 - boto3 publishes no types
    try:
        import boto3
    except ImportError as error:
        raise missing("boto3", f"{root!r}") from error
    return boto3


def _client_error() -> type[Exception]:
    from botocore.exceptions import ClientError

    found: type[Exception] = ClientError
    return found


def _code(error: Exception) -> str:
    response: Any = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))
