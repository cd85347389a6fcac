"""Jars from Maven Central, fetched once and checked against a pinned list."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import java
from trouble import LocalError

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"


def fetch_jars(pom: Path, folder: Path) -> Path:
    """Return `folder` with what `pom` resolves to; what is there already is taken as it is.

    The list beside the POM (`.sha256`, in `sha256sum`'s format) names every file.

    :raises LocalError: Java or Maven is missing, Maven fails, or a file is not the pinned one.
    """
    pins = read_pins(pom.with_suffix(".sha256"))
    if folder.is_dir() and {path.name for path in folder.iterdir()} >= pins.keys():
        return folder
    java()  # Maven needs it too, and says in twenty lines what this says in one.
    if shutil.which("mvn") is None:
        raise LocalError(
            "Maven is not found, to fetch the jars; install it (e.g. apt install maven)"
        )
    print(
        f"fetching {len(pins)} jars from Maven Central into {folder}", file=sys.stderr, flush=True
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as name:
        fetched = Path(name) / "jars"
        command = [
            "mvn",
            "-B",
            "-q",
            "-Dstyle.color=never",
            "-f",
            str(pom),
            _COPY,
            f"-DoutputDirectory={fetched}",
        ]
        done = subprocess.run(
            [*command, "-DincludeScope=runtime"], stdin=subprocess.DEVNULL, stdout=sys.stderr
        )
        if done.returncode:
            raise LocalError(
                f"Maven failed on {pom} (above); check the network and Maven's settings"
            )
        check_pins(fetched, pins)
        put_in_place(fetched, folder)
    return folder


def read_pins(file: Path) -> dict[str, str]:
    """Return the SHA-256 of each file name that `file` lists."""
    lines = (line.split() for line in file.read_text("utf-8").splitlines())
    return {name: digest for digest, name in lines}


def check_pins(folder: Path, pins: dict[str, str]) -> None:
    """Check that `folder` holds the pinned files and no other.

    :raises LocalError: it does not.
    """
    found = {path.name: sha256(path) for path in folder.iterdir()}
    wrong = sorted(name for name in found.keys() | pins.keys() if found.get(name) != pins.get(name))
    if wrong:
        named = ", ".join(wrong[:5]) + (" and more" if len(wrong) > 5 else "")
        raise LocalError(
            f"what was fetched is not what is pinned in deploy/local: {named}; nothing was "
            "installed: check the mirror that Maven uses"
        )


def put_in_place(fetched: Path, folder: Path) -> None:
    """Move a fetched folder to its name, whatever an earlier or another run left there."""
    if folder.exists():
        folder.rename(fetched.with_name("old"))
    fetched.rename(folder)


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
