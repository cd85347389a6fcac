"""Child processes that end with the command that started them, also where that one is killed."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_LOOK_SECONDS = 0.5
_SUPERVISOR = Path(__file__).with_name("supervisor.py")


def supervised(command: Sequence[str]) -> list[str]:
    """Return the words that run `command` so that it ends when this process does.

    They must be run by this process itself, by any thread of it.
    """
    return [sys.executable, "-I", "-S", str(_SUPERVISOR), str(os.getpid()), *command]


def end_with_parent(parent: int) -> None:
    """Kill this process once the process `parent`, which forked it, has ended.

    For processes that are forked and load no other program. A thread looks at who the parent is:
    a signal from the kernel would come when the thread that forked ends (PR_SET_PDEATHSIG).
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="pubner-parent", daemon=True).start()
