"""The signals that ask a command to end."""

import signal
from typing import Final

_REQUESTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_requests() -> tuple[signal.Signals, ...]:
    """Return the signals to take as a request to end: interrupt, termination and hang-up.

    Those that the process was started to ignore, as `nohup` has it for the hang-up, are left out.
    """
    return tuple(x for x in _REQUESTS if signal.getsignal(x) is not signal.SIG_IGN)
