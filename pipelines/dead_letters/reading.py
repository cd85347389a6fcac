"""Reader of the dead letters of an output, block by block."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import nlargest
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.blocks.keys import BlockKey, file_name, parse_name
from pipelines.blocks.tables import Footer, dead_letter_headers, in_newest_format
from pipelines.dead_letters.selection import Selection
from pipelines.output.index import cached_blocks
from pipelines.output.store import Store
from pipelines.output.writer import read_block, read_footer
from schemas.errors import OutputError
from schemas.records import DeadLetter, SourcePosition, Stage, header_key_bytes

TOPIC_DIGEST = "kafka:"
"""Prefix of the input digest of a topic's blocks; a file's digest is hexadecimal."""

DeadLetterId = tuple[SourcePosition, str]
"""A dead letter's position, and the digest of its content."""


@dataclass(frozen=True, slots=True)
class BlockDeadLetters:
    """Dead letters of one block, by offset, and the block's footer."""

    footer: Footer
    dead_letters: tuple[DeadLetter, ...]

    @property
    def from_topic(self) -> bool:
        """Whether the block's source is a topic, whose dead letters hold original messages."""
        return self.footer.input_digest.startswith(TOPIC_DIGEST)


def read_dead_letters(store: Store, selection: Selection) -> Iterator[BlockDeadLetters]:
    """Yield the selected dead letters, by source, partition and offset, a block at a time.

    Blocks that have none by the output's index are not opened.

    Of a block that is being replaced, they are those of the revision of its citations' file.

    :raises OutputError: if a file is damaged or cannot be read.
    """
    keys = [parse_name(name) for name in store.names("dead_letters")]
    empty = {
        key
        for key, block in cached_blocks(store).items()
        if block.counts is not None and not block.counts.dead_letters
    }
    for key in sorted(key for key in keys if key is not None):
        if key in empty or not selection.may_hold(key):
            continue
        block = read_block_dead_letters(store, key)
        dead_letters = tuple(x for x in block.dead_letters if selection.matches(x)) if block else ()
        if block is not None and dead_letters:
            yield BlockDeadLetters(block.footer, dead_letters)


def read_block_dead_letters(store: Store, key: BlockKey) -> BlockDeadLetters | None:
    """Return the dead letters of one block; None if it has none.

    :raises OutputError: if a file is damaged or cannot be read.
    """
    name = file_name(key)
    stream = store.open("dead_letters", name)
    if stream is None:
        return None
    with stream:
        try:
            file = pq.ParquetFile(stream)
            footer = Footer.from_metadata(file.metadata.metadata)
            if footer is None or file.metadata.num_rows == 0:
                return None
            rows = in_newest_format("dead_letters", file.read()).to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise OutputError(
                f"dead_letters/{name} in the output is damaged ({error}); remove it, and run the "
                "command that wrote it again"
            ) from error
    committed = read_footer(store, "citations", name)
    if committed is None:
        return None
    if committed.revision != footer.revision:
        block = read_block(store, key)
        if block is None:
            return None
        footer, rows = block.footer, block.tables["dead_letters"].to_pylist()
    return BlockDeadLetters(footer, tuple(_dead_letter(row) for row in rows))


def find_dead_letter(store: Store, position: SourcePosition) -> DeadLetter | None:
    """Return the dead letter at a position; None if there is none."""
    for block in read_dead_letters(store, Selection(positions=frozenset([position]))):
        return block.dead_letters[0]
    return None


def dead_letter_digest(dead_letter: DeadLetter) -> str:
    """Return the digest of a dead letter's content: key, headers and payload, but not the error."""
    digest = hashlib.sha256()
    headers = [(header_key_bytes(name), value) for name, value in dead_letter.headers]
    parts = [dead_letter.key, *(x for header in headers for x in header)]
    for part in (*parts, dead_letter.payload):
        digest.update(b"-" if part is None else b"%d:" % len(part) + part)
    return digest.hexdigest()[:32]


def choose(store: Store, selection: Selection, limit: int | None) -> frozenset[DeadLetterId]:
    """Return the ids of the selected dead letters: all of them, or the `limit` newest."""
    found = (
        (dead_letter.seen_at, (dead_letter.position, dead_letter_digest(dead_letter)))
        for block in read_dead_letters(store, selection)
        for dead_letter in block.dead_letters
    )
    return frozenset(x for _, x in (found if limit is None else nlargest(limit, found)))


def _dead_letter(row: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        position=SourcePosition(row["source"], row["partition"], row["offset"]),
        stage=Stage(row["stage"]),
        error_type=row["error_type"],
        error=row["error"],
        payload=row["payload"],
        seen_at=row["seen_at"],
        key=row["key"],
        headers=dead_letter_headers(row),
    )
