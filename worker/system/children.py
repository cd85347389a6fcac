"""Child processes that end with the command that started them, even if it is killed."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_POLL_SECONDS = 0.5
_SUPERVISOR = Path(__file__).with_name("supervisor.py")


def supervised(command: Sequence[str]) -> list[str]:
    """Return the arguments that run `command` under a supervisor that ends with this process.

    They must be run by this process itself, from any of its threads.
    """
    return [sys.executable, "-I", "-S", str(_SUPERVISOR), str(os.getpid()), *command]


def end_with_parent(parent: int) -> None:
    """Kill this process once the process `parent`, which forked it, has ended.

    For processes that are forked without exec. A thread polls the parent's process id, because the
    kernel's signal (PR_SET_PDEATHSIG) comes when the thread that forked ends.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="pubner-parent", daemon=True).start()
