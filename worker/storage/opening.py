"""Opens the object store that a folder or URL names."""

from pathlib import Path

from schemas.errors import OutputError
from worker.storage.locations import credentials_refusal, has_credentials, is_local
from worker.storage.objects import ListedObjects, Objects

CONDITIONAL = ("a folder of this machine", "s3://", "gs://")
"""The kinds of store that support conditional writes, as text for messages."""


def is_conditional(root: str) -> bool:
    """Whether the store at `root` supports conditional (compare-and-swap) writes."""
    return is_local(root) or root.startswith(("s3://", "gs://"))


def expanded(root: str) -> str:
    """Return a folder or URL; a leading `~` of a folder is replaced by the home folder.

    :raises OutputError: if there is no such home folder.
    """
    if not root.startswith("~"):
        return root
    try:
        return str(Path(root).expanduser())
    except RuntimeError as error:
        raise OutputError(f"cannot open {root!r}: {error}; give the folder's full path") from error


def refuse_secrets(root: str) -> None:
    """Refuse a URL that contains a password, without repeating the password.

    :raises OutputError: if it contains one.
    """
    if has_credentials(root):
        raise OutputError(credentials_refusal(root))


def open_objects(root: str) -> Objects:
    """Return the object store at `root`: a folder, or an s3://, gs:// or other URL.

    If `is_conditional(root)` is false, the store is read-only. A leading `~` of a folder is the
    user's home folder.

    :raises OutputError: if the package that opens such URLs is not installed, the URL contains a
        password, or there is no such home folder.
    """
    refuse_secrets(root)
    if is_local(root):
        from worker.storage.disk import DiskObjects

        return DiskObjects(Path(expanded(root).removeprefix("file://")).absolute())
    bucket = open_bucket(root)
    if bucket is not None:
        return bucket
    from worker.storage.fsspec_objects import ReadObjects

    return ReadObjects(root)


def open_bucket(root: str) -> ListedObjects | None:
    """Return the object store at an s3:// or gs:// URL; None for any other.

    :raises OutputError: if the package that opens such URLs is not installed.
    """
    if root.startswith("s3://"):
        from worker.storage.s3 import S3Objects

        return S3Objects(root)
    if root.startswith("gs://"):
        from worker.storage.gcs import GcsObjects

        return GcsObjects(root)
    return None
