"""The line between a pipeline's steps and the command that runs it."""

import os
import pickle
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from pipelines.monitor import Monitor, RunStoppedError, open_desk
from schemas.errors import OutputError


def ticks() -> Callable[[], float]:
    """Return a clock that moves one second a look."""
    seconds = count()
    return lambda: float(next(seconds))


def filled(monitor: Monitor) -> Iterator[str]:
    monitor.report(models=1)
    yield "loaded"
    monitor.report(citations=6, input_bytes=10)
    monitor.report(citations=2, records_in_place=1500)


def test_counts_add_up_and_time_begins_with_the_model() -> None:
    with open_desk(ticks()) as desk:
        monitor = pickle.loads(pickle.dumps(desk.monitor))
        monitor.report(input_bytes=5)
        assert desk.annotating_seconds() == 0
        list(filled(monitor))
    assert desk.counts == {"models": 1, "citations": 8, "input_bytes": 15, "records_in_place": 1500}
    assert desk.annotating_seconds() == 2
    assert desk.error() is None


def test_a_stop_is_seen_by_every_step() -> None:
    with open_desk(ticks()) as desk:
        desk.monitor.check()
        desk.stop()
        for _ in range(2):
            with pytest.raises(RunStoppedError), desk.monitor.watching():
                desk.monitor.check()
    assert isinstance(desk.error(), RunStoppedError)


@pytest.mark.parametrize(
    ("error", "kind"), [(OutputError("full é"), OutputError), (ValueError("odd"), None)]
)
def test_the_first_error_is_kept_if_it_is_ours(error: Exception, kind: type | None) -> None:
    with open_desk(ticks()) as desk:
        for each in (error, OutputError("later")):
            with pytest.raises(type(each)), desk.monitor.watching():
                raise each
    found = desk.error()
    assert desk.failure == (type(error).__name__, str(error))
    assert found is None if kind is None else (type(found), str(found)) == (kind, str(error))


def test_a_failure_counts_more_than_the_stop_that_came_before_it() -> None:
    with open_desk(ticks()) as desk:
        for error in (RunStoppedError("asked"), OutputError("no room")):
            with pytest.raises(type(error)), desk.monitor.watching():
                raise error
    assert str(desk.error()) == "no room"


def test_a_monitor_elsewhere_does_nothing() -> None:
    with open_desk(ticks()) as desk:
        here = desk.monitor
        elsewhere = Monitor(here.process + 1, here.report_to, here.stop_from)
        desk.stop()
        for monitor in (Monitor(), elsewhere):
            monitor.check()
            monitor.report(citations=1)
    assert desk.counts == {}


def test_a_line_that_nobody_reads_costs_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    monitor = Monitor(os.getpid(), writer, reader)
    for _ in range(10_000):
        monitor.report(citations=1)
    os.close(reader)
    monitor.report(citations=1)
    os.close(writer)


def test_a_long_message_still_arrives() -> None:
    with open_desk(ticks()) as desk:
        desk.monitor.failed(OutputError("\x00é" * 5000))
    error = desk.error()
    assert isinstance(error, OutputError)
    assert str(error).startswith("\x00é")
