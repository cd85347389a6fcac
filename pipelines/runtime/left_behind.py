"""The job that keeps running on a cluster after a second signal has ended the command."""

from dataclasses import dataclass

from pipelines.telemetry.logs import log_at_once


@dataclass(slots=True)
class RemainingJob:
    """The runner's job that may outlive the command, and where to find it."""

    flink_rest: str | None = None
    in_process: bool = True
    flink_job: str | None = None

    def log(self) -> None:
        """Log what remains; safe to call in a signal handler."""
        if self.in_process:
            log_at_once(
                "ended at once: what was in flight is abandoned and not committed; the next run of "
                "the group reads it again"
            )
        elif self.flink_job is None:
            log_at_once("ended at once; the runner's job may keep running, check the runner")
        else:
            log_at_once(
                "ended at once; the Flink job keeps running until its savepoint is complete, whose "
                "path is then shown as latest.savepoint.external_path",
                flink_job=self.flink_job,
                see=f"{self.flink_rest}/jobs/{self.flink_job}/checkpoints",
            )
