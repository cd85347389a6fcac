"""kafka-python's consumer, which no message can stop, and whose polls are bounded in bytes.

It takes the place of three private names of kafka-python: the fetcher of a consumer, the class that
the fetcher reads a fetched stretch of a partition by, and how much it takes of that. A test holds
that they are what this module takes them for.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition, errors
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel
from kafka.protocol.metadata import MetadataRequest

from pipelines.kafka.batches import (
    CurrentBatch,
    Frame,
    RawRecord,
    damaged_offsets,
    frames,
    open_batch,
    undecoded,
)
from schemas.errors import RecordBatchError

MOST_BYTES: Final = 32 * 2**20
"""A poll, like a part of a block, ends at that many bytes of messages, however few they are."""
_LOGGER = logging.getLogger(__name__)


def input_digest(cluster_id: object, topic_id: object) -> str:
    """Return what identifies the content of a topic in the output's footers."""
    return f"kafka:{cluster_id}:{topic_id}"


class _PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of one partition, message by message."""

    def take(self, n: int | None = None) -> list[RawRecord]:
        """Return up to `n` messages, of about `MOST_BYTES` at most."""
        records: list[RawRecord] = []
        size = 0
        messages = self.record_iterator
        while size < MOST_BYTES and (n is None or len(records) < n):
            record = next(messages, None)
            if record is None:
                break
            records.append(record)
            size += record.size
        return records

    def _unpack_records(
        self,
        tp: TopicPartition,  # noqa: ARG002 - kafka-python's own call
        records: Any,  # noqa: ANN401 - kafka-python's own
        *_: object,
    ) -> Iterator[RawRecord]:
        for frame in frames(records._buffer):
            for record in self._read(frame):
                self.next_fetch_offset = record.offset + 1
                self.bytes_read += record.size
                self.records_read += 1
                yield record
        self.drain()

    def _read(self, frame: Frame) -> Iterator[RawRecord]:
        """Yield the messages of one batch from the fetched offset on."""
        position = self.next_fetch_offset
        try:
            batch = open_batch(frame)
        except RecordBatchError as error:
            yield from self._undecoded(frame, damaged_offsets(frame, position), error)
            return
        if isinstance(batch, CurrentBatch) and self._is_passed_over(batch):
            self.next_fetch_offset = batch.next_offset
            return
        try:
            for record in batch.records():
                if record.offset >= position:
                    position = record.offset + 1
                    yield record
        except RecordBatchError as error:
            begin = max(position, batch.base_offset) if batch.magic > 1 else position
            yield from self._undecoded(frame, range(begin, batch.last_offset + 1), error)
        self.next_fetch_offset = max(self.next_fetch_offset, batch.last_offset + 1)

    def _undecoded(
        self, frame: Frame, offsets: range, error: RecordBatchError
    ) -> Iterator[RawRecord]:
        if not offsets:
            return
        _LOGGER.error(
            "topic %s, partition %d: the record batch with the offsets %d to %d cannot be read, "
            "and is a dead letter for each: %s",
            self.topic_partition.topic,
            self.topic_partition.partition,
            offsets[0],
            offsets[-1],
            error,
        )
        yield from undecoded(frame, offsets, error)
        self.next_fetch_offset = offsets[-1] + 1

    def _is_passed_over(self, batch: CurrentBatch) -> bool:
        """Whether a batch is a transaction's marker or, where those are left out, was aborted."""
        self.leader_epoch = batch.leader_epoch
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if batch.is_control_batch:
                if _is_abort_marker(batch):
                    self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


def _is_abort_marker(batch: CurrentBatch) -> bool:
    """Whether a control batch ends a transaction that was aborted: type 0 of two numbers."""
    try:
        key = next((x.key or b"" for x in batch.records()), b"")
    except RecordBatchError:
        return False
    return key[2:4] == b"\0\0"


class _Fetcher(Fetcher):  # type: ignore[misc]
    """Ends a poll where what it took is as much as a poll may hold."""

    PartitionRecords = _PartitionRecords

    def _append(
        self,
        drained: Mapping[TopicPartition, Sequence[RawRecord]],
        part: Any,  # noqa: ANN401 - kafka-python's own
        max_records: int,
        update_offsets: bool,
    ) -> int:
        taken: int = super()._append(drained, part, max_records, update_offsets)
        size = sum(record.size for records in drained.values() for record in records)
        return max_records if size >= MOST_BYTES else taken


class Consumer(KafkaConsumer):  # type: ignore[misc]
    """kafka-python's consumer; `poll` gives `RawRecord`s and raises nothing because of them."""

    FETCHER = _Fetcher

    def __init__(self, **configs: Any) -> None:  # noqa: ANN401 - kafka-python's own
        super().__init__(**configs)
        self._fetcher = self.FETCHER(
            self._client, self._subscription, metrics=self._metrics, **self.config
        )

    def identify(self, topics: Sequence[str]) -> dict[str, str]:
        """Ask the cluster which topics of these names it has now; return their input digests.

        One that is not there, or not known yet to the broker that answers, is left out.

        :raises KafkaError: if no broker answers, or if we may not know.
        """
        asked = [MetadataRequest.MetadataRequestTopic(name=name) for name in topics]
        request = MetadataRequest(topics=asked, allow_auto_topic_creation=False)

        async def send() -> Any:  # noqa: ANN401 - kafka-python's own
            return await self._manager.send(request)

        answer = self._manager.run(send)
        found = {}
        for topic in answer.topics:
            error = errors.for_code(topic.error_code)
            if issubclass(error, errors.AuthorizationError):
                raise error(topic.name)
            if error is not errors.UnknownTopicOrPartitionError:
                found[topic.name] = input_digest(answer.cluster_id, topic.topic_id)
        return found
