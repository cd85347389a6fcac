"""From a part as it was read to citations, tombstones and dead letters."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from pipelines.blocks.elements import ReadBlock, ReadCitation
from pipelines.kafka.batches import RawRecord
from pipelines.kafka.messages import decode_record
from pipelines.kafka.slices import RawPart
from pipelines.telemetry.metrics import observe
from schemas.errors import RecordBatchError
from schemas.records import Citation, DeadLetter, SourcePosition
from worker.readers.failures import Failure, parse_record, read_failure


def decode_part(part: RawPart, clock: Callable[[], datetime]) -> ReadBlock:
    """Return a part with each message as the citation it holds, or as a dead letter.

    `clock` gives the time in UTC.
    """
    citations: list[ReadCitation] = []
    letters: list[DeadLetter] = []
    for record in part.records:
        found = _read(record)
        if isinstance(found, Failure):
            letters.append(_dead_letter(part, record, found, clock()))
        else:
            citations.append(ReadCitation(record.offset, found))
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


def _read(record: RawRecord) -> Citation | Failure:
    payload = record.value or b""
    if record.error:
        return read_failure(RecordBatchError(record.error), payload)
    return parse_record(partial(decode_record, record.key, record.value), payload)


def _dead_letter(
    part: RawPart, record: RawRecord, failure: Failure, seen_at: datetime
) -> DeadLetter:
    return DeadLetter(
        position=SourcePosition(part.key.source, part.key.partition, record.offset),
        stage=failure.stage,
        error_type=failure.error_type,
        error=failure.error,
        payload=failure.payload,
        seen_at=seen_at,
        key=record.key,
        headers=record.headers,
    )
