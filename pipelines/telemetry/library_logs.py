"""Keeps what libraries say by themselves off standard error, to the process's end.

What goes wrong in them is raised, or reported by the step it ended, and told in one line. Beside it
they log it, a worker of Beam that shares our process prints its traceback, and threads of theirs
that lose the runner, which at the process's end is stopped in no order of ours, end in an error
that nobody catches.
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
"""Packages that log as errors what they try again, and raise what they do not."""


def silence_libraries() -> None:
    """Let `LIBRARIES` log nothing, print nothing to standard error, and end threads in silence."""
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if not isinstance(threading.excepthook, _ThreadErrors):
        threading.excepthook = _ThreadErrors(threading.excepthook)
    if not isinstance(sys.stderr, _WithoutLibraries):
        sys.stderr = cast("TextIO", _WithoutLibraries(sys.stderr))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries, and keep all logs off standard error till the block ends.

    For a command whose user expects one clear line.
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


def is_library(logger_or_module: str) -> bool:
    """Return whether a logger or a module is of one of `LIBRARIES`."""
    return logger_or_module.split(".")[0] in LIBRARIES


@dataclass(frozen=True, slots=True)
class _ThreadErrors:
    """Passes on the errors that end threads, those of libraries' threads left out."""

    pass_on: Callable[[threading.ExceptHookArgs], object]

    def __call__(self, ended: threading.ExceptHookArgs) -> None:
        step = ended.exc_traceback
        while step is not None and _module(step.tb_frame) == threading.__name__:
            step = step.tb_next
        if step is None or not is_library(_module(step.tb_frame)):
            self.pass_on(ended)


@dataclass(frozen=True, slots=True)
class _WithoutLibraries:
    """Standard error, without what functions of libraries print to it."""

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
