"""One place where whatever a parser raises becomes the record's failure."""

import pytest

from schemas.errors import RecordError
from worker.readers.failures import Failure, parse_record


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (RecordError("no PMID"), "RecordError", "no PMID"),
        (RecursionError("too deep"), "RecursionError", "the record cannot be parsed: too deep"),
        (MemoryError(), "MemoryError", "the record cannot be parsed: MemoryError"),
        (KeyError("x"), "KeyError", "the record cannot be parsed: 'x'"),
    ],
)
def test_whatever_a_parser_raises(error: Exception, kind: str, reason: str) -> None:
    def parse() -> None:
        raise error

    found = parse_record(parse, b"bytes")
    assert isinstance(found, Failure)
    assert (found.stage, found.error_type, found.error) == ("parse", kind, reason)
    assert found.payload == b"bytes"


def test_a_stack_that_one_record_exhausts_is_its_failure() -> None:
    def parse(depth: int = 0) -> int:
        return parse(depth + 1)

    found = parse_record(parse, b"bytes")
    assert isinstance(found, Failure)
    assert found.error_type == "RecursionError"
    assert parse_record(lambda: 5, b"bytes") == 5


def test_being_stopped_is_no_failure_of_a_record() -> None:
    def parse() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parse_record(parse, b"bytes")


def test_a_long_reason_is_cut() -> None:
    def parse() -> None:
        raise ValueError("x" * 10**6)

    found = parse_record(parse, b"bytes")
    assert isinstance(found, Failure)
    assert len(found.error) < 1100
