"""Runs a program that must not outlive the process that asked for it, however that one ends.

`python -I -S supervisor.py PARENT_PID PROGRAM [WORD...]`, with nothing but the standard library.
Linux can send a process a signal when its parent ends (PR_SET_PDEATHSIG), but by "parent" it means
the thread that started it. So this process stands in between: it has one thread, which lives as
long as it does, and it watches whether its own parent, the process PARENT_PID, is still there.
Whatever the program starts and leaves behind comes to this process (PR_SET_CHILD_SUBREAPER), and is
ended with it.

The program gets a session of its own: what a terminal sends to all of a command's processes reaches
the command alone, which decides when the program ends. SIGINT, SIGTERM and SIGHUP that are sent to
this process are passed on.
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
_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 3.0
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCHED = (*_PASSED_ON, signal.SIGCHLD)


def main(words: list[str]) -> int:
    """Run the program to its end, or to that of its parent; return its exit status."""
    parent, command = int(words[0]), words[1:]
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
        found = signal.sigtimedwait(_WATCHED, _LOOK_SECONDS)
        if found is not None and found.si_signo in _PASSED_ON:
            program.send_signal(found.si_signo)
            deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
        if program.poll() is None:
            _reap(program.pid)
    _end_all()
    status = program.wait()
    _reap()
    return status if status >= 0 else 128 - status


def descendants(pid: int) -> list[int]:
    """Return the processes that `pid` started, and those that they started, as far as they live."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").iterdir():
        if not place.name.isdecimal():
            continue
        try:
            state, parent = (place / "stat").read_text("latin-1").rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            children.setdefault(int(parent), []).append(int(place.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        new = children.get(waiting.pop(), [])
        found += new
        waiting += new
    return found


def _prepare() -> None:
    """Set up the program's process before the program is loaded."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)


def _end_all() -> None:
    """Kill what is left; a process that forks meanwhile is caught by the next look."""
    while left := descendants(os.getpid()):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


def _reap(program: int | None = None) -> None:
    """Take note of the ends of those that were left to this process, not of the program's."""
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
