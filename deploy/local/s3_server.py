"""An S3 server (Versity's gateway over a folder) on this machine. `deploy/local/s3` runs it."""

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Final

from go_programs import build
from machine import check_free, free_port, listens
from object_servers import run
from processes import Service

VERSION: Final = "v1.8.0"
MODULE: Final = "github.com/versity/versitygw/cmd/versitygw"
DEFAULT_PORT: Final = 7070
HOST: Final = "127.0.0.1"


class Server:
    """The server of a folder: `data` with a folder a bucket, `logs`, `credentials`, `s3.pid`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service = Service(folder, "s3")

    @property
    def data(self) -> Path:
        """The folder of the buckets."""
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs in its environment; the keys stay in a file."""
        return {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self._access()['port']}",
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "credentials"),
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def up(self, *, port: int | None, bucket: str) -> None:
        """Start it where it does not run, and make `bucket`.

        :raises LocalError: it cannot be built or started.
        """
        program = build(MODULE, VERSION, what="the S3 server")
        (self.data / bucket).mkdir(parents=True, exist_ok=True)
        if self.service.pid() is not None:
            return
        access = self._choose_access(port)
        check_free(int(access["port"]), "--port")
        self.service.start(
            [str(program), "--quiet", f"--port={HOST}:{access['port']}", "posix", str(self.data)],
            {
                "ROOT_ACCESS_KEY_ID": str(access["key"]),
                "ROOT_SECRET_ACCESS_KEY": str(access["secret"]),
            },
        )
        self.service.wait_until(lambda: listens(int(access["port"])))

    def down(self) -> None:
        """Stop it; its data stay."""
        self.service.stop()

    def _access(self) -> dict[str, str | int]:
        try:
            found: dict[str, str | int] = json.loads(self._access_file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return found

    def _choose_access(self, port: int | None) -> dict[str, str | int]:
        access = self._access() or {
            "port": DEFAULT_PORT,
            "key": "pubner",
            "secret": secrets.token_hex(20),
        }
        if port is not None:
            access["port"] = port or free_port()
        _write_secret(self._access_file, json.dumps(access))
        _write_secret(
            self.folder / "credentials",
            f"[default]\naws_access_key_id = {access['key']}\n"
            f"aws_secret_access_key = {access['secret']}\n",
        )
        return access

    @property
    def _access_file(self) -> Path:
        return self.folder / "access.json"


def _write_secret(path: Path, text: str) -> None:
    """Write a file that nobody else may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def main(words: list[str]) -> int:
    """Run the command and return its exit status."""
    return run(
        words,
        Server,
        name="s3",
        description=__doc__,
        holds="data, logs and access keys",
        default_port=DEFAULT_PORT,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
