"""Parser of citations in JSON: one object per line of a file, or one per message.

It implements the contract `schemas/citation-message.schema.json`. The fields:
`schema_version` (integer), `pmid` (integer), `pmid_version` (integer; if missing 1, and for a
tombstone all versions), `title` (string), `abstract` (a string, or a list of objects with `text`
and, if labelled, `label`), `retracted` (boolean), `date_revised` ("2026-01-31"), `year`
(integer) and `deleted` (boolean: the record is a tombstone and needs no text). `pmid`, `title` and
`abstract` are required (empty if there is no text); the others may be missing or null. Unknown
fields are ignored. A message of a newer `schema_version` is accepted if its known fields are
present and valid.

Strings are unchanged, except that a line feed in a title becomes a space, because the first line
feed of a citation's text separates title and abstract. Offsets are unaffected.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import date
from functools import partial
from typing import Any, Final, TypeVar

from schemas.citation_message import SCHEMA_VERSION
from schemas.errors import RecordError
from schemas.records import ALL_VERSIONS, Citation, Section
from worker.readers.failures import MAX_RECORD_BYTES, Failure, at_line, parse_record
from worker.readers.fields import MAX_PMID, MAX_VERSION, checked_pmid, checked_version
from worker.readers.lines import split_lines

T = TypeVar("T")
_SHOWN: Final = 40  # characters of a wrong value that an error repeats
_MAX_YEAR: Final = 9999
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LARGE_BYTES: Final = 2**20
_MAX_VALUES: Final = 200_000
_MARKS: Final = (b'"', b"[", b"{", b",")
_VALUE = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{,]', re.DOTALL)
"""A string, or a character that introduces a value; an unclosed string extends to the end."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_jsonl(
    chunks: Iterable[bytes], *, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Citation | Failure]:
    """Yield the citation or failure of each line, in order; blank lines are skipped.

    A failure names its line in the file.
    """
    for number, line in enumerate(split_lines(chunks, max_line_bytes=max_record_bytes), 1):
        if isinstance(line, Failure):
            yield at_line(line, number)
        elif line and not line.isspace():
            found = parse_record(partial(parse_message, line), line)
            yield at_line(found, number) if isinstance(found, Failure) else found


def parse_message(data: bytes) -> Citation:
    """Parse the citation, or the tombstone, from one JSON object.

    :raises RecordError: if `data` is not UTF-8 or not one JSON object, if a field is missing or
        has a wrong type, or if a string cannot be encoded as UTF-8 (an unpaired surrogate).
    """
    fields = _object(data)
    version = _integer(fields, "schema_version", SCHEMA_VERSION)
    if version < 1:
        raise _wrong("schema_version", version, "an integer from 1")
    if version <= SCHEMA_VERSION:
        return _citation(fields)
    try:
        return _citation(fields)
    except RecordError as error:
        raise RecordError(
            f"{error}; the message's schema_version is {str(version)[:_SHOWN]}, newer than "
            f"{SCHEMA_VERSION}, the latest known here: update pubner"
        ) from error


def _citation(fields: dict[str, Any]) -> Citation:
    pmid = _integer(fields, "pmid")
    if not 0 < pmid <= MAX_PMID:
        checked_pmid(str(pmid))
    deleted = _optional(fields, "deleted", bool, "true or false", False)
    if deleted and fields.get("pmid_version") is None:
        return Citation(pmid, ALL_VERSIONS, deleted=True)
    version = _integer(fields, "pmid_version", 1)
    if not 0 < version <= MAX_VERSION:
        checked_version(str(version))
    if deleted:
        return Citation(pmid, version, deleted=True)
    return Citation(
        pmid,
        version,
        _string(fields, "title", "the message").replace("\n", " "),
        _sections(fields),
        _optional(fields, "retracted", bool, "true or false", False),
        _date_revised(fields),
        _year(fields),
    )


def _object(data: bytes) -> dict[str, Any]:
    _check_values(data)
    try:
        fields = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RecordError(
            f"the message is not UTF-8: {error.reason} at byte {error.start}"
        ) from error
    except ValueError as error:
        raise RecordError(f"the message is not JSON: {error}") from error
    except RecursionError as error:
        raise RecordError("the message's JSON is nested too deeply") from error
    if not isinstance(fields, dict):
        raise RecordError(f"the message is a JSON {_kind(fields)}; one object was expected")
    return fields


def _check_values(data: bytes) -> None:
    """Check that the parsed message takes at most a few times the memory of its bytes.

    An empty list takes three bytes as JSON and sixty-four as an object, so a large message may not
    contain many values. Values are estimated from brackets, commas and strings.

    :raises RecordError: if there are too many values.
    """
    if len(data) < _LARGE_BYTES or sum(map(data.count, _MARKS)) <= _MAX_VALUES:
        return
    for count, _ in enumerate(_VALUE.finditer(data)):
        if count >= _MAX_VALUES:
            raise RecordError(
                f"the message has {len(data)} bytes and more than {_MAX_VALUES} JSON values; a "
                "citation of a few dozen was expected"
            )


def _kind(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number"}
    return names.get(type(value), "number" if isinstance(value, float) else "null")


def _wrong(name: str, value: object, expected: str) -> RecordError:
    return RecordError(f"{name} is {_described(value)}; expected {expected}")


def _described(value: object) -> str:
    """Describe a value for an error message; containers are summarised, not written out."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f"{value[:_SHOWN]!r}" + (f"… ({len(value)} characters)" * (len(value) > _SHOWN))
        case int() | float():
            return f"the number {str(value)[:_SHOWN]}"
        case dict():
            return f"an object of {len(value)} fields"
        case list():
            return f"an array of {len(value)} values"
    return "null"


def _optional(fields: dict[str, Any], name: str, kind: type[T], expected: str, default: T) -> T:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise _wrong(name, value, expected)
    return value


def _integer(fields: dict[str, Any], name: str, default: int | None = None) -> int:
    value = fields.get(name)
    if type(value) is int:  # excludes bool
        return value
    if value is None and default is not None:
        return default
    if name not in fields:
        raise RecordError(f"the message has no {name}")
    raise _wrong(name, value, "an integer")


def _string(fields: dict[str, Any], name: str, where: str) -> str:
    if name not in fields:
        raise RecordError(f'{where} has no {name}; if there is no text, give ""')
    value = fields[name]
    if not isinstance(value, str):
        raise _wrong(name, value, "a string")
    return _encodable(name, value)


def _encodable(name: str, text: str) -> str:
    if not text.isascii() and _SURROGATE.search(text):
        raise RecordError(f"{name} holds an unpaired surrogate, which is not a character")
    return text


def _sections(fields: dict[str, Any]) -> tuple[Section, ...]:
    parts = fields.get("abstract")
    if not isinstance(parts, list):
        text = _string(fields, "abstract", "the message")
        return (Section(text),) if text else ()
    return tuple([section for part in parts if (section := _section(part)).text])


def _section(part: object) -> Section:
    if not isinstance(part, dict):
        raise _wrong("a part of abstract", part, "an object with text and label")
    label = _optional(part, "label", str, "a string", "")
    return Section(_string(part, "text", "a part of abstract"), _encodable("label", label) or None)


def _date_revised(fields: dict[str, Any]) -> date | None:
    value = _optional(fields, "date_revised", str, "a date such as 2026-01-31", "")
    if not value:
        return None
    if _ISO_DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise _wrong("date_revised", value, "a date such as 2026-01-31")


def _year(fields: dict[str, Any]) -> int | None:
    value = fields.get("year")
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_YEAR:
        return value
    raise _wrong("year", value, f"an integer from 1 to {_MAX_YEAR}")
