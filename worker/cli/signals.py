"""The signals that ask a command to end."""

import signal
from typing import Final

_REQUESTS: Final = (signal.SIGINT, signal.SIGTERM)


def stop_requests() -> tuple[signal.Signals, ...]:
    """Return the signals to take as a request to end: interrupt, termination and hang-up.

    The hang-up is left out where the process was started to ignore it, as `nohup` has it.
    """
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return _REQUESTS if ignored else (*_REQUESTS, signal.SIGHUP)
