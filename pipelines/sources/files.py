"""Reads files into blocks of records, and skips blocks that are already committed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.records import DeadLetter, Stage
from worker.readers.formats import BadRecord, Format, ReadRecord, detect_format, read_records

PIECE_BYTES = 16 * 2**20
"""Maximum bytes of records in a piece of a block; a larger record is a piece of its own."""


@dataclass(frozen=True, slots=True)
class BlockReader:
    """Reads files into blocks of `block_size` records.

    A block that was committed with the same content, checkpoint and settings is skipped; with
    `reread_older`, only if the readers had their current version. With `format` None, the file's
    name determines the format. `clock` returns the time in UTC. A block with more than
    `piece_bytes` of records is yielded in pieces.
    """

    block_size: int
    checkpoint_id: str
    settings: str
    format: Format | None
    clock: Callable[[], datetime]
    channel: WorkerChannel
    piece_bytes: int = PIECE_BYTES
    reread_older: bool = False

    def read(self, file: InputFile, store: Store) -> Iterator[ReadBlock]:
        """Yield the blocks of `file` that are not committed in `store`, in order.

        Footers that are known from a listing of the output are not read again; unless these cover
        the whole file, the output is listed again for blocks that were written since.

        A file that is refused as a whole (unreadable, or with a wrong checksum) is one block with
        one dead letter at offset 0. If an unreadable file was annotated before, nothing is yielded,
        and its committed blocks stay.
        """
        try:
            digest = content_digest(file, check=self._read_for_digest)
        except RefusedFileError as refusal:
            known = self._committed(file, store)
            self.channel.report(input_bytes=file.size)
            if refusal.digest == UNREADABLE and _holds_content(known):
                self.channel.report(unreadable_inputs=1)
            elif not self._is_done(known.get(0), refusal.digest):
                yield self._refused_block(file, refusal)
            return
        known = {} if file.known is None else file.known.footers()
        done = self._done(known, digest)
        if not self._is_complete(known, done):
            known = self._committed(file, store)
            done = self._done(known, digest)
        if self._is_complete(known, done):
            records = sum(known[start].records for start in done)
            self.channel.report(input_bytes=file.size, records=records, records_committed=records)
            return
        done -= self._shifted(file, store, {start: known[start] for start in done})
        yield from self._blocks(file, digest, done)

    def _read_for_digest(self, size: int) -> None:
        self.channel.check()
        self.channel.report(digest_bytes=size)

    @staticmethod
    def _committed(file: InputFile, store: Store) -> dict[int, Footer]:
        """Return the current footers of the committed blocks, by block start."""
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

    def _is_complete(self, known: dict[int, Footer], done: set[int]) -> bool:
        """Whether every block up to the last one is committed, and none after it."""
        if not done or set(known) != done:
            return False
        end = max(done)
        return known[end].last and done == set(range(0, end + 1, self.block_size))

    def _shifted(self, file: InputFile, store: Store, done: Mapping[int, Footer]) -> set[int]:
        """Return the blocks of an older reader whose records have other offsets now.

        In a damaged file, another version of the readers may number the records differently.
        Continuing after such blocks would lose or duplicate records.
        """
        older = {start for start, footer in done.items() if footer.is_of_older_reader}
        if not older:
            return set()
        found = {start: read_pmids(store, BlockKey(file.source, 0, start)) for start in older}
        now: dict[int, dict[int, int]] = {start: {} for start in older}
        with suppress(OSError), closing(open_file(file.path)) as stream:
            for item in read_records(stream, self.format or detect_format(file.source)):
                self.channel.check()
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
        """Group the records into blocks, reading one record ahead to detect the last block."""
        partial = _PartialBlock(file, digest, 0)
        try:
            with closing(open_file(file.path)) as stream:
                counted = CountedStream(stream, file.size, self.channel.report)
                source = cast("BinaryIO", counted)
                for item in read_records(source, self.format or detect_format(file.source)):
                    self.channel.check()
                    counted.records += 1
                    start = block_start(item.offset, self.block_size)
                    if start != partial.start:
                        yield from self._unless_done(partial, done, last=False)
                        partial = _PartialBlock(file, digest, start)
                    partial.end = item.offset + 1
                    if start in done:
                        continue
                    size = _size(item)
                    if partial.size and partial.size + size > self.piece_bytes:
                        yield partial.piece()
                    partial.size += size
                    if isinstance(item, ReadRecord):
                        partial.citations.append(item)
                    else:
                        counted.bad += 1
                        partial.dead_letters.append(self._dead_letter(file, item))
                counted.flush()
        except OSError as error:
            # The digest was computed, so this read failed: a later run tries again.
            reason = reason_of(file.path, error)
            bad = BadRecord(partial.end, Stage.READ, type(error).__name__, reason, b"")
            partial.dead_letters.append(self._dead_letter(file, bad))
            partial.digest = UNREADABLE
            self.channel.report(unreadable_inputs=1)
            yield from self._unless_done(partial, done, last=False)
        else:
            yield from self._unless_done(partial, done, last=True)

    def _unless_done(
        self, partial: "_PartialBlock", done: set[int], *, last: bool
    ) -> Iterator[ReadBlock]:
        if partial.start in done:
            self.channel.report(records_committed=partial.end - partial.start)
        else:
            yield partial.block(last=last)

    def _dead_letter(self, file: InputFile, item: BadRecord) -> DeadLetter:
        return dead_letter(BlockKey(file.source, 0, 0), item.offset, item, self.clock())


@dataclass(slots=True)
class _PartialBlock:
    """A block, or its last piece, while it is being read.

    `end` is the offset after its last record, `size` the approximate bytes held, and `pieces` the
    number of pieces already yielded.
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
        """Return the records held as a piece that is not the last, and begin the next piece."""
        block = self.block(last=False)
        piece = replace(block, header=replace(block.header, complete=False, more=True))
        self.citations, self.dead_letters = [], []
        self.size = 0
        self.pieces += 1
        return piece

    def block(self, *, last: bool) -> ReadBlock:
        """Return the records held as the block, or as its last piece."""
        key = BlockKey(self.file.source, 0, self.start)
        header = BlockHeader(key, self.digest, complete=True, last=last, piece=self.pieces)
        return ReadBlock(header, tuple(self.citations), tuple(self.dead_letters))


def _size(item: ReadRecord | BadRecord) -> int:
    """Return the approximate size of a record in bytes."""
    if isinstance(item, BadRecord):
        return len(item.payload) + len(item.error)
    citation = item.citation
    return len(citation.title) + sum(len(x.text) + len(x.label or "") for x in citation.abstract)


def _holds_content(known: Mapping[int, Footer]) -> bool:
    return any(footer.input_digest != UNREADABLE for footer in known.values())


@dataclass(frozen=True, slots=True)
class FileSource:
    """The blocks of `files` that are not committed in `store`."""

    files: Sequence[InputFile]
    reader: BlockReader
    store: Store

    def elements(self) -> Sequence[InputFile]:
        """Return the files."""
        return self.files

    def read(self, element: InputFile) -> Iterator[ReadBlock]:
        """Yield the blocks of one file."""
        return self.reader.read(element, self.store)

    def __reduce__(self) -> "tuple[type[FileSource], tuple[tuple[()], BlockReader, Store]]":
        """Leave the files out: a worker is given those that it reads."""
        return FileSource, ((), self.reader, self.store)
