"""What a second signal leaves behind: a job of the runner that goes on without the command."""

from dataclasses import dataclass

from pipelines.telemetry.logs import log_at_once


@dataclass(slots=True)
class GoesOn:
    """What goes on where the command ends before the runner's job does, and where to look."""

    flink_rest: str | None = None
    in_process: bool = True
    flink_job: str | None = None

    def say(self) -> None:
        """Log it, from within a signal handler."""
        if self.in_process:
            log_at_once(
                "ended at once: what was in flight is given up and not committed; the next run of "
                "the group does it"
            )
        elif self.flink_job is None:
            log_at_once("ended at once; the runner's job may go on, look for it there")
        else:
            log_at_once(
                "ended at once; Flink goes on: the job stops once its savepoint is made, whose "
                "place is then shown as latest.savepoint.external_path",
                flink_job=self.flink_job,
                see=f"{self.flink_rest}/jobs/{self.flink_job}/checkpoints",
            )
