"""Outputs with dead letters, and the commands that deal with them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.blocks.elements import AnnotatedBlock
from pipelines.blocks.keys import BlockKey, block_start
from pipelines.commands import dead_letters as dead_letters_command
from pipelines.output.manifest import open_output
from pipelines.output.writer import BlockWriter
from schemas.records import DeadLetter, SourcePosition, Stage
from tests.support.blocks import NOW, block, with_header

BLOCK_SIZE = 5
DIGEST = "kafka:cluster:topic"


def dead_letter(
    offset: int,
    payload: bytes = b"{",
    *,
    source: str = "t",
    partition: int = 0,
    stage: Stage = Stage.PARSE,
    error_type: str = "RecordError",
    error: str = "the message is not JSON",
    seen_at: datetime = NOW,
    key: bytes | None = None,
    headers: tuple[tuple[str, bytes | None], ...] = (),
) -> DeadLetter:
    """Return a dead letter."""
    position = SourcePosition(source, partition, offset)
    return DeadLetter(position, stage, error_type, error, payload, seen_at, key, headers)


def write_dead_letters(
    root: object, dead_letters: Sequence[DeadLetter], *, digest: str = DIGEST
) -> None:
    """Write dead letters of topics, as a stream does; each block's first offset is a citation.

    That of the first block is so only where no dead letter is there.
    """
    blocks: dict[BlockKey, list[DeadLetter]] = {}
    for one in dead_letters:
        place = one.position
        key = BlockKey(place.source, place.partition, block_start(place.offset, BLOCK_SIZE))
        blocks.setdefault(key, []).append(one)
    with open_output(str(root), block_size=BLOCK_SIZE) as store:
        writer = BlockWriter(store, BLOCK_SIZE, "max_text_chars=none;store_text=true", merges=True)
        for key, found in blocks.items():
            writer.write(_block(key, found, digest))


def _block(key: BlockKey, dead_letters: Sequence[DeadLetter], digest: str) -> AnnotatedBlock:
    taken = {one.position.offset for one in dead_letters}
    made = block(
        [x for x in (key.start,) if x not in taken],
        start=key.start,
        source=key.source,
        digest=digest,
        complete=False,
        last=False,
    )
    return with_header(replace(made, dead_letters=tuple(dead_letters)), key=key)


def run_dead_letters(command: str, *words: object) -> dict[str, Any]:
    """Run `pubner dead-letters` with `--json` in this process; return what it says."""
    file = Path(str(words[0])).parent / f"{command}.json"
    run = {"list": dead_letters_command.list_dead_letters, "replay": dead_letters_command.replay}
    assert run[command]([*(str(word) for word in words), f"--json={file}"]) == 0
    found: dict[str, Any] = json.loads(file.read_text())
    return found
