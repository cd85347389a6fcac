"""Which store of objects a folder or URL names."""

from pathlib import Path

from schemas.errors import OutputError
from worker.storage.locations import credentials_refusal, has_credentials
from worker.storage.objects import Objects

CONDITIONAL = ("a folder of this machine", "s3://", "gs://")
"""Where an object is put only if nobody replaced it in between."""


def is_conditional(root: str) -> bool:
    """Whether a writer at `root` is told that another one came between."""
    return "://" not in root or root.startswith(("file://", "s3://", "gs://"))


def expanded(root: str) -> str:
    """Return a folder or URL with the home for a `~` at a folder's begin.

    :raises OutputError: if there is no such home.
    """
    if not root.startswith("~"):
        return root
    try:
        return str(Path(root).expanduser())
    except RuntimeError as error:
        raise OutputError(f"cannot open {root!r}: {error}; give the folder's whole name") from error


def refuse_secrets(root: str) -> None:
    """Refuse a URL with a password in it, without saying it.

    :raises OutputError: if it is one.
    """
    if has_credentials(root):
        raise OutputError(credentials_refusal(root))


def open_objects(root: str) -> Objects:
    """Return the objects below `root`: a folder, or an s3://, gs:// or other URL.

    Where `is_conditional` is false they can only be read. `~` at a folder's begin is the user's
    home.

    :raises OutputError: if what opens such URLs is not installed, a password is in the URL, or
        there is no such home.
    """
    refuse_secrets(root)
    if root.startswith("s3://"):
        from worker.storage.s3 import S3Objects

        return S3Objects(root)
    if root.startswith("gs://"):
        from worker.storage.gcs import GcsObjects

        return GcsObjects(root)
    if "://" in root and not root.startswith("file://"):
        from worker.storage.fsspec_objects import ReadObjects

        return ReadObjects(root)
    from worker.storage.disk import DiskObjects

    return DiskObjects(Path(expanded(root).removeprefix("file://")).absolute())
