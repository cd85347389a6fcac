"""The commands of a local server of objects: up, down, status."""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from machine import default_folder
from processes import Service, only_one
from trouble import LocalError


class ObjectServer(Protocol):
    """A server of buckets in a folder."""

    folder: Path
    service: Service

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs in its environment."""

    def up(self, *, port: int | None, bucket: str) -> None:
        """Start it where it does not run, with `bucket`."""

    def down(self) -> None:
        """Stop it; its data stay."""


def run(
    words: list[str],
    make: Callable[[Path], ObjectServer],
    *,
    name: str,
    description: str | None,
    holds: str,
    default_port: int,
) -> int:
    """Run the command `name` and return its exit status; `holds` says what is in its folder."""
    parser = argparse.ArgumentParser(prog=name, description=description)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it; the last line is the environment for clients")
    down = commands.add_parser("down", help="stop it; its data stay")
    status = commands.add_parser("status", help="print that line; exit status 3 where it is down")
    for command in (up, down, status):
        command.add_argument("--folder", type=Path, default=default_folder(name), help=holds)
    up.add_argument(
        "--port", type=int, help=f"0 takes a free one (default: as before, else {default_port})"
    )
    up.add_argument("--bucket", default="pubner", help="a bucket to make")
    down.add_argument("--erase", action="store_true", help="delete the folder too")
    asked = parser.parse_args(words)
    server = make(asked.folder.absolute())
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
        print(f"deploy/local/{name}: {error}", file=sys.stderr)
        return 2
    return 0
