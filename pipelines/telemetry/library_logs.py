"""Silences the logs and tracebacks of libraries on standard error, until the process ends.

A library's failure is raised, or reported by the step that it ended, and shown in one line. The
libraries also log it, Beam's in-process workers print tracebacks, and daemon threads of Beam crash
at interpreter shutdown, when the runner is stopped before them.
"""

import inspect
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, TextIO, cast

LIBRARIES = ("apache_beam", "grpc", "kafka")
"""Packages that log an error for what they retry, and raise what they do not retry."""


def silence_libraries() -> None:
    """Silence the logs, standard error output and thread crashes of `LIBRARIES`."""
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if not isinstance(threading.excepthook, _ThreadErrors):
        threading.excepthook = _ThreadErrors(threading.excepthook)
    if not isinstance(sys.stderr, _WithoutLibraries):
        sys.stderr = cast("TextIO", _WithoutLibraries(sys.stderr))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries, and all logs on standard error until the block ends.

    For a command that reports an error in one line.
    """
    silence_libraries()
    root = logging.getLogger()
    level, silent = root.level, logging.NullHandler()
    root.addHandler(silent)
    root.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(silent)


@contextmanager
def beam_logging(*, verbose: bool) -> Iterator[None]:
    """Show Beam's log on standard error, or silence it so that errors stay one line."""
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
        yield
        return
    with quiet():
        yield


def is_library(logger_or_module: str) -> bool:
    """Return whether a logger or a module belongs to one of `LIBRARIES`."""
    return logger_or_module.split(".")[0] in LIBRARIES


@dataclass(frozen=True, slots=True)
class _ThreadErrors:
    """A `threading.excepthook` that ignores the errors of libraries' threads."""

    pass_on: Callable[[threading.ExceptHookArgs], object]

    def __call__(self, ended: threading.ExceptHookArgs) -> None:
        step = ended.exc_traceback
        while step is not None and _module(step.tb_frame) == threading.__name__:
            step = step.tb_next
        if step is None or not is_library(_module(step.tb_frame)):
            self.pass_on(ended)


@dataclass(frozen=True, slots=True)
class _WithoutLibraries:
    """Standard error, without the output of functions of libraries."""

    stream: TextIO

    def write(self, text: str) -> int:
        frame = inspect.currentframe()
        if frame is not None and frame.f_back is not None and is_library(_module(frame.f_back)):
            return len(text)
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a stream has
        return getattr(self.stream, name)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
