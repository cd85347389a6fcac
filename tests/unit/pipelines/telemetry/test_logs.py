"""What a stream says of itself."""

import io
import json
import logging
import time

import pytest

from pipelines.telemetry.logs import PlainFormatter, log, logging_periodically, logging_to


def test_elsewhere_than_on_a_terminal_each_line_is_json() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        log("progress", lag=3, topic="α")
        logging.getLogger("some.library").error("broken: %s", 1)
        logging.getLogger("some.library").info("not shown")
        logging.getLogger("apache_beam").error("not shown either")
    log("after")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["progress", "broken: 1"]
    assert (lines[0]["lag"], lines[0]["topic"], lines[0]["level"]) == (3, "α", "info")
    assert lines[0]["time"].endswith("+00:00")


def test_what_takes_long_is_said_again_and_again() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        with logging_periodically("starting", seconds=0.01):
            time.sleep(0.2)
        count = len(stream.getvalue().splitlines())
        time.sleep(0.1)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {(line["event"], line["seconds"]) for line in lines} == {("starting", 0)}
    assert len(lines) == count > 1


def test_verbose_shows_what_beam_says() -> None:
    stream = io.StringIO()
    with logging_to(stream, verbose=True):
        logging.getLogger("apache_beam.x").info("a stage")
    assert "a stage" in stream.getvalue()


def test_an_exception_is_in_the_line() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        try:
            int("why")
        except ValueError:
            logging.getLogger("x").exception("it failed")
    assert "ValueError: invalid literal" in json.loads(stream.getvalue())["error"]


def test_levels_are_given_back(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.getLogger().level, logging.getLogger("apache_beam").level
    with logging_to(io.StringIO()):
        pass
    assert (logging.getLogger().level, logging.getLogger("apache_beam").level) == before


def test_people_get_words() -> None:
    record = logging.LogRecord("pubner", logging.INFO, "", 0, "written", None, None)
    record.fields = {"blocks": 12345, "done": True, "run_id": "x"}
    assert PlainFormatter().format(record) == "written, blocks 12,345, done True, run id x"
