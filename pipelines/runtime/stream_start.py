"""Compares a consumer group's offsets with the log and the output when a stream begins.

A group has one offset for each partition, for all outputs. So messages that were read into another
output are missing in this one, and messages that retention removed before they were read are
missing in all.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kafka import TopicPartition

from pipelines.blocks.keys import name_prefix, parse_name
from pipelines.graphs.stream_plan import Topics
from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.commits import output_in
from pipelines.kafka.errors import reporting
from pipelines.kafka.source import first_offset
from pipelines.kafka.topics import begin_offsets
from pipelines.output.manifest import output_id, record_missing
from pipelines.output.store import Store
from pipelines.output.writer import committed_footer
from pipelines.telemetry.logs import log


@dataclass(frozen=True, slots=True)
class MissingRange:
    """Offsets from `begin` to before `end` that were read by the group into another output.

    `committed` is the group's committed offset.
    """

    topic: str
    partition: int
    begin: int
    end: int
    group: str
    committed: int

    def to_json(self) -> dict[str, Any]:
        """Return the range as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Start:
    """The result of the checks at the start of a stream.

    `removed` counts the offsets between the group's offsets and the log start, which retention
    removed before they were read; `missing` are all offsets known to be missing in the output.
    """

    output_id: str
    removed: int = 0
    missing: tuple[dict[str, Any], ...] = ()


def check_start(
    access: KafkaAccess,
    group: str,
    topics: Topics,
    store: Store,
    *,
    block_size: int,
    resumed: bool,
) -> Start:
    """Compare the group's offsets with the log and with the output, and warn of differences.

    Missing offsets are recorded in the output's manifest. A run that is `resumed` from a savepoint
    begins at the offsets in it, and detects removed offsets itself.

    :raises PubnerError: if the broker does not answer, or the output cannot be written.
    """
    own = output_id(store)
    client = consumer(access, group=group)
    partitions = list(topics.partitions)
    try:
        with reporting(access, f"read the offsets of group {group!r}"):
            first = begin_offsets(client, partitions)
            found = {x: client.committed(x, metadata=True) for x in partitions}
    finally:
        client.close()
    removed, missing = 0, []
    starts: dict[TopicPartition, int] = {}
    for partition, committed in found.items():
        offset = None if committed is None else int(committed.offset)
        starts[partition] = first_offset(offset, first[partition], block_size)
        if offset is None:
            continue
        if offset < first[partition] and not resumed:
            removed += first[partition] - offset
            _log_removed(partition, offset, first[partition])
        begin = _held_until(store, partition)
        used_by = output_in(str(committed.metadata))
        elsewhere = begin == 0 if used_by is None else used_by != own
        if elsewhere and begin < starts[partition]:
            missing.append(
                MissingRange(
                    partition.topic, partition.partition, begin, starts[partition], group, offset
                )
            )
    for gap in missing:
        _log_missing(gap)
    recorded = record_missing(
        store, [x.to_json() for x in missing], {tuple(x): start for x, start in starts.items()}
    )
    return Start(own, removed, tuple(recorded))


def _held_until(store: Store, partition: TopicPartition) -> int:
    """Return the offset after the last one that the output holds of a partition; 0 for none."""
    prefix = name_prefix(partition.topic, partition.partition)
    keys = [parse_name(name) for name in store.names("citations", prefix)]
    wanted = (partition.topic, partition.partition)
    own = [x for x in keys if x is not None and (x.source, x.partition) == wanted]
    for key in sorted(own, reverse=True):
        footer = committed_footer(store, key)
        if footer is not None and footer.covered:
            return footer.covered[-1][1]
    return 0


def _log_removed(partition: TopicPartition, offset: int, first: int) -> None:
    log(
        "offsets were removed by retention before the group read them; keep messages longer",
        level=logging.ERROR,
        topic=partition.topic,
        partition=partition.partition,
        offsets=f"{offset} to {first - 1}",
        offsets_removed=first - offset,
    )


def _log_missing(gap: MissingRange) -> None:
    log(
        "the group was used with another output, and what was read there is missing in this one; "
        "to have all messages here, use a new --group",
        level=logging.WARNING,
        topic=gap.topic,
        partition=gap.partition,
        group=gap.group,
        group_stands_at=gap.committed,
        missing=f"{gap.begin} to {gap.end - 1}",
    )


def format_missing(missing: Sequence[dict[str, Any]]) -> str:
    """Return the missing offset ranges as text."""
    return ", ".join(
        f"{x['topic']}/{x['partition']} {x['begin']} to {x['end'] - 1}" for x in missing
    )
