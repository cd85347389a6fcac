"""The one step that commits offsets to the consumer group: what is in place without a gap.

Everything else reads; only this step, which sees one partition at a time and keeps its progress in
Beam's state, tells the group how far it is.
"""

import time
from collections.abc import Iterator
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
from pipelines.kafka.retrying import retry
from pipelines.kafka.topics import commit, committed_offsets
from pipelines.metrics import count, gauge
from pipelines.records import WrittenBlock

_PROGRESS_PARAMETER: Any = beam.DoFn.StateParam(
    ReadModifyWriteStateSpec("progress", StrUtf8Coder())
)

Place = tuple[str, int]
"""A topic and a partition's number."""


class CommitOffsets(beam.DoFn):
    """Commits the contiguous prefix of what was put in place, by topic and partition.

    A broker that is away is waited for. The group's offset never goes back.
    """

    def __init__(self, access: KafkaAccess, group: str) -> None:
        self.access = access
        self.group = group
        self._consumer: KafkaConsumer | None = None
        self._known: dict[TopicPartition, int] = {}

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
        partition = TopicPartition(topic, number)
        done = max(after.committed, self._committed(partition))
        gauge(f"in_place.{topic}.{number}", after.prefix)
        ends = bool(written.drained) and not after.pending
        if after.prefix > max(done, written.base) or ends:
            # Never back: what lies before the group's offset is in place already.
            offset = max(after.prefix, done)
            self._commit(partition, offset, drained_note(written.drained) if ends else "")
            after = Progress(after.prefix, after.pending, offset)
            yield topic, number, offset
        state.write(after.to_json())

    def teardown(self) -> None:
        """Close the consumer."""
        self._close()

    def _committed(self, partition: TopicPartition) -> int:
        """Return what the group has committed, as this process knows it; -1 for nothing."""

        def ask() -> None:
            client = self._client()
            with reporting(self.access, f"read the offsets of group {self.group!r}"):
                found = committed_offsets(client, [partition])
            self._known[partition] = found.get(partition, -1)

        if partition not in self._known:
            retry(ask, before_again=self._close, sleep=time.sleep)
        return self._known[partition]

    def _commit(self, partition: TopicPartition, offset: int, note: str) -> None:
        def action() -> None:
            client = self._client()
            with reporting(self.access, f"commit offsets of group {self.group!r}"):
                commit(client, {partition: offset}, note=note)

        retry(action, before_again=self._close, sleep=time.sleep)
        self._known[partition] = offset
        count("commits")

    def _client(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = consumer(self.access, group=self.group, read_committed=True)
        return self._consumer

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


def drained_note(token: str) -> str:
    """Return the note of the last commit of a partition that was drained."""
    return f"pubner drained {token}"
