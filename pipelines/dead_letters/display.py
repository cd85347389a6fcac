"""Dead letters as people and programs read them."""

import heapq
import json
import string
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipelines.dead_letters.reading import LetterId, letter_digest, read_letters
from pipelines.dead_letters.selection import Selection, format_position
from pipelines.output.store import Store
from schemas.records import DeadLetter, header_key_bytes
from worker.cli.terminal import safe_json, safe_text

_HEX_BYTES = 16
_PRINTED = frozenset(string.printable.encode()) - frozenset(string.whitespace.encode()) | {0x20}


@dataclass(frozen=True, slots=True)
class LetterLine:
    """One letter of a list: all of it but its bytes, of which there are `size`.

    `replayed` says that it was sent to a topic again.
    """

    source: str
    partition: int
    offset: int
    stage: str
    error_type: str
    error: str
    size: int
    seen_at: datetime
    replayed: bool

    def __lt__(self, other: "LetterLine") -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[datetime, str, int, int]:
        return (self.seen_at, self.source, self.partition, self.offset)

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON has it."""
        return {
            "source": self.source,
            "partition": self.partition,
            "offset": self.offset,
            "stage": self.stage,
            "error_type": self.error_type,
            "error": self.error,
            "size": self.size,
            "seen_at": time_text(self.seen_at),
            "replayed": self.replayed,
        }


@dataclass(slots=True)
class LetterList:
    """The newest letters that are meant, newest first, and how many there are of each kind.

    `counts` are by stage and error type, of all that are meant.
    """

    lines: list[LetterLine] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """Return the list as JSON has it."""
        return {
            "total": self.counts.total(),
            "summary": [
                {"stage": stage, "error_type": kind, "count": count}
                for (stage, kind), count in sorted(self.counts.items())
            ],
            "letters": [line.to_json() for line in self.lines],
        }


def list_letters(
    store: Store, selection: Selection, *, limit: int, replayed: Collection[LetterId]
) -> LetterList:
    """Return the `limit` newest letters that are meant; memory holds those and one block.

    `replayed` are the letters that were sent to a topic.
    """
    found = LetterList()

    def lines() -> Iterator[LetterLine]:
        for block in read_letters(store, selection):
            for letter in block.letters:
                found.counts[str(letter.stage), letter.error_type] += 1
                yield _line(letter, replayed)

    found.lines = heapq.nlargest(limit, lines())
    return found


def _line(letter: DeadLetter, replayed: Collection[LetterId]) -> LetterLine:
    position = letter.position
    return LetterLine(
        source=position.source,
        partition=position.partition,
        offset=position.offset,
        stage=str(letter.stage),
        error_type=letter.error_type,
        error=letter.error,
        size=len(letter.payload),
        seen_at=letter.seen_at,
        replayed=bool(replayed) and (position, letter_digest(letter)) in replayed,
    )


def time_text(time: datetime) -> str:
    """Return a time in UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe_letter(letter: DeadLetter, *, replays: Collection[str]) -> Iterator[str]:
    """Yield the lines that say all of a letter; `replays` are the topics it was sent to."""
    position = letter.position
    facts: Mapping[str, object] = {
        "position": format_position(position),
        "stage": letter.stage,
        "error type": letter.error_type,
        "error": letter.error,
        "seen at": time_text(letter.seen_at),
        "replayed": ", ".join(sorted(replays)) or "no",
        "key": "none" if letter.key is None else inline(letter.key),
    }
    for name, value in facts.items():
        yield f"{name + ':':<12} {safe_text(str(value))}"
    for header, content in letter.headers:
        shown = "null" if content is None else inline(content)
        yield f"{'header:':<12} {inline(header_key_bytes(header))} = {shown}"
    yield f"{'payload:':<12} {len(letter.payload):,} bytes"
    if letter.payload:
        yield ""
        yield from describe_bytes(letter.payload)


def describe_bytes(data: bytes) -> Iterator[str]:
    """Yield `data` as lines: indented where they are JSON, as they are where text, else in hex."""
    text = as_text(data)
    if text is None:
        yield from hex_dump(data)
        return
    try:
        yield safe_json(json.loads(text), indent=2)
    except (ValueError, RecursionError):
        yield safe_text(text.replace("\r\n", "\n"), lines=True)


def as_text(data: bytes) -> str | None:
    """Return the text that `data` are in UTF-8; None where they are none, or would move a cursor.

    Control characters other than tabs and line ends could drive the terminal.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    shown = text.replace("\r\n", "\n")
    return text if safe_text(shown, lines=True) == shown else None


def hex_dump(data: bytes) -> Iterator[str]:
    """Yield `data` sixteen bytes a line: offset, bytes in hex, and what of them is ASCII."""
    for begin in range(0, len(data), _HEX_BYTES):
        part = data[begin : begin + _HEX_BYTES]
        shown = "".join(chr(byte) if byte in _PRINTED else "." for byte in part)
        yield f"{begin:08x}  {part.hex(' '):<{3 * _HEX_BYTES - 1}}  {shown}"


def inline(data: bytes) -> str:
    """Return bytes on one line: their text, or a Python literal where they are none."""
    text = as_text(data)
    return repr(data) if text is None else safe_text(text)
