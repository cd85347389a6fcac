"""A server that speaks Google Cloud Storage's JSON API, started by deploy/local."""

from collections.abc import Mapping
from pathlib import Path

from tests.support.services import local

BUCKET = "pubner-tests"


class GcsServer:
    """A server of its own in `folder`, with one bucket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: Mapping[str, str] = {}

    def up(self) -> None:
        """Start it where it does not run, on a port of its own."""
        said = local("gcs", "up", f"--folder={self.folder}", "--port=0", f"--bucket={BUCKET}")
        last = said.splitlines()[-1]
        self.environment = dict(word.split("=", 1) for word in last.split())

    def down(self) -> None:
        """Stop it with its data."""
        local("gcs", "down", f"--folder={self.folder}", "--erase")

    def url(self, path: str) -> str:
        """Return the URL of a path in the bucket."""
        return f"gs://{BUCKET}/{path}"
