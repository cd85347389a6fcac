"""Kafka consumer based on kafka-python's that no message can stop, with polls bounded in bytes.

It overrides three private names of kafka-python: the fetcher of a consumer, the class by which the
fetcher decodes the data fetched of a partition, and the method that limits the size of a poll. A
test pins them to kafka-python's present implementation.
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

MAX_POLL_BYTES: Final = 32 * 2**20
"""Maximum bytes of messages of one poll, and of one slice of a block; at least one message."""
_LOGGER = logging.getLogger(__name__)


def input_digest(cluster_id: object, topic_id: object) -> str:
    """Return what identifies the content of a topic in the output's footers."""
    return f"kafka:{cluster_id}:{topic_id}"


class _PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """The data fetched of one partition, decoded message by message."""

    def take(self, n: int | None = None) -> list[RawRecord]:
        """Return up to `n` messages, of about `MAX_POLL_BYTES` at most."""
        records: list[RawRecord] = []
        size = 0
        messages = self.record_iterator
        while size < MAX_POLL_BYTES and (n is None or len(records) < n):
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
            "and becomes one dead letter an offset: %s",
            self.topic_partition.topic,
            self.topic_partition.partition,
            offsets[0],
            offsets[-1],
            error,
        )
        yield from undecoded(frame, offsets, error)
        self.next_fetch_offset = offsets[-1] + 1

    def _is_passed_over(self, batch: CurrentBatch) -> bool:
        """Whether a batch is a control batch or, if reading committed messages, was aborted."""
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
    """Whether a control batch marks an aborted transaction: the second number of its key is 0."""
    try:
        key = next((x.key or b"" for x in batch.records()), b"")
    except RecordBatchError:
        return False
    return key[2:4] == b"\0\0"


class _Fetcher(Fetcher):  # type: ignore[misc]
    """A fetcher that ends a poll once it holds `MAX_POLL_BYTES`."""

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
        return max_records if size >= MAX_POLL_BYTES else taken


class Consumer(KafkaConsumer):  # type: ignore[misc]
    """kafka-python's consumer whose `poll` returns `RawRecord`s and tolerates any message."""

    FETCHER = _Fetcher

    def __init__(self, **configs: Any) -> None:  # noqa: ANN401 - kafka-python's own
        super().__init__(**configs)
        self._fetcher = self.FETCHER(
            self._client, self._subscription, metrics=self._metrics, **self.config
        )

    def identify(self, topics: Sequence[str]) -> dict[str, str]:
        """Return the current input digests of `topics` from the cluster.

        A topic that does not exist, or that the answering broker does not know yet, is left out.

        :raises KafkaError: if no broker answers, or if access to a topic is denied.
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
