"""The dead letters of a feed, as a Parquet data set: one a position, however often it is fed."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pipelines.blocks.elements import AnnotatedBlock, BlockHeader
from pipelines.blocks.failures import dead_letter
from pipelines.blocks.keys import BlockKey, block_start, parse_name
from pipelines.output.store import Store
from pipelines.output.writer import BlockWriter, read_footer
from schemas.arrow import KINDS
from schemas.records import DeadLetter
from worker.readers.failures import Failure
from worker.readers.formats import BadRecord

BLOCK_SIZE = 1000
_MOST_BYTES = 32 * 2**20


@dataclass(slots=True)
class LetterBook:
    """Collects the dead letters of a run and writes them, by the block writer, to `store`.

    A letter at a position that has one goes over it. `clock` gives the time in UTC. `counts` are
    this run's letters by stage.
    """

    store: Store
    clock: Callable[[], datetime]
    counts: Counter[str] = field(default_factory=Counter)
    _source: str = ""
    _digest: str = ""
    _held: list[DeadLetter] = field(default_factory=list)
    _held_bytes: int = 0

    def begin(self, source: str, digest: str, *, anew: bool) -> None:
        """Take letters of another file; where it is read `anew`, those of before are removed.

        Those of another content of the file are removed in any case.
        """
        self.flush()
        self._source, self._digest = source, digest
        for kind in reversed(KINDS):
            for name in self._names(kind, source):
                footer = None if anew else read_footer(self.store, kind, name)
                if footer is None or footer.input_digest != digest:
                    self.store.remove(kind, name)

    def holds(self, source: str) -> bool:
        """Whether letters of `source` are in place."""
        return any(self._names("citations", source))

    def _names(self, kind: str, source: str) -> list[str]:
        keys = {name: parse_name(name) for name in self.store.names(kind)}
        return [name for name, key in keys.items() if key is not None and key.source == source]

    def add(
        self,
        offset: int,
        failure: Failure | BadRecord,
        *,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Keep the dead letter of one record; it is written by the next `flush`."""
        self.counts[str(failure.stage)] += 1
        block = BlockKey(self._source, 0, block_start(offset, BLOCK_SIZE))
        self._held.append(
            dead_letter(block, offset, failure, self.clock(), key=key, headers=headers)
        )
        self._held_bytes += len(failure.payload)
        if self._held_bytes >= _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Put all letters so far in place.

        :raises OutputError: if that fails.
        """
        blocks: dict[int, list[DeadLetter]] = {}
        for letter in self._held:
            start = block_start(letter.position.offset, BLOCK_SIZE)
            blocks.setdefault(start, []).append(letter)
        writer = BlockWriter(self.store, BLOCK_SIZE, settings="feed", store_text=False)
        for start, letters in sorted(blocks.items()):
            writer.write(
                AnnotatedBlock(
                    BlockHeader(BlockKey(self._source, 0, start), self._digest),
                    checkpoint_id="",
                    annotated_at=self.clock(),
                    citations=(),
                    dead_letters=tuple(letters),
                )
            )
        self._held.clear()
        self._held_bytes = 0
