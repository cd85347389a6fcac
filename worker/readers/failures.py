"""What a reader says of bytes that give no citation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from schemas.errors import RecordError
from schemas.records import Stage

T = TypeVar("T")

MAX_RECORD_BYTES: Final = 32 * 2**20
"""The largest record that is read. Those of PubMed stay under a few MB; memory is bounded by it."""

_LONGEST_ERROR: Final = 1000  # characters; a parser may repeat what it read in its message


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


def parse_record(parse: Callable[[], T], payload: bytes) -> T | Failure:
    """Return what `parse` makes of one record, or the failure of that record.

    Whatever a parser raises, its author's error or a library's (a stack or a memory that one record
    exhausts included), is the record's failure alone. `payload` is the record's bytes.
    """
    try:
        return parse()
    except Exception as error:
        return parse_failure(error, payload)


def parse_failure(error: Exception, payload: bytes) -> Failure:
    """Return the failure of a record whose parsing raised `error`."""
    return Failure(Stage.PARSE, type(error).__name__, _reason(error), payload)


def _reason(error: Exception) -> str:
    text = str(error)
    if not isinstance(error, RecordError | SyntaxError):  # these say by themselves what is wrong
        text = f"the record cannot be parsed: {text or type(error).__name__}"
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"


def read_failure(error: Exception, payload: bytes) -> Failure:
    """Return the failure of bytes that make no whole record, because of `error`."""
    return failure_of(Stage.READ, error, payload)


def failure_of(stage: Stage, error: Exception, payload: bytes) -> Failure:
    """Return the failure of a record at `stage`, in the words of `error`."""
    return Failure(stage, type(error).__name__, str(error), payload)


def at_line(failure: Failure, line: int) -> Failure:
    """Return a failure whose reason begins with the line of the file, counted from 1."""
    return replace(failure, error=f"line {line}: {failure.error}")


def oversize_failure(record: bytes, limit: int, size: int) -> Failure:
    """Return the failure of a record of `size` bytes, more than `limit`; it keeps the first."""
    error = RecordError(
        f"the record has {size} bytes and is larger than {limit} bytes, the limit of one record; "
        f"the first {limit} are kept"
    )
    return read_failure(error, record[:limit])
