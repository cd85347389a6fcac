"""A client of Flink's REST API: finds a job, reads its state, stops or cancels it."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from schemas.errors import RunnerError

_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 1.0
_RUNNING = ("CREATED", "INITIALIZING", "RUNNING", "RESTARTING")
_ENDED = ("CANCELED", "FAILED", "FINISHED")
_WAITING = ("created", "scheduled")
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class FlinkJob:
    """A job as listed by the JobManager: id, state, and the number of tasks waiting for a slot."""

    id: str
    state: str
    waiting_tasks: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether the job has reached a final state."""
        return self.state in _ENDED


@dataclass(frozen=True, slots=True)
class Failure:
    """The newest failure of a job: its time (milliseconds since 1970) and Java stack trace."""

    time: int
    trace: str


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of a job: the number of completed ones, and the path of the newest.

    `newest` is None if there is none, or if Flink deletes it when the job is cancelled.
    """

    completed: int
    newest: str | None


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of a cluster: total, free, and the number of TaskManagers."""

    total: int
    free: int
    taskmanagers: int


@dataclass(frozen=True, slots=True)
class FlinkCluster:
    """A Flink cluster's REST API at `address`, such as `http://localhost:8081`."""

    address: str

    def find_job(self, name: str) -> str | None:
        """Return the id of the job called `name` that has not ended; None without one."""
        found = self.newest_job(name)
        return found.id if found is not None and not found.has_ended else None

    def newest_job(self, name: str) -> FlinkJob | None:
        """Return the newest job called `name`, preferring one that has not ended."""
        jobs = [job for job in self._call("/jobs/overview")["jobs"] if job["name"] == name]
        if not jobs:
            return None
        newest = max(jobs, key=lambda job: (job["state"] in _RUNNING, job["start-time"]))
        tasks = newest.get("tasks", {})
        waiting = sum(int(tasks.get(state, 0)) for state in _WAITING)
        return FlinkJob(str(newest["jid"]), str(newest["state"]), waiting)

    def slots(self, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> Slots:
        """Return the slots of the cluster.

        :raises RunnerError: if there is no answer, or not one of Flink's.
        """
        found = self._call("/overview", timeout_seconds=timeout_seconds)
        try:
            return Slots(found["slots-total"], found["slots-available"], found["taskmanagers"])
        except (KeyError, TypeError):
            raise RunnerError(
                f"the server at {self.address} is not Flink's REST API; check that "
                "--flink_master names the JobManager and its REST port"
            ) from None

    def checkpoints(self, job: str) -> Checkpoints:
        """Return the checkpoints of a job."""
        found = self._call(f"/jobs/{job}/checkpoints")
        kept = self._call(f"/jobs/{job}/checkpoints/config").get("externalization", {})
        newest = None
        if kept.get("enabled") and not kept.get("delete_on_cancellation"):
            latest = found["latest"]
            # Before its first checkpoint, a job can be restored from the one it was started from.
            last = latest.get("completed") or latest.get("restored") or {}
            newest = None if last.get("discarded") else last.get("external_path")
        return Checkpoints(int(found["counts"]["completed"]), newest)

    def failure(self, job: str) -> Failure | None:
        """Return the newest failure of a job; None if it never failed."""
        found = self._call(f"/jobs/{job}/exceptions?maxExceptions=1")
        entries = found.get("exceptionHistory", {}).get("entries", [])
        if not entries:
            return None
        return Failure(int(entries[0]["timestamp"]), str(entries[0]["stacktrace"]))

    def completed_checkpoints(self, job: str) -> int:
        """Return the number of completed checkpoints of a job; 0 if checkpointing is off."""
        try:
            return int(self._call(f"/jobs/{job}/checkpoints")["counts"]["completed"])
        except RunnerError as error:
            if error.missing:
                return 0
            raise

    def request_cancel(self, job: str) -> None:
        """Request the cancellation of a job, without waiting for it."""
        self._call(f"/jobs/{job}?mode=cancel", method="PATCH")

    def has_ended(self, job: str) -> bool:
        """Whether a job has ended, including all of its tasks."""
        return self._call(f"/jobs/{job}")["state"] in _ENDED

    def stop_with_savepoint(
        self,
        job: str,
        *,
        timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> str:
        """Stop a job after what is in flight is done; return the path of its savepoint.

        :raises RunnerError: if Flink refuses, fails, or exceeds the timeout.
        """
        until = clock() + timeout_seconds
        # Flink refuses a savepoint of a job whose tasks are still starting.
        while not self._is_running(job) and clock() < until:
            sleep(_POLL_SECONDS)
        trigger = self._call(f"/jobs/{job}/stop", {"drain": False})["request-id"]
        while clock() < until:
            try:
                answer = self._call(f"/jobs/{job}/savepoints/{trigger}")
            except RunnerError:  # the savepoint may be in progress nevertheless
                sleep(_POLL_SECONDS)
                continue
            if answer["status"]["id"] == "COMPLETED":
                operation = answer["operation"]
                if "location" in operation:
                    return str(operation["location"])
                cause = operation.get("failure-cause", {}).get("class", "no reason given")
                raise RunnerError(
                    f"Flink could not stop job {job} with a savepoint ({cause}); it keeps running, "
                    "and its JobManager's log has the reason"
                )
            sleep(_POLL_SECONDS)
        raise RunnerError(
            f"Flink did not stop job {job} within {timeout_seconds:g} s; it may still do so: check "
            f"{self.address}"
        )

    def _is_running(self, job: str) -> bool:
        """Whether every task of a job is running."""
        for known in self._call("/jobs/overview")["jobs"]:
            if known["jid"] == job:
                tasks = known.get("tasks", {})
                return bool(tasks.get("running", 0) == tasks.get("total", -1))
        return False

    def _call(
        self,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        method: str | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address is the user's own cluster
            self.address.rstrip("/") + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise RunnerError(
                f"Flink's REST API at {self.address} answers {path} with status {error.code} "
                f"({error.reason})",
                missing=error.code == _NOT_FOUND,
            ) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise RunnerError(
                f"Flink's REST API at {self.address} does not answer ({_cause(error)}); check that "
                "--flink_master names the JobManager and its REST port"
            ) from error
        if not isinstance(found, dict):
            raise RunnerError(f"the server at {self.address} is not Flink's REST API")
        return cast("dict[str, Any]", found)


def _cause(error: Exception) -> str:
    """Return why a server did not answer, without the content of its response."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, OSError):
        return cause.strerror or str(cause) or type(cause).__name__
    return "the server there is not an HTTP server of Flink"
