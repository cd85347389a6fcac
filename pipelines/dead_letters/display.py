"""Dead letters formatted as text for the terminal and as JSON."""

import heapq
import json
import string
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipelines.dead_letters.reading import DeadLetterId, dead_letter_digest, read_dead_letters
from pipelines.dead_letters.selection import Selection, format_position
from pipelines.output.store import Store
from schemas.records import DeadLetter, header_key_bytes
from worker.cli.terminal import safe_json, safe_text

_HEX_BYTES = 16
_PRINTED = frozenset(string.printable.encode()) - frozenset(string.whitespace.encode()) | {0x20}


@dataclass(frozen=True, slots=True)
class DeadLetterLine:
    """An entry of a list of dead letters, with the payload's `size` instead of the payload.

    `replayed` is whether it was sent to a topic again.
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

    def __lt__(self, other: "DeadLetterLine") -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[datetime, str, int, int]:
        return (self.seen_at, self.source, self.partition, self.offset)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
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
class DeadLetterList:
    """The newest of the selected dead letters, newest first, and counts of all of them.

    `counts` are by stage and error type.
    """

    lines: list[DeadLetterLine] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """Return the list as JSON values."""
        return {
            "total": self.counts.total(),
            "summary": [
                {"stage": stage, "error_type": kind, "count": count}
                for (stage, kind), count in sorted(self.counts.items())
            ],
            "letters": [line.to_json() for line in self.lines],
        }


def list_dead_letters(
    store: Store, selection: Selection, *, limit: int, replayed: Collection[DeadLetterId]
) -> DeadLetterList:
    """Return the `limit` newest of the selected dead letters; memory holds those and one block.

    `replayed` are the dead letters that were sent to a topic.
    """
    found = DeadLetterList()

    def lines() -> Iterator[DeadLetterLine]:
        for block in read_dead_letters(store, selection):
            for dead_letter in block.dead_letters:
                found.counts[str(dead_letter.stage), dead_letter.error_type] += 1
                yield _line(dead_letter, replayed)

    found.lines = heapq.nlargest(limit, lines())
    return found


def _line(dead_letter: DeadLetter, replayed: Collection[DeadLetterId]) -> DeadLetterLine:
    position = dead_letter.position
    return DeadLetterLine(
        source=position.source,
        partition=position.partition,
        offset=position.offset,
        stage=str(dead_letter.stage),
        error_type=dead_letter.error_type,
        error=dead_letter.error,
        size=len(dead_letter.payload),
        seen_at=dead_letter.seen_at,
        replayed=bool(replayed) and (position, dead_letter_digest(dead_letter)) in replayed,
    )


def time_text(time: datetime) -> str:
    """Return a time in UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe_dead_letter(dead_letter: DeadLetter, *, replays: Collection[str]) -> Iterator[str]:
    """Yield the lines that show a whole dead letter; `replays` are the topics it was sent to."""
    position = dead_letter.position
    facts: Mapping[str, object] = {
        "position": format_position(position),
        "stage": dead_letter.stage,
        "error type": dead_letter.error_type,
        "error": dead_letter.error,
        "seen at": time_text(dead_letter.seen_at),
        "replayed": ", ".join(sorted(replays)) or "no",
        "key": "none" if dead_letter.key is None else inline(dead_letter.key),
    }
    for name, value in facts.items():
        yield f"{name + ':':<12} {safe_text(str(value))}"
    for header, content in dead_letter.headers:
        shown = "null" if content is None else inline(content)
        yield f"{'header:':<12} {inline(header_key_bytes(header))} = {shown}"
    yield f"{'payload:':<12} {len(dead_letter.payload):,} bytes"
    if dead_letter.payload:
        yield ""
        yield from describe_bytes(dead_letter.payload)


def describe_bytes(data: bytes) -> Iterator[str]:
    """Yield `data` as lines: indented if JSON, unchanged if other text, else as a hex dump."""
    text = as_text(data)
    if text is None:
        yield from hex_dump(data)
        return
    try:
        yield safe_json(json.loads(text), indent=2)
    except (ValueError, RecursionError):
        yield safe_text(text.replace("\r\n", "\n"), lines=True)


def as_text(data: bytes) -> str | None:
    """Return `data` decoded as UTF-8; None if that fails or if the text holds control characters.

    Control characters other than tabs and line ends could control the terminal.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    shown = text.replace("\r\n", "\n")
    return text if safe_text(shown, lines=True) == shown else None


def hex_dump(data: bytes) -> Iterator[str]:
    """Yield `data` as a hex dump of 16 bytes a line: offset, bytes in hex, and printable ASCII."""
    for begin in range(0, len(data), _HEX_BYTES):
        chunk = data[begin : begin + _HEX_BYTES]
        shown = "".join(chr(byte) if byte in _PRINTED else "." for byte in chunk)
        yield f"{begin:08x}  {chunk.hex(' '):<{3 * _HEX_BYTES - 1}}  {shown}"


def inline(data: bytes) -> str:
    """Return bytes on one line: as text, or as a Python literal if they are not text."""
    text = as_text(data)
    return repr(data) if text is None else safe_text(text)
