"""From a file to blocks of records; what is already in place is passed over."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, cast

from pipelines.blocks import BlockKey, block_start
from pipelines.content import (
    UNREADABLE,
    RefusedFileError,
    content_digest,
    open_file,
    reason_of,
)
from pipelines.monitor import Monitor
from pipelines.records import InputFile, ReadBlock, ReadCitation
from pipelines.store import Store
from pipelines.tables import Footer
from pipelines.writer import committed_blocks, read_pmids
from schemas.records import DeadLetter, SourcePosition, Stage
from worker.readers.records import BadRecord, Format, ReadRecord, detect_format, read_records


@dataclass(frozen=True, slots=True)
class BlockReader:
    """Reads files into blocks of `block_size` records.

    A block whose commit record names the same content, checkpoint and settings is not read again;
    with `reread_older`, only where the readers were then what they are now. `format` None goes by
    the file's name. `clock` gives the time in UTC.
    """

    block_size: int
    checkpoint_id: str
    settings: str
    format: Format | None
    clock: Callable[[], datetime]
    monitor: Monitor
    reread_older: bool = False

    def read(self, file: InputFile, store: Store) -> Iterator[ReadBlock]:
        """Yield the blocks of `file` that `store` does not hold, in order.

        A file that is refused as a whole (unreadable, or not what its sidecar says) is one block
        with one dead letter at offset 0. One that merely cannot be read today, and was annotated
        before, gives nothing: what is in place stays.
        """
        known = committed_blocks(store, file.source)
        try:
            digest = content_digest(file.path, check=self.monitor.check)
        except RefusedFileError as refusal:
            self.monitor.report(input_bytes=file.size)
            if refusal.digest == UNREADABLE and _holds_content(known):
                self.monitor.report(unreadable_inputs=1)
            elif not self._is_done(known.get(0), refusal.digest):
                yield self._refused_block(file, refusal)
            return
        done = {start for start, footer in known.items() if self._is_done(footer, digest)}
        if self._is_whole(known, done):
            records = sum(known[start].records for start in done)
            self.monitor.report(input_bytes=file.size, records_in_place=records)
            return
        done -= self._shifted(file, store, {start: known[start] for start in done})
        yield from self._blocks(file, digest, done)

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
        letter = DeadLetter(
            position=SourcePosition(file.source, 0, 0),
            stage=Stage.READ,
            error_type=type(refusal.reason).__name__,
            error=reason_of(file.path, refusal.reason),
            payload=refusal.payload,
            seen_at=self.clock(),
        )
        return ReadBlock(
            key=BlockKey(file.source, 0, 0),
            input_digest=refusal.digest,
            citations=(),
            dead_letters=(letter,),
            complete=True,
            last=True,
        )

    def _blocks(self, file: InputFile, digest: str, done: set[int]) -> Iterator[ReadBlock]:
        """Cut the records into blocks; look one record ahead to know which block is the last."""
        part = _Part(file, digest, 0)
        try:
            with closing(open_file(file.path)) as stream:
                counted = cast("BinaryIO", _Counted(stream, self.monitor))
                for item in read_records(counted, self.format or detect_format(file.source)):
                    self.monitor.check()
                    start = block_start(item.offset, self.block_size)
                    if start != part.start:
                        yield from self._unless_done(part, done, last=False)
                        part = _Part(file, digest, start)
                    part.end = item.offset + 1
                    if start in done:
                        continue
                    if isinstance(item, ReadRecord):
                        part.citations.append(ReadCitation(item.offset, item.citation))
                    else:
                        part.dead_letters.append(self._dead_letter(file, item))
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
        return DeadLetter(
            position=SourcePosition(file.source, 0, item.offset),
            stage=item.stage,
            error_type=item.error_type,
            error=item.error,
            payload=item.payload,
            seen_at=self.clock(),
        )


@dataclass(frozen=True, slots=True)
class _Counted:
    """A binary stream whose reads are reported as progress."""

    stream: BinaryIO
    monitor: Monitor
    reread_older: bool = False

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.monitor.report(input_bytes=len(data))
        return data


@dataclass(slots=True)
class _Part:
    """A block while it is being read; `end` is the offset behind its last record."""

    file: InputFile
    digest: str
    start: int
    end: int = field(init=False)
    citations: list[ReadCitation] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.end = self.start

    def block(self, *, last: bool) -> ReadBlock:
        return ReadBlock(
            key=BlockKey(self.file.source, 0, self.start),
            input_digest=self.digest,
            citations=tuple(self.citations),
            dead_letters=tuple(self.dead_letters),
            complete=True,
            last=last,
        )


def _holds_content(known: Mapping[int, Footer]) -> bool:
    return any(footer.input_digest != UNREADABLE for footer in known.values())
