"""Which store of objects a folder or URL names."""

from pathlib import Path

from worker.objects.base import Objects

CONDITIONAL = ("a folder of this machine", "s3://", "gs://")
"""Where an object is put only if nobody replaced it in between."""


def is_conditional(root: str) -> bool:
    """Whether a writer at `root` is told that another one came between."""
    return "://" not in root or root.startswith(("file://", "s3://", "gs://"))


def open_objects(root: str) -> Objects:
    """Return the objects below `root`: a folder, or an s3://, gs:// or other URL.

    Where `is_conditional` is false they can only be read.

    :raises OutputError: if what opens such URLs is not installed.
    """
    if root.startswith("s3://"):
        from worker.objects.s3 import S3Objects

        return S3Objects(root)
    if root.startswith("gs://"):
        from worker.objects.gcs import GcsObjects

        return GcsObjects(root)
    if "://" in root and not root.startswith("file://"):
        from worker.objects.reading import ReadObjects

        return ReadObjects(root)
    from worker.objects.disk import DiskObjects

    return DiskObjects(Path(root.removeprefix("file://")).absolute())
