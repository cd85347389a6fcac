"""The one step that commits offsets to the consumer group: what is in place without a gap.

Everything else reads; only this step, which sees one partition at a time and keeps its progress in
Beam's state, tells the group how far it is.
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import StrUtf8Coder
from apache_beam.transforms.userstate import (
    ReadModifyWriteRuntimeState,
    ReadModifyWriteStateSpec,
)
from kafka import KafkaConsumer, TopicPartition

from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.failures import reporting
from pipelines.kafka.progress import Progress
from pipelines.kafka.topics import commit
from pipelines.metrics import count, gauge
from pipelines.records import WrittenBlock
from schemas.errors import PubnerError

_LOGGER = logging.getLogger(__name__)
_TRIES_SECONDS = 120.0
_PAUSE_SECONDS = 2.0

_PROGRESS_PARAMETER: Any = beam.DoFn.StateParam(
    ReadModifyWriteStateSpec("progress", StrUtf8Coder())
)

Place = tuple[str, int]
"""A topic and a partition's number."""


class CommitOffsets(beam.DoFn):
    """Commits the contiguous prefix of what was put in place, by topic and partition.

    A broker that is away is tried again for two minutes; then the bundle fails, and the runner
    repeats it.
    """

    def __init__(self, access: KafkaAccess, group: str) -> None:
        self.access = access
        self.group = group
        self._consumer: KafkaConsumer | None = None

    def process(
        self,
        element: tuple[Place, WrittenBlock],
        state: ReadModifyWriteRuntimeState = _PROGRESS_PARAMETER,
    ) -> Iterator[tuple[str, int, int]]:
        """Take one stretch that is in place; yield topic, partition and offset if it commits."""
        (topic, number), written = element
        if written.coverage is None:
            raise TypeError("a block of a file has no offsets to commit")
        known = state.read()
        before = Progress.from_json(known) if known else Progress(written.base)
        after = before.cover(*written.coverage)
        gauge(f"in_place.{topic}.{number}", after.prefix)
        ends = bool(written.drained) and not after.pending
        if after.prefix > after.committed or ends:
            note = drained_note(written.drained) if ends else ""
            self._commit(TopicPartition(topic, number), after.prefix, note)
            after = Progress(after.prefix, after.pending, after.prefix)
            yield topic, number, after.prefix
        state.write(after.to_json())

    def teardown(self) -> None:
        """Close the consumer."""
        self._close()

    def _commit(self, partition: TopicPartition, offset: int, note: str) -> None:
        def action() -> None:
            client = self._client()
            with reporting(self.access, f"commit offsets of group {self.group!r}"):
                commit(client, {partition: offset}, note=note)

        retry(
            action,
            before_again=self._close,
            clock=time.monotonic,
            sleep=time.sleep,
        )
        count("commits")

    def _client(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = consumer(self.access, group=self.group, read_committed=True)
        return self._consumer

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


def drained_note(run_id: str) -> str:
    """Return the note of the last commit of a run that was drained."""
    return f"pubner drained {run_id}"


def retry(
    action: Callable[[], None],
    *,
    before_again: Callable[[], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Do `action`, again and again for two minutes where the broker fails it.

    :raises PubnerError: the last failure.
    """
    until = clock() + _TRIES_SECONDS
    while True:
        try:
            action()
            return
        except PubnerError as error:
            if clock() >= until:
                raise
            _LOGGER.warning("offsets are not committed yet, trying again: %s", error)
        before_again()
        sleep(_PAUSE_SECONDS)
