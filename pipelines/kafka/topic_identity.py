"""Guard that checks that topics are still those that a run began with."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.errors import reporting
from schemas.errors import BrokerError, InputError

_PAUSE_SECONDS = 0.5


class Identifies(Protocol):
    """The method of a consumer that a guard needs."""

    def identify(self, topics: Collection[str]) -> Mapping[str, str]:
        """Return the input digest of each topic that exists."""


@dataclass(slots=True)
class TopicGuard:
    """Compares topics with `topics`, the input digests that they had when the run began.

    Everything read before a successful comparison came from those topics, since topic ids are never
    reused. The broker may not know a missing topic yet, so the guard waits for it as long as for a
    broker. `clock` returns seconds since any origin.
    """

    access: KafkaAccess
    topics: Mapping[str, str]
    clock: Callable[[], float]
    _missing_since: float | None = field(default=None, init=False)

    def confirm(self, client: Identifies) -> bool:
        """Return whether all topics are the same; False if that cannot be determined now.

        :raises InputError: if a topic was recreated or deleted.
        :raises BrokerError: if access to a topic is denied.
        """
        try:
            with reporting(self.access, f"look up the topics {', '.join(sorted(self.topics))}"):
                found = client.identify(sorted(self.topics))
        except BrokerError as error:
            if error.permanent:
                raise
            return False
        check_same(self.topics, found)
        missing = sorted(self.topics.keys() - found.keys())
        if not missing:
            self._missing_since = None
            return True
        now = self.clock()
        if self._missing_since is None:
            self._missing_since = now
        if now - self._missing_since >= self.access.timeout_seconds:
            raise gone(missing[0])
        return False

    def wait(self, client: Callable[[], Identifies], sleep: Callable[[float], None]) -> None:
        """Return when all topics are known to be the same; retry while no broker is reachable.

        :raises InputError: as `confirm`.
        :raises BrokerError: likewise.
        """
        while not self.confirm(client()):
            sleep(_PAUSE_SECONDS)


def check_same(expected: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Compare input digests by topic.

    :raises InputError: if a topic is not the expected one.
    """
    for name, digest in found.items():
        if digest != expected.get(name, digest):
            raise InputError(
                f"topic {name!r} is another one than when the run began ({digest}, and was "
                f"{expected[name]}): it was deleted and recreated, or another cluster answers; "
                "nothing of it was written. Read the new topic with another --output and --group"
            )


def gone(name: str) -> InputError:
    """Return the error of a topic that was deleted."""
    return InputError(
        f"topic {name!r} no longer exists: it was deleted while it was read. What was read before "
        "is in the output; if the topic is recreated, give it another --output and --group"
    )
