"""Object store in S3 or a compatible server, written with conditional PUT.

boto3 finds the endpoint, region and credentials: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID
and AWS_SECRET_ACCESS_KEY, a profile, or the machine's role. See docs/decisions/0020.
"""

from collections.abc import Iterator
from typing import Any

from schemas.errors import ConflictError
from worker.storage.buckets import TAIL_BYTES, BucketObjects, Tail
from worker.storage.objects import ObjectState, Stored
from worker.system.extras import missing

_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_MISSING = ("NoSuchKey", "404", "NotFound")
_CONNECTIONS = 32
"""As many as threads may ask at once; beyond these a request opens one that is not kept."""


class S3Objects(BucketObjects):
    """The object store at `s3://BUCKET/PREFIX`; an object's version is its ETag."""

    scheme = "s3"
    advice = "AWS_ENDPOINT_URL and the credentials in the environment"

    def get(self, path: str) -> Stored | None:
        """Return an object; None if it does not exist."""
        with self._reporting("read", path):
            found = self._get(path)
            return None if found is None else Stored(found["Body"].read(), found["ETag"])

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        """Store an object if its current version is `over`."""
        condition = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over}
        with self._reporting("write", path):
            try:
                done = self._connected().put_object(
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

    def remove(self, path: str) -> None:
        """Remove an object."""
        with self._reporting("remove", path):
            self._connected().delete_object(Bucket=self.bucket, Key=self._key(path))

    def _get(self, path: str, **options: str) -> Any:  # noqa: ANN401
        try:
            return self._connected().get_object(Bucket=self.bucket, Key=self._key(path), **options)
        except _client_error() as error:
            if _code(error) in _MISSING:
                return None
            raise

    def _tail(self, path: str) -> Tail | None:
        try:
            found = self._get(path, Range=f"bytes=-{TAIL_BYTES}")
        except _client_error() as error:
            if _code(error) in ("InvalidRange", "416"):
                return Tail(b"", 0, "")
            raise
        if found is None:
            return None
        data = found["Body"].read()
        size = int(found.get("ContentRange", f"/{len(data)}").rpartition("/")[2])
        return Tail(data, size, found["ETag"])

    def _range(self, path: str, begin: int, end: int, version: str) -> bytes:
        found = self._connected().get_object(
            Bucket=self.bucket,
            Key=self._key(path),
            Range=f"bytes={begin}-{end - 1}",
            IfMatch=version,
        )
        data: bytes = found["Body"].read()
        return data

    def _list(self, prefix: str) -> Iterator[tuple[str, ObjectState]]:
        paginator = self._connected().get_paginator("list_objects_v2")
        for page in paginator.paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/"):
            for item in page.get("Contents", ()):
                yield item["Key"], ObjectState(item["Size"], item["ETag"], settled=True)

    def _library(self) -> Any:  # noqa: ANN401
        try:
            import boto3
        except ImportError as error:
            raise missing("boto3", f"{self.root!r}") from error
        return boto3

    def _connect(self) -> Any:  # noqa: ANN401
        from botocore.config import Config

        config = Config(max_pool_connections=_CONNECTIONS)
        return self._library().session.Session().client("s3", config=config)

    def _errors(self) -> tuple[type[Exception], ...]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, HTTPClientError

        return (_client_error(), BotoCoreError, Boto3Error, HTTPClientError)


def _client_error() -> type[Exception]:
    from botocore.exceptions import ClientError

    found: type[Exception] = ClientError
    return found


def _code(error: Exception) -> str:
    response: Any = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))
