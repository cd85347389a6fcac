"""What a reader says of bytes that give no citation."""

from dataclasses import dataclass
from typing import Final

from schemas.errors import RecordError
from schemas.records import Stage

MAX_RECORD_BYTES: Final = 32 * 2**20
"""The largest record that is read. Those of PubMed stay under a few MB; memory is bounded by it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One record that cannot be used: the stage, the exception's class name, why, and its bytes.

    `payload` holds the record as it stood in the (decompressed) file. Of a record over the size
    limit it holds the first bytes, up to the limit, and `error` says how many there are.
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


def oversize_failure(record: bytes, limit: int, size: int) -> Failure:
    """Return the failure of a record of `size` bytes, more than `limit`; it keeps the first."""
    error = RecordError(
        f"the record has {size} bytes and is larger than {limit} bytes, the limit of one record; "
        f"the first {limit} are kept"
    )
    return read_failure(error, record[:limit])
