"""Signals as requests to stop."""

import os
import signal

import pytest

from pipelines.feed.stopping import StoppedError, stopping


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    before = signal.getsignal(number)
    with stopping() as request:
        request.check()
        os.kill(os.getpid(), number)
        with pytest.raises(StoppedError):
            request.check()
        assert request.exit_code == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(number) is before
    signal.signal(signal.SIGHUP, hang_up)


def test_a_command_under_nohup_does_not_heed_a_closed_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping() as request:
            os.kill(os.getpid(), signal.SIGHUP)
            request.check()
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
