"""Logs of a long-running command: plain lines on a terminal, JSON lines elsewhere."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.console import Console

from pipelines.telemetry.library_logs import LIBRARIES, is_library
from worker.cli.progress import LINE_SECONDS
from worker.cli.terminal import safe_json, safe_text
from worker.storage.locations import masked

LOGGER = "pubner"


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: `time` (UTC), `level`, `event`, the event's fields."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self.encoding = encoding

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for one record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return masked(safe_json(line, default=str, encoding=self.encoding))


class PlainFormatter(logging.Formatter):
    """Formats a record as a plain line: the event, then its fields as `name value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for one record."""
        fields = getattr(record, "fields", {})
        texts = [f"{_readable(name)} {_shown(value)}" for name, value in fields.items()]
        return masked(safe_text(", ".join([record.getMessage(), *texts])))


def log(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log `event` with its fields."""
    logging.getLogger(LOGGER).log(level, event, extra={"fields": fields})


@contextmanager
def logging_periodically(event: str, *, seconds: float = LINE_SECONDS) -> Iterator[None]:
    """Log `event` every `seconds` while the block runs, which may take long without a log."""
    ended = threading.Event()
    began = time.monotonic()

    def repeat() -> None:
        while not ended.wait(seconds):
            log(event, seconds=round(time.monotonic() - began))

    thread = threading.Thread(target=repeat, name="pubner-periodic-log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def log_at_once(event: str, **fields: object) -> None:
    """Write `event` from a signal handler, which may have interrupted a call of `logging`."""
    record = logging.makeLogRecord(
        {"msg": event, "levelno": logging.WARNING, "levelname": "WARNING", "fields": fields}
    )
    formatter = PlainFormatter() if Console(file=sys.stderr).is_terminal else JsonFormatter()
    os.write(2, formatter.format(record).encode() + b"\n")


@contextmanager
def logging_to(stream: TextIO | None = None, *, verbose: bool = False) -> Iterator[None]:
    """Log pubner's events and libraries' errors to standard error; with `verbose`, everything.

    On a terminal they are plain lines, elsewhere JSON.
    """
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    plain = Console(file=target).is_terminal
    encoding = target.encoding or "utf-8"
    handler.setFormatter(PlainFormatter() if plain else JsonFormatter(encoding))
    root, own = logging.getLogger(), logging.getLogger(LOGGER)
    # A filter, not levels: the code that connects to Kafka sets the levels itself.
    handler.addFilter(lambda record: verbose or not is_library(record.name))
    levels = {logger: logger.level for logger in (root, own)}
    for name in LIBRARIES if verbose else ():
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.addHandler(handler)
    root.setLevel(logging.INFO if verbose else logging.ERROR)
    own.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, level in levels.items():
            logger.setLevel(level)


def _readable(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
