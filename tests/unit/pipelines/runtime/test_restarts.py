"""Restarting a stalled job: what the cluster is asked, where the new job begins, what is told."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition

from pipelines.graphs.stream_plan import Positions
from pipelines.runners.flink import FlinkCluster
from pipelines.runtime.restarts import Restarter
from pipelines.runtime.stall import StallWatch
from schemas.errors import RunnerError
from tests.support.flink_api import FlinkApi, flink_api

POSITIONS = Positions({TopicPartition("t", 0): 5}, {TopicPartition("t", 0): 12})
PLACE = "file:/checkpoints/j1/chk-7"
KEPT = {"enabled": True, "delete_on_cancellation": False}
LONG_AGO = 10_000.0


@pytest.fixture
def api() -> Iterator[FlinkApi]:
    """A cluster with the job j1, which has a checkpoint and never failed."""
    with flink_api() as found:
        found.add_job("mine", "RUNNING", "j1", running=3, total=3)
        checkpoints(found, "j1", PLACE)
        yield found


def checkpoints(api: FlinkApi, job: str, place: str | None, *, kept: object = KEPT) -> None:
    newest = None if place is None else {"external_path": place, "discarded": False}
    api.answers[f"/jobs/{job}/checkpoints"] = {
        "counts": {"completed": int(place is not None)},
        "latest": {"completed": newest, "restored": None},
    }
    api.answers[f"/jobs/{job}/checkpoints/config"] = {"externalization": kept}
    history: dict[str, object] = {"exceptionHistory": {"entries": []}}
    api.answers[f"/jobs/{job}/exceptions?maxExceptions=1"] = history


class Submitted:
    """A restarter of the job, where it was submitted from, and a clock that its waits move."""

    def __init__(self, api: FlinkApi) -> None:
        self.api = api
        self.places: list[str | None] = []
        self.now = 0.0
        self.refusal: RunnerError | None = None
        self.restarter = Restarter(
            FlinkCluster(api.address),
            "mine",
            StallWatch(60.0),
            check=self.check,
            submit=self.submit,
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    def check(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def submit(self, place: str | None) -> Any:
        self.places.append(place)
        name = f"j{len(self.places) + 1}"
        self.api.add_job("mine", "RUNNING", name, running=3, total=3)
        checkpoints(self.api, name, None)
        return SimpleNamespace(name=name)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def look(self, after: float) -> Any:
        self.now += after
        return self.restarter.restart_if_stalled(POSITIONS, self.now)


def test_it_is_cancelled_and_goes_on_from_its_checkpoint(
    api: FlinkApi, caplog: pytest.LogCaptureFixture
) -> None:
    submitted = Submitted(api)
    assert submitted.look(0.0) is None
    assert submitted.look(119.0) is None
    with caplog.at_level(logging.INFO, logger="pubner"):
        assert submitted.look(1.0).name == "j2"
    assert submitted.places == [PLACE]
    assert ("PATCH", "/jobs/j1?mode=cancel") in api.asked
    assert submitted.restarter.watch.restarts == 1
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.__dict__["fields"] == {
        "flink_job": "j1",
        "seconds": 120,
        "lag": 7,
        "restarted_from": PLACE,
        "restart": 1,
    }


@pytest.mark.parametrize(
    ("place", "kept"), [(None, KEPT), (PLACE, KEPT | {"delete_on_cancellation": True}), (PLACE, {})]
)
def test_without_a_checkpoint_that_stays_it_begins_at_the_group_s_offsets(
    api: FlinkApi, place: str | None, kept: object
) -> None:
    checkpoints(api, "j1", place, kept=kept)
    submitted = Submitted(api)
    submitted.look(0.0)
    assert submitted.look(LONG_AGO).name == "j2"
    assert submitted.places == [None]


def test_if_that_does_not_help_either_it_is_an_error(api: FlinkApi) -> None:
    submitted = Submitted(api)
    submitted.look(0.0)
    for _ in range(3):
        assert submitted.look(LONG_AGO) is not None
        assert submitted.look(1.0) is None
    with pytest.raises(RunnerError, match=r"j4 is stalled: .* 7 messages wait, after 3 restarts"):
        submitted.look(LONG_AGO)
    assert submitted.places == [PLACE, None, None]


def test_nothing_is_cancelled_while_nobody_would_take_the_new_job(
    api: FlinkApi, caplog: pytest.LogCaptureFixture
) -> None:
    submitted = Submitted(api)
    submitted.look(0.0)
    submitted.refusal = RunnerError("no job server")
    assert submitted.look(LONG_AGO) is None
    assert "cannot be restarted yet" in caplog.records[-1].getMessage()
    assert [method for method, _ in api.asked if method != "GET"] == []
    submitted.refusal = None
    assert submitted.look(10.0).name == "j2"


def test_a_job_that_takes_long_to_be_cancelled_is_left_behind_where_there_are_slots(
    api: FlinkApi,
) -> None:
    submitted = Submitted(api)
    api.cancelled = "CANCELLING"
    api.answers["/overview"] = {"slots-total": 2, "slots-available": 1, "taskmanagers": 1}
    submitted.look(0.0)
    before = submitted.now + LONG_AGO
    assert submitted.look(LONG_AGO).name == "j2"
    assert submitted.now - before == 30.0


def test_without_slots_it_is_waited_for_and_given_up(api: FlinkApi) -> None:
    submitted = Submitted(api)
    api.cancelled = "CANCELLING"
    api.answers["/overview"] = {"slots-total": 1, "slots-available": 0, "taskmanagers": 1}
    submitted.look(0.0)
    with pytest.raises(RunnerError, match="did not cancel the stalled job j1 within 600 s"):
        submitted.look(LONG_AGO)
    assert submitted.places == []


def test_a_refusal_after_the_cancelling_says_how_to_go_on(api: FlinkApi) -> None:
    submitted = Submitted(api)

    def refuse(_: str | None) -> Any:
        raise RunnerError("the job server went away")

    submitted.restarter = Restarter(
        FlinkCluster(api.address), "mine", StallWatch(60.0), check=submitted.check, submit=refuse
    )
    submitted.look(0.0)
    with pytest.raises(RunnerError, match=f"went away.* `-- --savepoint_path={PLACE}`"):
        submitted.look(LONG_AGO)


def test_a_cluster_that_does_not_answer_is_no_stall(api: FlinkApi) -> None:
    submitted = Submitted(api)
    submitted.look(0.0)
    del api.answers["/jobs/j1/checkpoints"]
    assert submitted.look(LONG_AGO) is None
    checkpoints(api, "j1", PLACE)
    assert submitted.look(119.0) is None
    assert submitted.look(1.0).name == "j2"


def test_a_job_that_ended_is_not_restarted(api: FlinkApi) -> None:
    submitted = Submitted(api)
    submitted.look(0.0)
    api.jobs[0]["state"] = "FAILED"
    assert submitted.look(LONG_AGO) is None
    assert submitted.places == []
