"""The step that commits offsets: for each partition, the end of the written prefix without a gap.

No other step commits. This one is keyed by partition and keeps its progress in Beam's state.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.coders import StrUtf8Coder
from apache_beam.transforms.userstate import (
    ReadModifyWriteRuntimeState,
    ReadModifyWriteStateSpec,
)
from kafka import TopicPartition

from pipelines.blocks.elements import WrittenBlock
from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.client import Consumer
from pipelines.kafka.errors import reporting
from pipelines.kafka.offset_tracker import Progress
from pipelines.kafka.retry import retry
from pipelines.kafka.topic_identity import TopicGuard
from pipelines.kafka.topics import begin_offsets, commit
from pipelines.telemetry.metrics import count, gauge
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.errors import InputError

_METADATA_PREFIX = "pubner output "

_PROGRESS_PARAMETER: Any = beam.DoFn.StateParam(
    ReadModifyWriteStateSpec("progress", StrUtf8Coder())
)

PartitionKey = tuple[str, int]
"""A topic and a partition's number."""


class CommitOffsets(beam.DoFn):
    """DoFn that commits the contiguous prefix of the written offsets, by topic and partition.

    It retries while no broker is reachable. The group's offset never goes back. Before each commit
    it compares the topic with the one that the run began with, and the group's offset with the last
    commit: a topic that was recreated, a group that was deleted, and an offset that another client
    set all end the run.

    `topics` are the topics' input digests; `output` is the id of the output, which goes into the
    metadata of each commit.
    """

    def __init__(
        self,
        access: KafkaAccess,
        group: str,
        topics: Mapping[str, str],
        *,
        output: str,
        channel: WorkerChannel = WorkerChannel(),  # noqa: B008 - an immutable instance without a listener
    ) -> None:
        self.access = access
        self.group = group
        self.topics = topics
        self.output = output
        self.channel = channel
        self._consumer: Consumer | None = None

    def process(
        self,
        element: tuple[PartitionKey, WrittenBlock],
        state: ReadModifyWriteRuntimeState = _PROGRESS_PARAMETER,
    ) -> Iterator[tuple[str, int, int]]:
        """Record one written offset range; yield topic, partition and offset after a commit."""
        (topic, number), written = element
        if written.header.coverage is None:
            raise TypeError("a block of a file has no offsets to commit")
        known = state.read()
        before = Progress.from_json(known) if known else Progress(written.header.base)
        after = before.cover(*written.header.coverage)
        partition = TopicPartition(topic, number)
        gauge(f"in_place.{topic}.{number}", after.prefix)
        ends = bool(written.header.drained) and not after.pending
        if after.prefix > max(after.committed, written.header.base) or ends:
            with self.channel.watching():
                offset = self._commit(partition, after, written, ends=ends)
            if offset is not None:
                after = Progress(after.prefix, after.pending, offset)
                yield topic, number, offset
        state.write(after.to_json())

    def teardown(self) -> None:
        """Close the consumer."""
        self._close()

    def _commit(
        self, partition: TopicPartition, after: Progress, written: WrittenBlock, *, ends: bool
    ) -> int | None:
        """Commit unless the group's offset is higher; return the committed offset, else None."""
        metadata = commit_metadata(self.output, written.header.drained if ends else "")
        committed: list[int] = []

        def action() -> None:
            self._guard(partition.topic).wait(self._client, time.sleep)
            client = self._client()
            with reporting(self.access, f"commit offsets of group {self.group!r}"):
                done = self._committed_offset(
                    client, partition, after.committed, written.header.base
                )
                if after.prefix > done or ends:
                    # Never back: everything before the group's offset is written already.
                    commit(client, {partition: max(after.prefix, done)}, metadata=metadata)
                    committed.append(max(after.prefix, done))

        retry(action, before_again=self._close, sleep=time.sleep)
        if not committed:
            return None
        count("commits")
        return committed[-1]

    def _committed_offset(
        self, client: Consumer, partition: TopicPartition, committed: int, base: int
    ) -> int:
        """Return the group's offset, -1 for none.

        `committed` is the last commit known to the state, and `base` the offset at which the run
        began to read. A step restored from an older state finds a higher offset that pubner
        committed.

        :raises InputError: if another client has set or removed the offset.
        """
        stored = client.committed(partition, metadata=True)
        found, metadata = (-1, "") if stored is None else (int(stored.offset), str(stored.metadata))
        least = committed
        if committed < 0 and found < base and base > begin_offsets(client, [partition])[partition]:
            least = base  # the run began at the group's offset, not at the log's start
        if found < least or (0 <= committed < found and output_in(metadata) is None):
            now = "none" if found < 0 else found
            raise InputError(
                f"group {self.group!r} was deleted or reset while it was used: its offset of topic "
                f"{partition.topic!r}, partition {partition.partition}, is {now}, and {least} or "
                "one that pubner committed was expected; nothing was committed over it. Give the "
                "command again to go on from the group's offsets as they are now, without a "
                "savepoint"
            )
        return found

    def _guard(self, topic: str) -> TopicGuard:
        return TopicGuard(self.access, {topic: self.topics[topic]}, time.monotonic)

    def _client(self) -> Consumer:
        if self._consumer is None:
            self._consumer = consumer(self.access, group=self.group, read_committed=True)
        return self._consumer

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


def commit_metadata(output: str, drained: str = "") -> str:
    """Return a commit's metadata: the output's id and, once drained, the drain's token."""
    return f"{_METADATA_PREFIX}{output}" + (f" drained {drained}" if drained else "")


def output_in(metadata: str) -> str | None:
    """Return the output's id in a commit's metadata; None if it holds none."""
    return (
        metadata.removeprefix(_METADATA_PREFIX).split(" ")[0]
        if metadata.startswith(_METADATA_PREFIX)
        else None
    )
