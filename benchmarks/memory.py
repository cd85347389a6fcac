"""Resident memory of processes, and progress marks of a run."""

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Mark:
    """A progress mark: citations done, seconds since the start of counting, resident MiB."""

    citations: int
    seconds: float
    memory_mb: float


def memory_mb(pid: int | str = "self", *, peak: bool = False) -> float:
    """Return a process's current or peak resident memory in MiB."""
    name = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 2**10
    return 0.0


def tree_mb(pid: int) -> float:
    """Return the resident MiB of a process and its children."""
    total = 0.0
    try:
        top = psutil.Process(pid)
        for process in (top, *top.children(recursive=True)):
            total += process.memory_info().rss / 2**20
    except psutil.Error:
        return total
    return total
