"""Failures: records that a reader cannot turn into a citation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from schemas.errors import RecordError
from schemas.records import Stage

T = TypeVar("T")

MAX_RECORD_BYTES: Final = 32 * 2**20
"""The maximum size of a record, which bounds memory. PubMed's records have at most a few MB."""

_LONGEST_ERROR: Final = 1000  # characters; a parser may repeat what it read in its message


@dataclass(frozen=True, slots=True)
class Failure:
    """A record that cannot be read: the stage, the exception's class name and text, the bytes.

    `payload` is the record as in the (decompressed) file. For a record over the size limit it is
    the first bytes, up to the limit, and `error` states the full size.
    """

    stage: Stage
    error_type: str
    error: str
    payload: bytes


def parse_record(parse: Callable[[], T], payload: bytes) -> T | Failure:
    """Return the result of `parse` for one record, or that record's failure.

    Any exception of the parser, from pubner or from a library (including RecursionError and
    MemoryError), fails only this record. `payload` is the record's bytes.
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
    if not isinstance(error, RecordError | SyntaxError):  # their text already describes the fault
        text = f"the record cannot be parsed: {text or type(error).__name__}"
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"


def read_failure(error: Exception, payload: bytes) -> Failure:
    """Return the failure of bytes that are not a complete record, because of `error`."""
    return failure_of(Stage.READ, error, payload)


def failure_of(stage: Stage, error: Exception, payload: bytes) -> Failure:
    """Return the failure of a record at `stage`, in the words of `error`."""
    return Failure(stage, type(error).__name__, str(error), payload)


def at_line(failure: Failure, line: int) -> Failure:
    """Return the failure with its line number in the file, counted from 1, before the reason."""
    return replace(failure, error=f"line {line}: {failure.error}")


def oversize_failure(record: bytes, limit: int, size: int) -> Failure:
    """Return the failure of a record of `size` bytes, over `limit`; its first bytes are kept."""
    error = RecordError(
        f"the record has {size} bytes and is larger than {limit} bytes, the limit of one record; "
        f"the first {limit} are kept"
    )
    return read_failure(error, record[:limit])
