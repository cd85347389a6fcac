"""Supervisor process: runs a program that must not outlive the process that requested it.

Usage: `python -I -S supervisor.py PARENT_PID PROGRAM [ARGUMENT...]`; it needs only the standard
library. Linux can send a process a signal when its parent ends (PR_SET_PDEATHSIG), but "parent"
means the thread that started it. This intermediate process has a single thread, which lives as
long as the process, and it polls whether its own parent, the process PARENT_PID, is still alive.
Orphaned descendants of the program are reparented to this process (PR_SET_CHILD_SUBREAPER), and
killed with it.

The program runs in its own session: signals that a terminal sends to the process group reach only
the command, which decides when the program ends. SIGINT, SIGTERM and SIGHUP sent to this process
are forwarded to the program.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 3.0
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCHED = (*_FORWARDED, signal.SIGCHLD)


def main(arguments: list[str]) -> int:
    """Run the program until it ends or the parent does; return its exit status."""
    parent, command = int(arguments[0]), arguments[1:]
    if os.getpid() != os.getsid(0):
        os.setsid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    if os.getppid() != parent:
        return 1
    try:
        program = subprocess.Popen(command, preexec_fn=_prepare)  # noqa: S603
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return 127
    deadline = float("inf")
    while os.getppid() == parent and program.poll() is None and time.monotonic() < deadline:
        found = signal.sigtimedwait(_WATCHED, _POLL_SECONDS)
        if found is not None and found.si_signo in _FORWARDED:
            program.send_signal(found.si_signo)
            deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
        if program.poll() is None:
            _reap(program.pid)
    _end_all()
    status = program.wait()
    _reap()
    return status if status >= 0 else 128 - status


def descendants(pid: int) -> list[int]:
    """Return the ids of all live descendants of the process `pid`."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            state, parent = (entry / "stat").read_text("latin-1").rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        new = children.get(waiting.pop(), [])
        found += new
        waiting += new
    return found


def _prepare() -> None:
    """Configure the child process between fork and exec."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)


def _end_all() -> None:
    """Kill all descendants; children forked meanwhile are found in the next iteration."""
    while left := descendants(os.getpid()):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


def _reap(program: int | None = None) -> None:
    """Reap ended processes that were reparented to this one, except the program itself."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == program:
            return
        os.waitpid(ended.si_pid, 0)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
