"""What a reader says of bytes that give no citation."""

from dataclasses import dataclass, replace
from typing import Final

from schemas.errors import RecordError
from schemas.records import Stage

MAX_RECORD_BYTES: Final = 32 * 2**20
"""The largest record that is read. Those of PubMed stay under a few MB; memory is bounded by it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One record that cannot be used: the stage, the exception's class name, why, and its bytes.

    `payload` holds the record as it stood in the (decompressed) file. Of a record over the size
    limit it holds the first bytes, up to the limit.
    """

    stage: Stage
    error_type: str
    error: str
    payload: bytes


def parse_failure(error: Exception, payload: bytes) -> Failure:
    """Return the failure of a record whose parsing raised `error`."""
    return Failure(Stage.PARSE, type(error).__name__, str(error), payload)


def read_failure(error: Exception, payload: bytes) -> Failure:
    """Return the failure of bytes that make no whole record, because of `error`."""
    return Failure(Stage.READ, type(error).__name__, str(error), payload)


def at_line(failure: Failure, line: int) -> Failure:
    """Return a failure whose reason begins with the line of the file, counted from 1."""
    return replace(failure, error=f"line {line}: {failure.error}")


def oversize_failure(record: bytes, limit: int) -> Failure:
    """Return the failure of a record of more than `limit` bytes; it keeps the first `limit`."""
    error = RecordError(f"the record is larger than {limit} bytes, the limit of one record")
    return read_failure(error, record[:limit])
