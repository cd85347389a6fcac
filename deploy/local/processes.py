"""Processes that outlive the command that starts them, each known by a PID file and a mark.

The mark, an environment variable, is inherited: so whatever a service started is found and ended
with it, and the PID of another, later process is never taken for it.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trouble import LocalError

_MARK = "PUBNER_LOCAL_SERVICE"
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Service:
    """A process of `folder`: its PID lies in `NAME.pid`, what it prints in `logs/NAME.log`."""

    folder: Path
    name: str

    @property
    def pid_file(self) -> Path:
        """The file that holds its PID."""
        return self.folder / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        """The file that takes its standard output and error."""
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def mark(self) -> str:
        """What it and all that it starts have in their environment."""
        return f"{_MARK}={self.folder}/{self.name}"

    def pid(self) -> int | None:
        """Return its PID, or None where it does not run."""
        try:
            pid = int(self.pid_file.read_text("ascii"))
        except (OSError, ValueError):
            return None
        return pid if _has_mark(pid, self.mark) else None

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start it in a session of its own; `environment` is added to this process's."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        name, _, value = self.mark.partition("=")
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **(environment or {}), name: value},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # while a program is being loaded, it has no environment yet
        while process.poll() is None and not _has_mark(process.pid, self.mark):
            time.sleep(0.001)
        self.pid_file.write_text(f"{process.pid}\n", "ascii")

    def wait_until(self, ready: Callable[[], bool], *, timeout_seconds: float = 90) -> None:
        """Wait until `ready` returns true, and say so on a terminal.

        :raises LocalError: the process ended, or the time is over.
        """
        deadline = time.monotonic() + timeout_seconds
        told = not sys.stderr.isatty()
        while not ready():
            if not told:
                print(f"waiting for {self.name}", file=sys.stderr, flush=True)
                told = True
            if self.pid() is None:
                raise LocalError(f"{self.name} ended at once: {self._last_words()}")
            if time.monotonic() > deadline:
                raise LocalError(
                    f"{self.name} does not answer after {timeout_seconds:.0f} s; see {self.log}"
                )
            time.sleep(_POLL_SECONDS)

    def others(self) -> list[int]:
        """Return the PIDs of what it started and still runs, itself not among them."""
        own = self.pid()
        return [pid for pid in _marked(self.mark) if pid != own]

    def stop(self, *, grace_seconds: float = 20) -> None:
        """End it and all that it started: SIGTERM first, SIGKILL after `grace_seconds`."""
        deadline = time.monotonic() + grace_seconds
        for pid in _marked(self.mark):
            _send(pid, signal.SIGTERM)
        while left := _marked(self.mark):
            for pid in left:
                if time.monotonic() > deadline:
                    _send(pid, signal.SIGKILL)
                _reap(pid)
            time.sleep(_POLL_SECONDS)
        self.pid_file.unlink(missing_ok=True)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self.log.read_text("utf-8", "replace").splitlines()
            said = [line for line in lines if line.strip() and not line.startswith("\tat ")]
            return f"{said[-1][:300] if said else 'it said nothing'} (see {self.log})"
        return f"see {self.log}"


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold `folder` against other commands of its kind until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _marked(mark: str) -> list[int]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in pids if _has_mark(pid, mark)]


def _has_mark(pid: int, mark: str) -> bool:
    try:  # a zombie has no environment
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
