"""A steady load on a topic, which can be held for a while."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.streaming import Sender

_CHUNK = 400


@dataclass
class Load:
    """Sends to a topic from a thread of its own until it is stopped, about `rate` messages/s."""

    sender: Sender
    topic: str
    partitions: int
    rate: float
    _held: threading.Lock = field(default_factory=threading.Lock, init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)
    _error: BaseException | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    @property
    def count(self) -> int:
        """How many messages were sent that count.

        :raises BaseException: what ended the sending, if something did.
        """
        if self._error is not None:
            raise self._error
        return len(self.sender.ledger)

    def start(self) -> None:
        """Begin to send."""
        self._thread = threading.Thread(target=self._send, name="load", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        _ = self.count

    def fill(self, count: int) -> None:
        """Send what is missing to `count` messages, as fast as it goes."""
        with self._held:
            missing = max(0, count - len(self.sender.ledger))
            self.sender.send(self.topic, missing, partitions=range(self.partitions))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Send nothing meanwhile: no transaction is open, and all is acknowledged."""
        with self._held:
            yield

    def _send(self) -> None:
        try:
            while not self._stop.wait(_CHUNK / self.rate):
                with self._held:
                    self.sender.send(self.topic, _CHUNK, partitions=range(self.partitions))
        except BaseException as error:
            self._error = error
