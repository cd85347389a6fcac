"""From a file to blocks of records; what is already in place is passed over."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import BinaryIO, cast

from pipelines.blocks.elements import BlockHeader, InputFile, ReadBlock
from pipelines.blocks.failures import dead_letter
from pipelines.blocks.keys import BlockKey, block_start
from pipelines.blocks.tables import Footer
from pipelines.output.index import committed_since
from pipelines.output.store import Store
from pipelines.output.writer import committed_blocks, read_pmids
from pipelines.sources.fingerprint import (
    UNREADABLE,
    RefusedFileError,
    content_digest,
    open_file,
    reason_of,
)
from pipelines.telemetry.counting import CountedStream
from pipelines.telemetry.run_channel import Monitor
from schemas.records import DeadLetter, Stage
from worker.readers.formats import BadRecord, Format, ReadRecord, detect_format, read_records

PIECE_BYTES = 16 * 2**20
"""A block is cut into pieces of so many bytes of records, or of one record where that has more."""


@dataclass(frozen=True, slots=True)
class BlockReader:
    """Reads files into blocks of `block_size` records.

    A block whose commit record names the same content, checkpoint and settings is not read again;
    with `reread_older`, only where the readers were then what they are now. `format` None goes by
    the file's name. `clock` gives the time in UTC. A block with more than `piece_bytes` of records
    comes in pieces.
    """

    block_size: int
    checkpoint_id: str
    settings: str
    format: Format | None
    clock: Callable[[], datetime]
    monitor: Monitor
    piece_bytes: int = PIECE_BYTES
    reread_older: bool = False

    def read(self, file: InputFile, store: Store) -> Iterator[ReadBlock]:
        """Yield the blocks of `file` that `store` does not hold, in order.

        What is known of the file's blocks from a listing of the output is not read again; where
        that does not say that all of them are written, the output is asked what was written since.

        A file that is refused as a whole (unreadable, or not what its sidecar says) is one block
        with one dead letter at offset 0. One that merely cannot be read today, and was annotated
        before, gives nothing: what is in place stays.
        """
        try:
            digest = content_digest(file, check=self._read_for_digest)
        except RefusedFileError as refusal:
            known = self._committed(file, store)
            self.monitor.report(input_bytes=file.size)
            if refusal.digest == UNREADABLE and _holds_content(known):
                self.monitor.report(unreadable_inputs=1)
            elif not self._is_done(known.get(0), refusal.digest):
                yield self._refused_block(file, refusal)
            return
        known = {} if file.known is None else file.known.footers()
        done = self._done(known, digest)
        if not self._is_whole(known, done):
            known = self._committed(file, store)
            done = self._done(known, digest)
        if self._is_whole(known, done):
            records = sum(known[start].records for start in done)
            self.monitor.report(input_bytes=file.size, records=records, records_in_place=records)
            return
        done -= self._shifted(file, store, {start: known[start] for start in done})
        yield from self._blocks(file, digest, done)

    def _read_for_digest(self, size: int) -> None:
        self.monitor.check()
        self.monitor.report(digest_bytes=size)

    @staticmethod
    def _committed(file: InputFile, store: Store) -> dict[int, Footer]:
        """Return the footers of the committed blocks, as they are now, by block start."""
        if file.known is None:
            return committed_blocks(store, file.source)
        return committed_since(store, file.source, file.known)

    def _done(self, known: Mapping[int, Footer], digest: str) -> set[int]:
        return {start for start, footer in known.items() if self._is_done(footer, digest)}

    def _is_done(self, footer: Footer | None, digest: str) -> bool:
        return (
            footer is not None
            and footer.complete
            and footer.block_size == self.block_size
            and not (self.reread_older and footer.is_of_older_reader)
            and (footer.input_digest, footer.checkpoint_id, footer.settings)
            == (digest, self.checkpoint_id, self.settings)
        )

    def _is_whole(self, known: dict[int, Footer], done: set[int]) -> bool:
        """Whether every block up to the last one is in place, and none behind it."""
        if not done or set(known) != done:
            return False
        end = max(done)
        return known[end].last and done == set(range(0, end + 1, self.block_size))

    def _shifted(self, file: InputFile, store: Store, done: Mapping[int, Footer]) -> set[int]:
        """Return which blocks of an older reader hold other records than are there now.

        Where a file is damaged, another version of the readers may count its records otherwise. To
        go on behind such blocks would lose records, or have them twice.
        """
        older = {start for start, footer in done.items() if footer.is_of_older_reader}
        if not older:
            return set()
        found = {start: read_pmids(store, BlockKey(file.source, 0, start)) for start in older}
        now: dict[int, dict[int, int]] = {start: {} for start in older}
        with suppress(OSError), closing(open_file(file.path)) as stream:
            for item in read_records(stream, self.format or detect_format(file.source)):
                self.monitor.check()
                start = block_start(item.offset, self.block_size)
                if start in older and isinstance(item, ReadRecord):
                    now[start][item.offset] = item.citation.pmid
        return {start for start in older if now[start] != found[start]}

    def _refused_block(self, file: InputFile, refusal: RefusedFileError) -> ReadBlock:
        reason = reason_of(file.path, refusal.reason)
        bad = BadRecord(0, Stage.READ, type(refusal.reason).__name__, reason, refusal.payload)
        header = BlockHeader(BlockKey(file.source, 0, 0), refusal.digest, complete=True, last=True)
        return ReadBlock(header, (), (self._dead_letter(file, bad),))

    def _blocks(self, file: InputFile, digest: str, done: set[int]) -> Iterator[ReadBlock]:
        """Cut the records into blocks; look one record ahead to know which block is the last."""
        part = _Part(file, digest, 0)
        try:
            with closing(open_file(file.path)) as stream:
                counted = CountedStream(stream, file.size, self.monitor.report)
                source = cast("BinaryIO", counted)
                for item in read_records(source, self.format or detect_format(file.source)):
                    self.monitor.check()
                    counted.records += 1
                    start = block_start(item.offset, self.block_size)
                    if start != part.start:
                        yield from self._unless_done(part, done, last=False)
                        part = _Part(file, digest, start)
                    part.end = item.offset + 1
                    if start in done:
                        continue
                    size = _size(item)
                    if part.size and part.size + size > self.piece_bytes:
                        yield part.piece()
                    part.size += size
                    if isinstance(item, ReadRecord):
                        part.citations.append(item)
                    else:
                        counted.bad += 1
                        part.dead_letters.append(self._dead_letter(file, item))
                counted.settle()
        except OSError as error:
            # The content is known from its digest, so what failed is the reading: next time again.
            reason = reason_of(file.path, error)
            bad = BadRecord(part.end, Stage.READ, type(error).__name__, reason, b"")
            part.dead_letters.append(self._dead_letter(file, bad))
            part.digest = UNREADABLE
            self.monitor.report(unreadable_inputs=1)
            yield from self._unless_done(part, done, last=False)
        else:
            yield from self._unless_done(part, done, last=True)

    def _unless_done(self, part: "_Part", done: set[int], *, last: bool) -> Iterator[ReadBlock]:
        if part.start in done:
            self.monitor.report(records_in_place=part.end - part.start)
        else:
            yield part.block(last=last)

    def _dead_letter(self, file: InputFile, item: BadRecord) -> DeadLetter:
        return dead_letter(BlockKey(file.source, 0, 0), item.offset, item, self.clock())


@dataclass(slots=True)
class _Part:
    """A block, or its last piece, while it is being read.

    `end` is the offset behind its last record, `size` about how many bytes are held, and `pieces`
    how many pieces were cut off.
    """

    file: InputFile
    digest: str
    start: int
    end: int = field(init=False)
    citations: list[ReadRecord] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    size: int = 0
    pieces: int = 0

    def __post_init__(self) -> None:
        self.end = self.start

    def piece(self) -> ReadBlock:
        """Cut off what is held as a piece behind which others follow."""
        block = self.block(last=False)
        piece = replace(block, header=replace(block.header, complete=False, more=True))
        self.citations, self.dead_letters = [], []
        self.size = 0
        self.pieces += 1
        return piece

    def block(self, *, last: bool) -> ReadBlock:
        """Return what is held as the block, or as its last piece."""
        key = BlockKey(self.file.source, 0, self.start)
        header = BlockHeader(key, self.digest, complete=True, last=last, piece=self.pieces)
        return ReadBlock(header, tuple(self.citations), tuple(self.dead_letters))


def _size(item: ReadRecord | BadRecord) -> int:
    """Return about how many bytes a record takes."""
    if isinstance(item, BadRecord):
        return len(item.payload) + len(item.error)
    citation = item.citation
    return len(citation.title) + sum(len(x.text) + len(x.label or "") for x in citation.abstract)


def _holds_content(known: Mapping[int, Footer]) -> bool:
    return any(footer.input_digest != UNREADABLE for footer in known.values())
