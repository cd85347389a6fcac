"""A stand-in for Google Cloud Storage (fake-gcs-server). `deploy/local/gcs` runs it."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Final

from go_programs import build
from machine import check_free, default_folder, free_port, listens
from processes import Service, only_one
from trouble import LocalError

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
    parser = argparse.ArgumentParser(prog="gcs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it; the last line is the environment for clients")
    down = commands.add_parser("down", help="stop it; its data stay")
    status = commands.add_parser("status", help="print that line; exit status 3 where it is down")
    for command in (up, down, status):
        command.add_argument(
            "--folder", type=Path, default=default_folder("gcs"), help="data, logs and the port"
        )
    up.add_argument(
        "--port", type=int, help=f"0 takes a free one (default: as before, else {DEFAULT_PORT})"
    )
    up.add_argument("--bucket", default="pubner", help="a bucket to make")
    down.add_argument("--erase", action="store_true", help="delete the folder too")
    asked = parser.parse_args(words)
    server = Server(asked.folder.absolute())
    try:
        if asked.command == "status" and server.service.pid() is None:
            print("down")
            return 3
        if asked.command != "status":
            with only_one(server.folder):
                if asked.command == "up":
                    server.up(port=asked.port, bucket=asked.bucket)
                else:
                    server.down()
        if asked.command != "down":
            print(" ".join(f"{name}={value}" for name, value in server.environment.items()))
        elif asked.erase:
            shutil.rmtree(server.folder)
    except LocalError as error:
        print(f"deploy/local/gcs: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
