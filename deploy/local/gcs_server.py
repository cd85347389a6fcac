"""A stand-in for Google Cloud Storage (fake-gcs-server). `deploy/local/gcs` runs it."""

import sys
from pathlib import Path
from typing import Final

from go_programs import build
from machine import check_free, free_port, listens
from object_servers import run
from processes import Service

VERSION: Final = "v1.56.1"
MODULE: Final = "github.com/fsouza/fake-gcs-server"
DEFAULT_PORT: Final = 4443
HOST: Final = "127.0.0.1"


class Server:
    """The server of a folder: `data` with a folder a bucket, `logs`, `port`, `gcs.pid`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service = Service(folder, "gcs")

    @property
    def data(self) -> Path:
        """The folder of the buckets."""
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs in its environment; there are no keys."""
        return {"STORAGE_EMULATOR_HOST": f"http://{HOST}:{self._port()}"}

    def up(self, *, port: int | None, bucket: str) -> None:
        """Start it where it does not run, with `bucket`.

        :raises LocalError: it cannot be built or started.
        """
        program = build(MODULE, VERSION, what="the server for Google Cloud Storage")
        (self.data / bucket).mkdir(parents=True, exist_ok=True)
        if self.service.pid() is not None:
            return
        chosen = self._port() if port is None else port or free_port()
        check_free(chosen, "--port")
        (self.folder / "port").write_text(f"{chosen}\n", "ascii")
        self.service.start(
            [
                str(program),
                "-scheme=http",
                f"-host={HOST}",
                f"-port={chosen}",
                f"-external-url=http://{HOST}:{chosen}",
                "-backend=filesystem",
                f"-filesystem-root={self.data}",
                "-log-level=warn",
            ]
        )
        self.service.wait_until(lambda: listens(chosen))

    def down(self) -> None:
        """Stop it; its data stay."""
        self.service.stop()

    def _port(self) -> int:
        try:
            return int((self.folder / "port").read_text("ascii"))
        except FileNotFoundError:
            return DEFAULT_PORT


def main(words: list[str]) -> int:
    """Run the command and return its exit status."""
    return run(
        words,
        Server,
        name="gcs",
        description=__doc__,
        holds="data, logs and the port",
        default_port=DEFAULT_PORT,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
