"""Decoder of raw slices into citations, tombstones and dead letters."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from pipelines.blocks.elements import ReadBlock
from pipelines.blocks.failures import dead_letter
from pipelines.kafka.batches import RawRecord
from pipelines.kafka.messages import decode_record
from pipelines.kafka.slices import RawSlice
from pipelines.telemetry.metrics import observe
from schemas.errors import RecordBatchError
from schemas.records import Citation, DeadLetter
from worker.readers.failures import Failure, parse_record, read_failure
from worker.readers.formats import ReadRecord, SourceMessage


def decode_slice(raw_slice: RawSlice, clock: Callable[[], datetime]) -> ReadBlock:
    """Return a slice with each message decoded as a citation, or as a dead letter.

    `clock` returns the time in UTC.
    """
    citations: list[ReadRecord] = []
    dead_letters: list[DeadLetter] = []
    for record in raw_slice.records:
        found = _read(record)
        if isinstance(found, Failure):
            dead_letters.append(
                dead_letter(
                    raw_slice.header.key,
                    record.offset,
                    found,
                    clock(),
                    key=record.key,
                    headers=record.headers,
                )
            )
        else:
            message = SourceMessage(record.key, record.value, record.headers)
            citations.append(ReadRecord(record.offset, found, message))
    observe("part_records", len(raw_slice.records))
    header = replace(raw_slice.header, coverage=(raw_slice.begin, raw_slice.end))
    return ReadBlock(header, tuple(citations), tuple(dead_letters))


def _read(record: RawRecord) -> Citation | Failure:
    payload = record.value or b""
    if record.error:
        return read_failure(RecordBatchError(record.error), payload)
    return parse_record(partial(decode_record, record.key, record.value), payload)
