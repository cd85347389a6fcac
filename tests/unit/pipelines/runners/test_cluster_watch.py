"""What is told of a job on a cluster, and when it is hopeless: on a clock of the test's own."""

import pytest

from pipelines.runners.cluster_watch import JobWatch, failure_text
from pipelines.runners.flink import Failure, FlinkJob, Slots
from schemas.errors import RunnerError

JOB = FlinkJob("j1", "RUNNING")
WAITING = FlinkJob("j1", "RUNNING", waiting_tasks=3)
FREE = Slots(total=4, free=2, taskmanagers=2)
NONE = Slots(total=4, free=0, taskmanagers=2)
UNREACHABLE = (
    "java.lang.Exception: open() caused an exception: StatusRuntimeException: UNAVAILABLE\n"
    "\tat org.apache.beam.ExternalEnvironmentFactory.createEnvironment(E.java:113)\n"
    "Caused by: java.net.ConnectException: Connection refused: /127.0.0.1:9\n"
)
BROKEN = "java.lang.RuntimeException: OutputError: cannot write 'out'\n\tat a.B.c(B.java:1)\n"


class Told:
    """A watch and the lines that it told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.watch = JobWatch(self.lines.append, pool="pool:50000")

    def look(
        self,
        now: float,
        job: FlinkJob = JOB,
        failure: Failure | None = None,
        slots: Slots = FREE,
        *,
        progressed: bool = False,
    ) -> RunnerError | None:
        return self.watch.observe(job, failure, slots, now, progressed=progressed)


def test_a_job_that_is_well_is_not_told_of() -> None:
    told = Told()
    assert [told.look(float(now)) for now in range(300)] == [None] * 300
    assert told.lines == []


def test_a_failure_is_told_of_once() -> None:
    told = Told()
    for now in range(50):
        assert told.look(float(now), failure=Failure(1, BROKEN)) is None
    [line] = told.lines
    assert "Flink job j1 failed and is restarted by Flink" in line
    assert "OutputError: cannot write 'out'" in line


def test_the_same_failure_again_and_again_is_told_of_now_and_then() -> None:
    told = Told()
    for now in range(0, 121, 5):
        told.look(float(now), failure=Failure(1 + now, BROKEN), progressed=True)
    assert len(told.lines) == 3


def test_one_that_goes_on_failing_before_it_did_anything_is_hopeless() -> None:
    told = Told()
    for now in range(0, 60, 5):
        assert told.look(float(now), failure=Failure(1 + now, UNREACHABLE)) is None
    error = told.look(60.0, failure=Failure(61, UNREACHABLE))
    assert error is not None
    assert "13 times in 60 s" in str(error)
    assert "the worker pool at pool:50000 (--environment_config) cannot be reached" in str(error)


def test_two_slow_failures_or_others_in_between_are_not_hopeless() -> None:
    told = Told()
    assert told.look(0.0, failure=Failure(1, BROKEN)) is None
    assert told.look(400.0, failure=Failure(2, BROKEN)) is None
    assert told.look(410.0, failure=Failure(3, UNREACHABLE)) is None
    assert told.look(420.0, failure=Failure(4, BROKEN)) is None
    assert told.look(440.0, failure=Failure(5, BROKEN)) is None


def test_one_that_has_a_checkpoint_is_left_to_flink() -> None:
    told = Told()
    for now in range(0, 600, 5):
        assert told.look(float(now), failure=Failure(1 + now, BROKEN), progressed=True) is None


def test_without_slots_it_is_told_in_seconds_and_ended_in_the_end() -> None:
    told = Told()
    assert told.look(0.0, WAITING, slots=NONE) is None
    assert told.lines == []
    assert told.look(3.0, WAITING, slots=NONE) is None
    wanted = "3 tasks wait for a slot, and 0 of the cluster's 4 are free (2 TaskManagers)"
    assert told.lines == [f"Flink job j1 does not run yet: {wanted}"]
    assert told.look(119.0, WAITING, slots=NONE) is None
    error = told.look(120.0, WAITING, slots=NONE)
    assert error is not None
    assert wanted in str(error)
    assert len(told.lines) == 1


def test_one_that_ran_waits_for_its_taskmanager_without_end() -> None:
    told = Told()
    assert told.look(0.0) is None
    assert told.look(1000.0, WAITING, slots=NONE) is None
    assert told.look(2000.0, WAITING, slots=NONE) is None


def test_a_job_that_takes_its_place_is_watched_anew() -> None:
    told = Told()
    for now in (0.0, 30.0):
        told.look(now, failure=Failure(int(now) + 1, BROKEN))
    other = FlinkJob("j2", "RUNNING")
    assert told.look(70.0, other, failure=Failure(90, BROKEN)) is None
    assert told.look(80.0, other, failure=Failure(91, BROKEN)) is None


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        (UNREACHABLE, "the worker pool at p:1 (--environment_config) cannot be reached"),
        (BROKEN, "OutputError: cannot write 'out'"),
        ("", "no reason given"),
    ],
)
def test_failures_in_words(trace: str, words: str) -> None:
    assert words in failure_text(trace, "p:1")


@pytest.mark.parametrize(
    "python",
    [
        "ModuleNotFoundError: No module named 'pipelines.drain'",
        "AttributeError: Can't get attribute 'Mark' on <module 'pipelines.kafka.source' from 'x'>",
    ],
)
def test_state_of_another_version_ends_the_job_at_once_and_says_how_to_cross(python: str) -> None:
    trace = f"java.lang.RuntimeException: Error received from SDK harness: Traceback\n{python}\n"
    told = Told()
    error = told.look(1.0, failure=Failure(1, trace))
    assert error is not None
    assert "another version of pubner" in str(error)
    assert "start the stream without it" in str(error)
    own = f"java.lang.RuntimeException: ModuleNotFoundError: No module named 'boto3'\n{BROKEN}"
    assert Told().look(1.0, failure=Failure(1, own)) is None
