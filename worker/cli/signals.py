"""Signals that request a command to stop."""

import signal
from typing import Final

_REQUESTS: Final = (signal.SIGINT, signal.SIGTERM)


def stop_requests() -> tuple[signal.Signals, ...]:
    """Return the signals that request a stop: SIGINT, SIGTERM and SIGHUP.

    SIGHUP is left out if the process was started with it ignored, as under `nohup`.
    """
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return _REQUESTS if ignored else (*_REQUESTS, signal.SIGHUP)
