"""Validation of fields that all formats share: PMID and version."""

from typing import Final

from schemas.errors import RecordError

MAX_PMID: Final = 2**63 - 1
MAX_VERSION: Final = 2**15 - 1
_SHOWN: Final = 40  # characters of a wrong value that a message repeats


def checked_pmid(text: str) -> int:
    """Parse a PMID in ASCII digits, from 1 to 2^63 - 1.

    :raises RecordError: for anything else.
    """
    return _checked(text, "PMID", MAX_PMID)


def checked_version(text: str) -> int:
    """Parse a version in ASCII digits, from 1 to 2^15 - 1.

    :raises RecordError: for anything else.
    """
    return _checked(text, "version", MAX_VERSION)


def _checked(text: str, what: str, largest: int) -> int:
    # Twenty digits suffice for every allowed number; int() raises ValueError for thousands.
    if (
        text.isascii()
        and text.isdigit()
        and len(text) <= 20
        and 1 <= (number := int(text)) <= largest
    ):
        return number
    raise RecordError(
        f"the {what} is {text[:_SHOWN]!r}; an integer from 1 to {largest} was expected"
    )
