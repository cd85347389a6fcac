"""What processes run and listen on, as the system says."""

import time
from collections.abc import Sequence

import psutil

_PATIENCE_SECONDS = 30.0
_LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


def descendants(pid: int) -> list[psutil.Process]:
    """Return what a process has started, and what that has, as far as it runs."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def still_running(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return those that go on running although they should end; it waits for that."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (left := [x for x in processes if _runs(x)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def exposed(pids: Sequence[int]) -> list[str]:
    """Return where the processes take connections from elsewhere than this machine."""
    return [f"{x}" for pid in pids for x in _listening(pid) if x[1] not in _LOOPBACK]


def listening(pids: Sequence[int]) -> list[int]:
    """Return the ports that the processes listen on."""
    return sorted(port for pid in pids for _, _, port in _listening(pid))


def _listening(pid: int) -> list[tuple[str, str, int]]:
    try:
        process = psutil.Process(pid)
        name = " ".join(process.cmdline())[:200]
        found = process.net_connections("all")
    except psutil.NoSuchProcess:
        return []
    return [(name, x.laddr.ip, x.laddr.port) for x in found if x.status == psutil.CONN_LISTEN]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
