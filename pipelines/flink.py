"""Flink's REST API, as far as a running stream needs it: find its job, stop it with a savepoint."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from schemas.errors import PubnerError

_TIMEOUT_SECONDS = 30.0
_LOOK_SECONDS = 1.0
_RUNNING = ("CREATED", "INITIALIZING", "RUNNING", "RESTARTING")


@dataclass(frozen=True, slots=True)
class FlinkCluster:
    """A Flink cluster's REST API at `address`, such as `http://localhost:8081`."""

    address: str

    def find_job(self, name: str) -> str | None:
        """Return the id of the job called `name` that is running or about to; None without one."""
        jobs = self._call("/jobs/overview")["jobs"]
        found = [job for job in jobs if job["name"] == name and job["state"] in _RUNNING]
        found.sort(key=lambda job: job["start-time"])
        return str(found[-1]["jid"]) if found else None

    def stop_with_savepoint(
        self,
        job: str,
        *,
        timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> str:
        """Stop a job once what is in flight is done; return where its state was saved.

        :raises PubnerError: if Flink refuses, fails, or does not end in time.
        """
        until = clock() + timeout_seconds
        # Of a job whose tasks are still starting, Flink would refuse to keep the state.
        while not self._is_running(job) and clock() < until:
            sleep(_LOOK_SECONDS)
        trigger = self._call(f"/jobs/{job}/stop", {"drain": False})["request-id"]
        while clock() < until:
            try:
                answer = self._call(f"/jobs/{job}/savepoints/{trigger}")
            except PubnerError:  # it may be under way all the same
                sleep(_LOOK_SECONDS)
                continue
            if answer["status"]["id"] == "COMPLETED":
                operation = answer["operation"]
                if "location" in operation:
                    return str(operation["location"])
                cause = operation.get("failure-cause", {}).get("class", "no reason given")
                raise PubnerError(
                    f"Flink could not stop job {job} with a savepoint ({cause}); it goes on, and "
                    "its JobManager's log says why"
                )
            sleep(_LOOK_SECONDS)
        raise PubnerError(
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

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address is the user's own cluster
            self.address.rstrip("/") + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
                return cast("dict[str, Any]", json.load(answer))
        except (OSError, ValueError) as error:
            raise PubnerError(
                f"Flink's REST API at {self.address} does not answer {path}: {error}; see that "
                "--flink_master names the JobManager"
            ) from error
