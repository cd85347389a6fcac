"""Runs of `pubner stream` in a process of its own, on any runner."""

import json
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.commands import Finished, Running, start_pubner
from tests.support.services import Flink
from tests.support.stream_check import rows_in_place

BLOCK_SIZE = 500
FLUSH_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 240


@dataclass(frozen=True, slots=True)
class Runner:
    """A runner's name and Beam's options for it."""

    name: str
    beam: tuple[str, ...] = ()

    def parallel(self, parallelism: int) -> "Runner":
        """Return it with the parallelism that a job shall have."""
        return Runner(self.name, (*self.beam, f"--parallelism={parallelism}"))

    def resumed_from(self, place: str) -> "Runner":
        """Return it with the state that a job shall begin with."""
        return Runner(self.name, (*self.beam, f"--savepoint_path={place}"))


DIRECT = Runner("DirectRunner")


def flink_runner(cluster: Flink, *, checkpoint_ms: int = 2000) -> Runner:
    """Return the runner of a cluster, whose jobs checkpoint often."""
    options = (*cluster.options, f"--checkpointing_interval={checkpoint_ms}")
    return Runner("FlinkRunner", options)


@dataclass(frozen=True, slots=True)
class Stream:
    """What a stream reads and writes, whatever runs it; `folder` takes output and logs."""

    folder: Path
    bootstrap: str
    topics: tuple[str, ...]
    checkpoint: Path | None
    block_size: int = BLOCK_SIZE
    group: str = "pubner"
    registry: Path | None = None
    """Where the active checkpoint is, instead of `checkpoint`."""
    options: tuple[str, ...] = ()

    @property
    def output(self) -> Path:
        """The folder of the Parquet files."""
        return self.folder / "out"

    def words(self, runner: Runner, *options: str) -> list[str]:
        """Return the words of the command."""
        return [
            "stream",
            f"--brokers={self.bootstrap}",
            f"--topic={','.join(self.topics)}",
            f"--group={self.group}",
            f"--output={self.output}",
            f"--registry={self.registry}" if self.registry else f"--checkpoint={self.checkpoint}",
            f"--block-size={self.block_size}",
            f"--flush-seconds={FLUSH_SECONDS}",
            f"--json={self.folder / 'summary.json'}",
            "--threads=1",
            f"--runner={runner.name}",
            *self.options,
            *options,
            "--",
            *runner.beam,
        ]

    def start(self, runner: Runner, *options: str) -> Running:
        """Start it."""
        return start_pubner(self.folder / "log", *self.words(runner, *options))

    def catch_up(self, runner: Runner) -> dict[str, Any]:
        """Run it up to the ends that the topics have now; return its summary."""
        return self.ended(self.start(runner, "--until-caught-up").finish())

    def drain(self, running: Running) -> dict[str, Any]:
        """Ask a running one to end; return its summary."""
        running.send(signal.SIGTERM)
        return self.ended(running.finish())

    def ended(self, finished: Finished) -> dict[str, Any]:
        """Check that it ended well; return its summary."""
        assert finished.code == 0, finished.err
        assert "Traceback" not in finished.err
        summary: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return summary

    def said(self) -> str:
        """Return what the newest command has written to standard error."""
        return (self.folder / "log" / "stderr").read_text(errors="replace")

    def wait_for_rows(self, count: int, running: Running) -> None:
        """Wait until that many positions have a row."""
        wait_until(lambda: rows_in_place(self.output) >= count, running)


def wait_until(
    condition: Callable[[], bool],
    running: Running | None = None,
    *,
    look_seconds: float = _LOOK_SECONDS,
    what: str = "what was awaited",
    report: Callable[[], str] = lambda: "",
) -> None:
    """Wait until `condition` holds, for minutes at most, or until the command ends."""
    wait_for_count(
        lambda: int(condition()), lambda: 1, running,
        look_seconds=look_seconds, what=what, report=report,
    )  # fmt: skip


def wait_for_count(
    count: Callable[[], int],
    goal: Callable[[], int],
    running: Running | None = None,
    *,
    look_seconds: float = _LOOK_SECONDS,
    what: str = "what was awaited",
    report: Callable[[], str] = lambda: "",
) -> None:
    """Wait until `count` has reached `goal`, or until the command ends.

    It fails when `count` has stayed the same for minutes, and says then what `report` tells: a
    machine that is slow is waited for, a stalled stream is not.
    """
    reached, deadline = -1, 0.0
    while (now := count()) < goal():
        if running is not None and not running.is_alive:
            raise AssertionError(f"pubner ended: {running.finish().err}")
        if now != reached:
            reached, deadline = now, time.monotonic() + _PATIENCE_SECONDS
        assert time.monotonic() < deadline, f"{what} did not come; {report()}"
        time.sleep(look_seconds)


def resume_words(summary: dict[str, Any]) -> Sequence[str]:
    """Return the words of the command that the summary names to go on with."""
    import shlex

    words = shlex.split(summary["resume"])
    assert words[0] == "pubner"
    return words[1:]
