"""A stream on Flink under load, and what is done to it when a part of it is gone."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.load import Load
from tests.support.commands import Running, start_pubner
from tests.support.services import Flink, Kafka
from tests.support.stream_check import (
    Output,
    check_committed,
    check_stream,
    read_output,
    rows_in_place,
)
from tests.support.stream_runs import (
    Runner,
    Stream,
    flink_runner,
    resume_words,
    wait_for_count,
    wait_until,
)

_SETTLE_SECONDS = 0.2
_SHOWN = 8
_LOG_SHOWN = 4000


@dataclass
class Scene:
    """All that a kill may want: broker, cluster, load, and the running command."""

    kafka: Kafka
    flink: Flink
    stream: Stream
    load: Load
    running: Running | None = field(default=None, init=False)

    @property
    def runner(self) -> Runner:
        """The cluster as a runner."""
        return flink_runner(self.flink)

    def start(self, runner: Runner | None = None) -> None:
        """Start the command."""
        self.running = self.stream.start(runner or self.runner)

    def rows(self) -> int:
        """Return how many positions are written."""
        return rows_in_place(self.stream.output)

    def wait_for_progress(self, count: int = 300, *, what: str = "progress") -> None:
        """Wait until `count` more positions are written."""
        goal = self.rows() + count
        self._wait_for_rows(lambda: goal, what=what)

    def wait_until(self, condition: Callable[[], bool], *, what: str) -> None:
        """Wait until `condition` holds, while the command goes on."""
        wait_until(
            condition,
            self.running,
            look_seconds=_SETTLE_SECONDS,
            what=what,
            report=self._report,
        )

    def catch_up(self) -> None:
        """Wait until every message that was sent has its row, however long while rows come."""
        self._wait_for_rows(lambda: self.load.count, what="catching up")

    def kill_launcher(self) -> None:
        """Kill the command; its job goes on."""
        if self.running is not None:
            self.running.send(signal.SIGKILL)
            self.running.finish()
            self.running = None

    def stop_and_resume(self) -> None:
        """Stop with a savepoint, and go on with the command that is named then."""
        assert self.running is not None
        summary = self.stream.drain(self.running)
        words = resume_words(summary)
        self.running = start_pubner(self.stream.folder / "log", *words)

    def running_jobs(self) -> list[str]:
        """The jobs that have not ended."""
        ended = ("CANCELED", "FINISHED", "FAILED")
        return [job for job, state in self.flink.jobs().items() if state not in ended]

    def newest_checkpoint(self, job: str | None = None, *, behind: Path | None = None) -> Path:
        """Return the newest checkpoint, of `job` or of any, once one comes behind `behind`."""
        self.wait_until(
            lambda: self.flink.newest_checkpoint(job) not in (None, behind), what="a checkpoint"
        )
        place = self.flink.newest_checkpoint(job)
        assert place is not None
        return place

    def check(self) -> Output:
        """Hold the load, let the stream catch up, and check all of the output."""
        with self.load.held():
            self.catch_up()
            return check_stream(
                self.stream.output,
                self.load.sender.ledger,
                block_size=self.stream.block_size,
                running=True,
            )

    def finish(self, *, at_least: int = 0) -> Output:
        """End the load, let the stream catch up, stop it, and check all; offsets too.

        Before that, what is missing to a load of `at_least` messages is sent.
        """
        self.load.stop()
        self.load.fill(at_least)
        self.catch_up()
        assert self.running is not None
        self._wait_for_commits()
        self.stream.drain(self.running)
        self.running = None
        found = check_stream(
            self.stream.output, self.load.sender.ledger, block_size=self.stream.block_size
        )
        check_committed(self.kafka.bootstrap, self.stream.group, self.stream.topics)
        return found

    def close(self) -> None:
        """End the command and every job, whatever happened."""
        self.kill_launcher()
        for job in self.running_jobs():
            self.flink.cancel(job)

    def _wait_for_rows(self, goal: Callable[[], int], *, what: str) -> None:
        wait_for_count(
            self.rows,
            goal,
            self.running,
            look_seconds=_SETTLE_SECONDS,
            what=what,
            report=self._report,
        )

    def _report(self) -> str:
        """Report what tells why the stream is stalled."""
        found = read_output(self.stream.output, block_size=self.stream.block_size, problems=[])
        places = found.citations.keys() | found.dead_letters.keys()
        missing = sorted({x.place for x in self.load.sender.ledger} - places)
        said = [
            f"{self.rows()} rows of {self.load.count} messages",
            f"missing: {missing[:_SHOWN]} to {missing[-1:]}",
            f"jobs: {self.flink.jobs()}",
            *(self.flink.trouble(job) for job in self.running_jobs()),
            self.stream.said()[-_LOG_SHOWN:],
        ]
        return "\n".join(said)

    def _wait_for_commits(self) -> None:
        def committed() -> bool:
            try:
                check_committed(self.kafka.bootstrap, self.stream.group, self.stream.topics)
            except AssertionError:
                return False
            return True

        self.wait_until(committed, what="the last commit")
