"""Writer of a feed's dead letters to a Parquet data set, with at most one a position."""

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
_MAX_PENDING_BYTES = 32 * 2**20


@dataclass(slots=True)
class DeadLetterWriter:
    """Collects the dead letters of a run and writes them to `store` in blocks.

    A dead letter replaces an earlier one at the same position. `clock` returns the time in UTC.
    `counts` are this run's dead letters by stage.
    """

    store: Store
    clock: Callable[[], datetime]
    counts: Counter[str] = field(default_factory=Counter)
    _source: str = ""
    _digest: str = ""
    _pending: list[DeadLetter] = field(default_factory=list)
    _pending_bytes: int = 0

    def begin(self, source: str, digest: str, *, from_scratch: bool) -> None:
        """Begin another file, removing its earlier dead letters if it is read `from_scratch`.

        Those of a file of the same name with other content are removed in any case.
        """
        self.flush()
        self._source, self._digest = source, digest
        for kind in reversed(KINDS):
            for name in self._names(kind, source):
                footer = None if from_scratch else read_footer(self.store, kind, name)
                if footer is None or footer.input_digest != digest:
                    self.store.remove(kind, name)

    def holds(self, source: str) -> bool:
        """Whether dead letters of `source` are written."""
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
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        """Add the dead letter of one record; the next `flush` writes it."""
        self.counts[str(failure.stage)] += 1
        block = BlockKey(self._source, 0, block_start(offset, BLOCK_SIZE))
        self._pending.append(
            dead_letter(block, offset, failure, self.clock(), key=key, headers=headers)
        )
        self._pending_bytes += len(failure.payload)
        if self._pending_bytes >= _MAX_PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write all pending dead letters.

        :raises OutputError: if that fails.
        """
        blocks: dict[int, list[DeadLetter]] = {}
        for pending in self._pending:
            start = block_start(pending.position.offset, BLOCK_SIZE)
            blocks.setdefault(start, []).append(pending)
        writer = BlockWriter(self.store, BLOCK_SIZE, settings="feed", store_text=False)
        for start, dead_letters in sorted(blocks.items()):
            writer.write(
                AnnotatedBlock(
                    BlockHeader(BlockKey(self._source, 0, start), self._digest),
                    checkpoint_id="",
                    annotated_at=self.clock(),
                    citations=(),
                    dead_letters=tuple(dead_letters),
                )
            )
        self._pending.clear()
        self._pending_bytes = 0
