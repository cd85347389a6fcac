"""A real S3 server, started by deploy/local, and what lies in it."""

from collections.abc import Mapping
from pathlib import Path

from schemas.arrow import KINDS
from tests.support.services import local
from worker.storage.opening import open_objects

BUCKET = "pubner-tests"


class S3Server:
    """A server of its own in `folder`, with one bucket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: Mapping[str, str] = {}

    def up(self) -> None:
        """Start it where it does not run, on a port of its own."""
        said = local("s3", "up", f"--folder={self.folder}", "--port=0", f"--bucket={BUCKET}")
        last = said.splitlines()[-1]
        self.environment = dict(word.split("=", 1) for word in last.split())

    def down(self) -> None:
        """Stop it with its data."""
        local("s3", "down", f"--folder={self.folder}", "--erase")

    def url(self, path: str) -> str:
        """Return the URL of a path in the bucket."""
        return f"s3://{BUCKET}/{path}"


def download(root: str, folder: Path) -> Path:
    """Copy the data sets of an output at `root`, and nothing else, to a folder."""
    objects = open_objects(root)
    for kind in KINDS:
        (folder / kind).mkdir(parents=True)
        for name in objects.names(kind):
            found = objects.get(f"{kind}/{name}")
            assert found is not None
            (folder / kind / name).write_bytes(found.data)
    return folder


def count_files(root: str) -> int:
    """Return how many objects the data sets have."""
    objects = open_objects(root)
    return sum(len(objects.names(kind)) for kind in KINDS)


def versions(root: str) -> dict[str, str]:
    """Return the version of each object of the data sets."""
    objects = open_objects(root)
    paths = [f"{kind}/{name}" for kind in KINDS for name in objects.names(kind)]
    found = {path: objects.get(path) for path in paths}
    return {path: stored.version for path, stored in found.items() if stored is not None}
