"""The one step that commits offsets to the consumer group: what is in place without a gap.

Everything else reads; only this step, which sees one partition at a time and keeps its progress in
Beam's state, tells the group how far it is.
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

_NOTE = "pubner output "

_PROGRESS_PARAMETER: Any = beam.DoFn.StateParam(
    ReadModifyWriteStateSpec("progress", StrUtf8Coder())
)

Place = tuple[str, int]
"""A topic and a partition's number."""


class CommitOffsets(beam.DoFn):
    """Commits the contiguous prefix of what was put in place, by topic and partition.

    A broker that is away is waited for. The group's offset never goes back. Before each commit the
    topic is compared with what it was when the run began, and the group's offset with what was
    committed last: a topic that was made anew, and a group that was deleted or whose offset was set
    by others, end the run.

    `topics` are the topics' input digests; `output` is the id of the output, which each commit
    bears in its note.
    """

    def __init__(
        self,
        access: KafkaAccess,
        group: str,
        topics: Mapping[str, str],
        *,
        output: str,
        channel: WorkerChannel = WorkerChannel(),  # noqa: B008 - a frozen record that nobody listens to
    ) -> None:
        self.access = access
        self.group = group
        self.topics = topics
        self.output = output
        self.channel = channel
        self._consumer: Consumer | None = None

    def process(
        self,
        element: tuple[Place, WrittenBlock],
        state: ReadModifyWriteRuntimeState = _PROGRESS_PARAMETER,
    ) -> Iterator[tuple[str, int, int]]:
        """Take one stretch that is in place; yield topic, partition and offset if it commits."""
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
        """Commit, unless the group is further already; return the offset, None without a commit."""
        note = commit_note(self.output, written.header.drained if ends else "")
        committed: list[int] = []

        def action() -> None:
            self._guard(partition.topic).wait(self._client, time.sleep)
            client = self._client()
            with reporting(self.access, f"commit offsets of group {self.group!r}"):
                done = self._look(client, partition, after.committed, written.header.base)
                if after.prefix > done or ends:
                    # Never back: what lies before the group's offset is in place already.
                    commit(client, {partition: max(after.prefix, done)}, note=note)
                    committed.append(max(after.prefix, done))

        retry(action, before_again=self._close, sleep=time.sleep)
        if not committed:
            return None
        count("commits")
        return committed[-1]

    def _look(self, client: Consumer, partition: TopicPartition, committed: int, base: int) -> int:
        """Return the group's offset, -1 for none.

        `committed` is what was committed last, as far as the state knows, and `base` where the run
        began to read. A step that goes on from an older state finds an offset of ours further on.

        :raises InputError: if someone else has set or removed it.
        """
        place = client.committed(partition, metadata=True)
        found, note = (-1, "") if place is None else (int(place.offset), str(place.metadata))
        least = committed
        if committed < 0 and found < base and base > begin_offsets(client, [partition])[partition]:
            least = base  # the run began there because of the group's offset, not of the log
        if found < least or (0 <= committed < found and output_in(note) is None):
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


def commit_note(output: str, drained: str = "") -> str:
    """Return the note of a commit: the output's id, and of a drained partition's last the token."""
    return f"{_NOTE}{output}" + (f" drained {drained}" if drained else "")


def output_in(note: str) -> str | None:
    """Return the id of the output that a commit's note names; None where it names none."""
    return note.removeprefix(_NOTE).split(" ")[0] if note.startswith(_NOTE) else None
