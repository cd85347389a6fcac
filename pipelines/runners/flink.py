"""Flink's REST API, as far as a run needs it: find its job, see how it fares, stop or cancel it."""

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
_LOOK_SECONDS = 1.0
_RUNNING = ("CREATED", "INITIALIZING", "RUNNING", "RESTARTING")
_ENDED = ("CANCELED", "FAILED", "FINISHED")
_WAITING = ("created", "scheduled")
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class FlinkJob:
    """A job as its JobManager lists it: id, state, and how many tasks still wait for a slot."""

    id: str
    state: str
    waiting_tasks: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether it will not run again."""
        return self.state in _ENDED


@dataclass(frozen=True, slots=True)
class Failure:
    """The newest failure of a job: when (milliseconds since 1970), and Java's stack trace."""

    time: int
    trace: str


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of a job: how many are complete, and the one to go on from.

    `newest` is None where there is none, or where Flink deletes it when the job is cancelled.
    """

    completed: int
    newest: str | None


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of a cluster: all, free ones, and the TaskManagers that they belong to."""

    total: int
    free: int
    taskmanagers: int


@dataclass(frozen=True, slots=True)
class FlinkCluster:
    """A Flink cluster's REST API at `address`, such as `http://localhost:8081`."""

    address: str

    def find_job(self, name: str) -> str | None:
        """Return the id of the job called `name` that is running or about to; None without one."""
        found = self.newest_job(name)
        return found.id if found is not None and not found.has_ended else None

    def newest_job(self, name: str) -> FlinkJob | None:
        """Return the job called `name`, where there are several the newest; one that runs first."""
        jobs = [job for job in self._call("/jobs/overview")["jobs"] if job["name"] == name]
        if not jobs:
            return None
        newest = max(jobs, key=lambda job: (job["state"] in _RUNNING, job["start-time"]))
        tasks = newest.get("tasks", {})
        waiting = sum(int(tasks.get(state, 0)) for state in _WAITING)
        return FlinkJob(str(newest["jid"]), str(newest["state"]), waiting)

    def slots(self, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> Slots:
        """Return how large the cluster is.

        :raises RunnerError: if nothing answers, or what answers is not Flink.
        """
        found = self._call("/overview", timeout_seconds=timeout_seconds)
        try:
            return Slots(found["slots-total"], found["slots-available"], found["taskmanagers"])
        except (KeyError, TypeError):
            raise RunnerError(
                f"what answers at {self.address} is not Flink's REST API; see that --flink_master "
                "names the JobManager and its REST port"
            ) from None

    def checkpoints(self, job: str) -> Checkpoints:
        """Return the checkpoints of a job."""
        found = self._call(f"/jobs/{job}/checkpoints")
        kept = self._call(f"/jobs/{job}/checkpoints/config").get("externalization", {})
        newest = None
        if kept.get("enabled") and not kept.get("delete_on_cancellation"):
            latest = found["latest"]
            # Before its first checkpoint a job can go back to the one that it was started from.
            last = latest.get("completed") or latest.get("restored") or {}
            newest = None if last.get("discarded") else last.get("external_path")
        return Checkpoints(int(found["counts"]["completed"]), newest)

    def failure(self, job: str) -> Failure | None:
        """Return the newest failure of a job, None where it never failed."""
        found = self._call(f"/jobs/{job}/exceptions?maxExceptions=1")
        entries = found.get("exceptionHistory", {}).get("entries", [])
        if not entries:
            return None
        return Failure(int(entries[0]["timestamp"]), str(entries[0]["stacktrace"]))

    def completed_checkpoints(self, job: str) -> int:
        """Return how many checkpoints of a job are complete; 0 where it makes none."""
        try:
            return int(self._call(f"/jobs/{job}/checkpoints")["counts"]["completed"])
        except RunnerError as error:
            if error.missing:
                return 0
            raise

    def request_cancel(self, job: str) -> None:
        """Ask for the end of a job, and do not wait for it."""
        self._call(f"/jobs/{job}?mode=cancel", method="PATCH")

    def has_ended(self, job: str) -> bool:
        """Whether a job runs no more, and none of its tasks is being ended."""
        return self._call(f"/jobs/{job}")["state"] in _ENDED

    def stop_with_savepoint(
        self,
        job: str,
        *,
        timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> str:
        """Stop a job once what is in flight is done; return where its state was saved.

        :raises RunnerError: if Flink refuses, fails, or does not end in time.
        """
        until = clock() + timeout_seconds
        # Of a job whose tasks are still starting, Flink would refuse to keep the state.
        while not self._is_running(job) and clock() < until:
            sleep(_LOOK_SECONDS)
        trigger = self._call(f"/jobs/{job}/stop", {"drain": False})["request-id"]
        while clock() < until:
            try:
                answer = self._call(f"/jobs/{job}/savepoints/{trigger}")
            except RunnerError:  # it may be under way all the same
                sleep(_LOOK_SECONDS)
                continue
            if answer["status"]["id"] == "COMPLETED":
                operation = answer["operation"]
                if "location" in operation:
                    return str(operation["location"])
                cause = operation.get("failure-cause", {}).get("class", "no reason given")
                raise RunnerError(
                    f"Flink could not stop job {job} with a savepoint ({cause}); it goes on, and "
                    "its JobManager's log says why"
                )
            sleep(_LOOK_SECONDS)
        raise RunnerError(
            f"Flink did not stop job {job} within {timeout_seconds:g} s; it may still do so: look "
            f"at {self.address}"
        )

    def _is_running(self, job: str) -> bool:
        """Whether every task of a job runs."""
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
                f"Flink's REST API at {self.address} does not answer ({_cause(error)}); see that "
                "--flink_master names the JobManager and its REST port"
            ) from error
        if not isinstance(found, dict):
            raise RunnerError(f"what answers at {self.address} is not Flink's REST API")
        return cast("dict[str, Any]", found)


def _cause(error: Exception) -> str:
    """Return why a server did not answer, without what it may have sent."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, OSError):
        return cause.strerror or str(cause) or type(cause).__name__
    return "what answers there is no HTTP server of Flink's"
