"""Dead letters made from the failures of records."""

from collections.abc import Sequence
from datetime import datetime

from pipelines.blocks.keys import BlockKey
from schemas.records import DeadLetter, SourcePosition
from worker.readers.failures import Failure
from worker.readers.formats import BadRecord


def dead_letter(
    block: BlockKey,
    offset: int,
    failure: Failure | BadRecord,
    seen_at: datetime,
    *,
    key: bytes | None = None,
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> DeadLetter:
    """Return the dead letter of the record at `offset` of a block's source and partition.

    `seen_at` is in UTC; `key` and `headers` are those of a Kafka message.
    """
    return DeadLetter(
        position=SourcePosition(block.source, block.partition, offset),
        stage=failure.stage,
        error_type=failure.error_type,
        error=failure.error,
        payload=failure.payload,
        seen_at=seen_at,
        key=key,
        headers=tuple(headers),
    )
