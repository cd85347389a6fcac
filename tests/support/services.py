"""The real Kafka and the real Flink that tests run against, started by deploy/local."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.root import ROOT

LOCAL = ROOT / "deploy" / "local"
_TIMEOUT_SECONDS = 500
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Security:
    """What deploy/local/kafka says of its secure listeners."""

    bootstrap: str
    mtls_bootstrap: str
    mechanisms: Sequence[str]
    username: str
    password_file: str
    ca_file: str
    certificate_file: str
    key_file: str

    @property
    def password(self) -> str:
        """The password of `username`."""
        return Path(self.password_file).read_text("ascii").strip()


class Kafka:
    """A broker of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bootstrap = ""

    def up(self, *options: str) -> None:
        """Start it where it does not run, on a port of its own."""
        said = local("kafka", "up", f"--folder={self.folder}", "--port=0", *options)
        self.bootstrap = said.splitlines()[-1]

    def down(self) -> None:
        """Stop it; its data stay."""
        local("kafka", "down", f"--folder={self.folder}")

    @property
    def pid(self) -> int:
        """The PID of the broker."""
        return int((self.folder / "kafka.pid").read_text("ascii"))

    @property
    def security(self) -> Security:
        """Its secure listeners."""
        return Security(**json.loads((self.folder / "secure.json").read_text("utf-8")))

    def kill(self) -> None:
        """Kill the broker, which gets no time to end in order."""
        kill(self.pid)

    def restart(self) -> None:
        """Start it again with its data, on the same port."""
        self.up()


class Flink:
    """A cluster of its own in `folder`, or, `embedded`, only a job server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def up(self, *options: str, environment: Mapping[str, str] | None = None) -> str:
        """Start what does not run, on free ports; return the last line printed."""
        ports = [f"--{name}-port=0" for name in ("rest", "jobserver", "workerpool")]
        said = local(
            "flink", "up", f"--folder={self.folder}", *ports, *options, environment=environment
        )
        return said.splitlines()[-1]

    def down(self) -> None:
        """Stop it with all that it started."""
        local("flink", "down", f"--folder={self.folder}")

    def start(self, name: str) -> None:
        """Start a process that was killed: workerpool, jobmanager, taskmanager-N or jobserver."""
        local("flink", "start", name, f"--folder={self.folder}")

    def kill(self, name: str) -> None:
        """Kill a process by its name; `worker` is each Python process of the worker pool."""
        pids = self.workers() if name == "worker" else [self.pid(name)]
        assert pids, f"no {name} runs"
        for pid in pids:
            kill(pid)

    def pid(self, name: str) -> int:
        """Return the PID of a process."""
        return int((self.folder / f"{name}.pid").read_text("ascii"))

    def workers(self) -> list[int]:
        """Return the PIDs of the Python processes of the worker pool."""
        said = local("flink", "status", f"--folder={self.folder}", statuses=(0, 3))
        words = (line.split() for line in said.splitlines())
        return [int(pid) for name, pid in words if name == "worker"]

    @property
    def options(self) -> list[str]:
        """What a pipeline needs to run here, as Beam's options."""
        options: list[str] = self._description["options"]
        return options

    @property
    def rest(self) -> str:
        """The URL of Flink's REST API; an embedded one has none."""
        url: str = self._description["rest"]
        return url

    def metrics(self, name: str = "taskmanager-1") -> str:
        """Return what Flink's Prometheus reporter says in a process."""
        return get(self._description["prometheus"][name]).decode()

    def jobs(self) -> dict[str, str]:
        """Return the state of each job that the JobManager knows."""
        found = json.loads(get(f"{self.rest}/jobs"))
        return {job["id"]: job["status"] for job in found["jobs"]}

    def trouble(self, job: str) -> str:
        """Return what Flink says of the failures of a job, the newest first."""
        return get(f"{self.rest}/jobs/{job}/exceptions?maxExceptions=3").decode()

    def cancel(self, job: str) -> None:
        """Cancel a job, and wait until it is."""
        urllib.request.urlopen(
            urllib.request.Request(f"{self.rest}/jobs/{job}?mode=cancel", method="PATCH"),
            timeout=30,
        ).close()
        deadline = time.monotonic() + 60
        while self.jobs()[job] not in ("CANCELED", "FINISHED", "FAILED"):
            assert time.monotonic() < deadline, self.jobs()
            time.sleep(_POLL_SECONDS)

    def newest_checkpoint(self, job: str | None = None) -> Path | None:
        """Return the newest complete checkpoint, of `job` or of any; None where there is none."""
        found = (self.folder / "checkpoints").glob(f"{job or '*'}/chk-*/_metadata")
        files = sorted(found, key=lambda file: file.stat().st_mtime_ns)
        return files[-1].parent if files else None

    @property
    def _description(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "flink.json").read_text("utf-8"))
        return found


def local(
    program: str,
    *words: str,
    environment: Mapping[str, str] | None = None,
    statuses: Sequence[int] = (0,),
) -> str:
    """Run a command of deploy/local and return what it prints; fail on another exit status."""
    done = run_local(program, *words, environment=environment)
    assert done.returncode in statuses, done.stderr
    return done.stdout


def run_local(
    program: str, *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of deploy/local."""
    return subprocess.run(
        [str(LOCAL / program), *words],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )


def processes_of(folder: Path) -> list[int]:
    """Return the PIDs of all processes that deploy/local started for `folder`."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            if f"PUBNER_LOCAL_SERVICE={folder}/".encode() in (place / "environ").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return found


def kill(pid: int) -> None:
    """Kill a process, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} outlives SIGKILL"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def get(url: str) -> bytes:
    """Return what an HTTP server answers."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        body: bytes = answer.read()
        return body
