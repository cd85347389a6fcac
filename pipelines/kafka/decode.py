"""From a part as it was read to citations, tombstones and dead letters."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from pipelines.blocks.elements import ReadBlock
from pipelines.blocks.failures import dead_letter
from pipelines.kafka.batches import RawRecord
from pipelines.kafka.messages import decode_record
from pipelines.kafka.slices import RawPart
from pipelines.telemetry.metrics import observe
from schemas.errors import RecordBatchError
from schemas.records import Citation, DeadLetter
from worker.readers.failures import Failure, parse_record, read_failure
from worker.readers.formats import ReadRecord


def decode_part(part: RawPart, clock: Callable[[], datetime]) -> ReadBlock:
    """Return a part with each message as the citation it holds, or as a dead letter.

    `clock` gives the time in UTC.
    """
    citations: list[ReadRecord] = []
    letters: list[DeadLetter] = []
    for record in part.records:
        found = _read(record)
        if isinstance(found, Failure):
            letters.append(
                dead_letter(
                    part.header.key,
                    record.offset,
                    found,
                    clock(),
                    key=record.key,
                    headers=record.headers,
                )
            )
        else:
            citations.append(ReadRecord(record.offset, found))
    observe("part_records", len(part.records))
    header = replace(part.header, coverage=(part.begin, part.end))
    return ReadBlock(header, tuple(citations), tuple(letters))


def _read(record: RawRecord) -> Citation | Failure:
    payload = record.value or b""
    if record.error:
        return read_failure(RecordBatchError(record.error), payload)
    return parse_record(partial(decode_record, record.key, record.value), payload)
