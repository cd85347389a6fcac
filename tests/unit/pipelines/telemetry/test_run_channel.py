"""The in-process channel between DoFns and the command that runs the pipeline."""

import copy
import inspect
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from pipelines.telemetry.run_channel import WorkerChannel, open_run_channel
from schemas.errors import (
    OutputError,
    PubnerError,
    RunStoppedError,
    UnexpectedError,
    family,
)


def ticks() -> Callable[[], float]:
    """Return a clock that moves one second a look."""
    seconds = count()
    return lambda: float(next(seconds))


def filled(channel: WorkerChannel) -> Iterator[str]:
    channel.report(models=1)
    yield "loaded"
    channel.report(citations=6, input_bytes=10)
    channel.report(citations=2, records_committed=1500)


def test_counts_add_up_and_time_begins_with_the_model() -> None:
    with open_run_channel(ticks()) as run_channel:
        channel = pickle.loads(pickle.dumps(run_channel.worker_side))
        channel.report(input_bytes=5)
        assert run_channel.annotating_seconds() == 0
        list(filled(channel))
    assert run_channel.counts == {
        "models": 1,
        "citations": 8,
        "input_bytes": 15,
        "records_committed": 1500,
    }
    assert run_channel.annotating_seconds() == 2
    assert run_channel.error() is None


def test_a_stop_is_seen_by_every_step() -> None:
    with open_run_channel(ticks()) as run_channel:
        run_channel.worker_side.check()
        run_channel.stop()
        for _ in range(2):
            with pytest.raises(RunStoppedError), run_channel.worker_side.watching():
                run_channel.worker_side.check()
    assert isinstance(run_channel.error(), RunStoppedError)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OutputError("full é"), OutputError, "full é"),
        (ValueError("odd"), UnexpectedError, "ValueError: odd"),
    ],
)
def test_the_first_error_is_kept(error: Exception, kind: type, message: str) -> None:
    with open_run_channel(ticks()) as run_channel:
        for each in (error, OutputError("later")):
            with pytest.raises(type(each)), run_channel.worker_side.watching():
                raise each
    found = run_channel.error()
    assert (type(found), str(found)) == (kind, message)


def test_a_failure_counts_more_than_the_stop_that_came_before_it() -> None:
    with open_run_channel(ticks()) as run_channel:
        for error in (RunStoppedError("asked"), OutputError("no room")):
            with pytest.raises(type(error)), run_channel.worker_side.watching():
                raise error
    assert str(run_channel.error()) == "no room"


def test_a_monitor_elsewhere_does_nothing() -> None:
    with open_run_channel(ticks()) as run_channel:
        here = run_channel.worker_side
        elsewhere = WorkerChannel(here.process + 1, here.report_to, here.stop_from)
        run_channel.stop()
        for channel in (WorkerChannel(), elsewhere):
            channel.check()
            channel.report(citations=1)
    assert run_channel.counts == {}


def test_a_line_that_nobody_reads_costs_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    channel = WorkerChannel(os.getpid(), writer, reader)
    for _ in range(10_000):
        channel.report(citations=1)
    os.close(reader)
    channel.report(citations=1)
    os.close(writer)


def test_a_long_message_arrives_whole_though_other_reports_come_in_between() -> None:
    message = '\x00é"\\\U0001f600\udc80' * 50_000
    with open_run_channel(ticks()) as run_channel:

        def report() -> None:
            for _ in range(100):
                run_channel.worker_side.report(citations=1)

        other = threading.Thread(target=report)
        other.start()
        run_channel.worker_side.failed(OutputError(message))
        other.join()
    error = run_channel.error()
    assert isinstance(error, OutputError)
    assert str(error) == message
    assert run_channel.counts["citations"] > 0


def every_error() -> list[PubnerError]:
    """Return an error of each class of the family, made as its constructor asks."""
    values: dict[str, object] = {
        "str": "no room in 'ü'",
        "int": 15,
        "Path": Path("/a/lock"),
        "bool": True,
        "BaseException": ValueError("odd"),
    }
    made = []
    for kind in family():
        if kind.__init__ is Exception.__init__:
            made.append(kind("no room in 'ü'"))
            continue
        given: list[object] = []
        named: dict[str, object] = {}
        for parameter in inspect.signature(kind).parameters.values():
            value = values[parameter.annotation.__name__]
            if parameter.kind == parameter.KEYWORD_ONLY:
                named[parameter.name] = value
            else:
                given.append(value)
        made.append(kind(*given, **named))
    return made


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_error_of_the_family_arrives_whole(error: PubnerError) -> None:
    with (
        open_run_channel(ticks()) as run_channel,
        pytest.raises(type(error)),
        run_channel.worker_side.watching(),
    ):
        raise error
    arrived = [run_channel.error(), pickle.loads(pickle.dumps(error)), copy.copy(error)]
    for found in arrived:
        assert type(found) is type(error)
        assert str(found) == str(error)
        assert found.exit_code == error.exit_code
        assert found.__dict__ == error.__dict__
