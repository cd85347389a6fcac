"""From a part as it was read to citations, tombstones and dead letters."""

from collections.abc import Callable
from datetime import datetime

from pipelines.kafka.batches import RawRecord
from pipelines.kafka.decoding import decode_record
from pipelines.kafka.parts import RawPart
from pipelines.metrics import observe
from pipelines.records import ReadBlock, ReadCitation
from schemas.errors import RecordBatchError, RecordError
from schemas.records import DeadLetter, SourcePosition, Stage


def decode_part(part: RawPart, clock: Callable[[], datetime]) -> ReadBlock:
    """Return a part with each message as the citation it holds, or as a dead letter.

    `clock` gives the time in UTC.
    """
    citations: list[ReadCitation] = []
    letters: list[DeadLetter] = []
    for record in part.records:
        try:
            if record.error:
                raise RecordBatchError(record.error)
            citations.append(ReadCitation(record.offset, decode_record(record.key, record.value)))
        except RecordError as error:
            letters.append(_dead_letter(part, record, error, clock()))
    observe("part_records", len(part.records))
    return ReadBlock(
        key=part.key,
        input_digest=part.input_digest,
        citations=tuple(citations),
        dead_letters=tuple(letters),
        complete=False,
        last=False,
        coverage=(part.begin, part.end),
        base=part.base,
        drained=part.drained,
    )


def _dead_letter(
    part: RawPart, record: RawRecord, error: RecordError, seen_at: datetime
) -> DeadLetter:
    return DeadLetter(
        position=SourcePosition(part.key.source, part.key.partition, record.offset),
        stage=Stage.READ if record.error else Stage.PARSE,
        error_type=type(error).__name__,
        error=str(error),
        payload=record.value or b"",
        seen_at=seen_at,
        key=record.key,
        headers=record.headers,
    )
