"""Dead letters made from the failures of records."""

from collections.abc import Sequence
from datetime import datetime

from pipelines.blocks.elements import AnnotatedCitation
from pipelines.blocks.keys import BlockKey
from schemas.citation_message import to_message
from schemas.records import DeadLetter, SourcePosition, Stage
from worker.readers.failures import Failure, failure_of
from worker.readers.formats import BadRecord, ReadRecord, SourceMessage


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


def failed_record(
    block: BlockKey,
    item: ReadRecord | AnnotatedCitation,
    stage: Stage,
    error: Exception,
    seen_at: datetime,
) -> DeadLetter:
    """Return the dead letter of a citation that failed at a `stage` after it was read.

    It holds the citation's Kafka message as it was consumed; for a citation of a file, the message
    that `pubner feed` would send.
    """
    message = item.message or SourceMessage(None, to_message(item.citation))
    failure = failure_of(stage, error, message.value or b"")
    return dead_letter(
        block, item.offset, failure, seen_at, key=message.key, headers=message.headers
    )
