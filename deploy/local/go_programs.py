"""Programs that Go builds from their published source, once, into .cache."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import CACHE
from trouble import LocalError


def build(module: str, version: str, *, what: str) -> Path:
    """Return the program of a Go module, built where that was not done before.

    :raises LocalError: Go is missing, or the build fails.
    """
    name = module.rpartition("/")[2]
    folder = CACHE / name / version
    program = folder / name
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise LocalError(f"Go is needed to build {what}; install it from https://go.dev/dl")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"building {name} {version} (a minute or two)", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build.") as building:
        done = subprocess.run(
            [go, "install", f"{module}@{version}"],
            env={**os.environ, "GOBIN": building},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise LocalError(f"go install {module}@{version} failed: {said[-1][:300]}")
        (Path(building) / name).replace(program)
    return program
