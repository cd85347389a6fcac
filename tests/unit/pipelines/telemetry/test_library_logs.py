"""What libraries log, print and leave uncaught: not on standard error."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipelines.telemetry.library_logs import LIBRARIES, quiet, silence_libraries


@pytest.fixture(autouse=True)
def _as_before(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Give back what is silenced to the process's end."""
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    before = [logger.level for logger in loggers], threading.excepthook, sys.stderr
    threading.excepthook = threading.__excepthook__
    yield
    for logger, level in zip(loggers, before[0], strict=True):
        logger.setLevel(level)
    _, threading.excepthook, sys.stderr = before


def function_of(module: str, code: str) -> Callable[[], Any]:
    """Return a function `act` as a module of that name would have it."""
    names: dict[str, Any] = {"__name__": module}
    exec(f"import sys\ndef act():\n    {code}", names)
    act: Callable[[], Any] = names["act"]
    return act


def in_thread(act: Callable[[], Any]) -> None:
    """Run it in a thread to the thread's end."""
    thread = threading.Thread(target=act, name="one")
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("module", "shown"),
    [
        ("apache_beam.runners.worker.sdk_worker", False),
        ("grpc._channel", False),
        ("kafka.net.selector", False),
        ("kafkaesque", True),
        ("pipelines.runtime.stream", True),
    ],
)
@pytest.mark.parametrize("code", ["print('a trace', file=sys.stderr)", "raise OSError('a trace')"])
def test_only_what_is_not_a_library_s_is_shown(
    module: str, code: str, shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    silence_libraries()
    in_thread(function_of(module, code))
    assert ("a trace" in capsys.readouterr().err) is shown


def test_an_error_of_ours_in_a_step_that_beam_runs_is_beam_s(
    capsys: pytest.CaptureFixture[str],
) -> None:
    silence_libraries()
    ours = function_of("pipelines.output.writer", "raise OSError('full')")
    beam = function_of("apache_beam.runners.worker", "step()")
    beam.__globals__["step"] = ours
    in_thread(beam)
    assert capsys.readouterr().err == ""


def test_their_loggers_are_silent_to_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as at a process's end
    with quiet():
        logging.getLogger("kafka.cluster").error("Metadata refresh: failed")
    logging.getLogger("kafka.cluster").error("Metadata refresh: failed")
    logging.getLogger("apache_beam.runners").error("lost")
    assert capsys.readouterr().err == ""


def test_twice_is_once() -> None:
    silence_libraries()
    hook, stream = threading.excepthook, sys.stderr
    silence_libraries()
    assert threading.excepthook is hook
    assert sys.stderr is stream


def test_standard_error_stays_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    silence_libraries()
    print("one", "two", file=sys.stderr, flush=True)
    sys.stderr.writelines(["three\n"])
    assert sys.stderr.encoding.lower() == "utf-8"
    assert not sys.stderr.isatty()
    assert capsys.readouterr().err == "one two\nthree\n"
