"""What the local services take from this machine: ports, folders, Java."""

import contextlib
import os
import secrets
import shutil
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Final

from trouble import LocalError

CACHE: Final = Path(__file__).resolve().parents[2] / ".cache"
_FIRST_PORT: Final = 12_000
_PORTS: Final = 20_000
# For programs that log through slf4j-simple.
SIMPLE_LOGGING: Final = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)


def free_port(taken: Collection[int] = ()) -> int:
    """Return a TCP port that nothing listens on and that is not `taken`.

    It lies below those that Linux gives to outgoing connections: otherwise one of these, even that
    of a client which tries in vain, could hold the port of a service that is just being restarted.
    """
    while True:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in taken:
                return port


def check_free(port: int, what: str) -> None:
    """Check that nothing listens on `port`, which an option named `what` chooses.

    :raises LocalError: something does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LocalError(
                f"port {port} is taken ({error.strerror}); choose another with {what} "
                "(0 takes a free one)"
            ) from None


def listens(port: int) -> bool:
    """Return whether something on this machine takes connections to `port`."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def java() -> str:
    """Return the Java program: of JAVA_HOME, else the first on PATH.

    :raises LocalError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if found is None:
        raise LocalError("Java is not found; install Java 17 (e.g. apt install openjdk-17-jre)")
    return found


def default_folder(name: str) -> Path:
    """Return where `name` lives unless --folder says otherwise."""
    return Path(os.environ.get("PUBNER_LOCAL") or CACHE / "local") / name
