"""Servers of object stores, for the time of a test or a module."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import pytest


class Server(Protocol):
    """A server that can be started and stopped."""

    def up(self) -> None:
        """Start it."""

    def down(self) -> None:
        """Stop it."""


S = TypeVar("S", bound=Server)


def skip_without_go() -> None:
    """Skip the test where the servers cannot be built; in CI they must be."""
    if shutil.which("go") is None and not os.environ.get("CI"):
        pytest.skip("go is not installed: it is needed to build the servers")


@contextmanager
def running(server: S) -> Iterator[S]:
    """Start a server, and stop it in the end."""
    try:
        server.up()
        yield server
    finally:
        server.down()
