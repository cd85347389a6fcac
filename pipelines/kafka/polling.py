"""One poll of a consumer, which skips and logs offsets that retention has removed."""

import logging
from collections.abc import Mapping, Sequence

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from pipelines.kafka.batches import RawRecord
from pipelines.telemetry.metrics import count
from schemas.errors import InputError

_LOGGER = logging.getLogger(__name__)


def poll(
    client: KafkaConsumer, *, timeout_ms: int, max_records: int
) -> Mapping[TopicPartition, Sequence[RawRecord]]:
    """Return the messages available now or within `timeout_ms`, by partition.

    If retention has removed the offset to read next, the consumer moves to the log's start, and the
    skipped offsets, which are lost, are counted as `offsets_removed`.

    :raises InputError: if an offset lies after the end of its partition.
    """
    try:
        return dict(client.poll(timeout_ms=timeout_ms, max_records=max_records))
    except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
        _skip_to_log_start(client, error)
        return {}


def _skip_to_log_start(client: KafkaConsumer, error: Exception) -> None:
    partitions = list(client.assignment())
    first = client.beginning_offsets(partitions)
    moved = 0
    for partition in partitions:
        position = client.position(partition, timeout_ms=0)
        if position is not None and position < first[partition]:
            _LOGGER.error(
                "topic %s, partition %d: offsets %d to %d were removed by retention before they "
                "were read; keep messages longer",
                partition.topic,
                partition.partition,
                position,
                first[partition] - 1,
            )
            count("offsets_removed", first[partition] - position)
            client.seek(partition, first[partition])
            moved += 1
    if not moved:
        raise InputError(
            f"the next offset lies after the end of its partition ({error}); was the topic "
            "truncated or recreated? Set the group's offsets with Kafka's own tools"
        ) from error
