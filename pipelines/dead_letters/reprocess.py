"""Dead letters through the pipeline again, after a fix: the citation takes the letter's place.

A block is annotated and written by the same handler and writer as ever, merged by offset into what
is in place: what now succeeds becomes a citation at its own position, and what does not stays, with
the reason it fails for now. Nothing else of the block changes, nor does what its footer says of it,
so a run of `pubner annotate` still finds a file's block done.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipelines.blocks.elements import AnnotatedBlock, BlockHeader, ReadBlock
from pipelines.blocks.refusals import refuse_unstorable
from pipelines.dead_letters.payload import citation_of
from pipelines.dead_letters.reading import (
    BlockLetters,
    LetterId,
    letter_digest,
    read_block_letters,
    read_letters,
)
from pipelines.dead_letters.selection import Selection
from pipelines.inference.checkpoints import Checkpoints
from pipelines.inference.handler import AnnotateHandler
from pipelines.output.store import Store
from pipelines.output.writer import BlockWriter
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.errors import OutputError, RecordError, RefusedRecordError
from schemas.records import DeadLetter, Stage
from worker.readers.formats import Format, ReadRecord
from worker.tagger import Tagger

_CHUNK_SIZE = 250


@dataclass(frozen=True, slots=True)
class AnnotatePlan:
    """Which letters of which output to annotate, and with what.

    `letters` are those chosen among the `selection`. `clock` gives the time in UTC, `channel` is
    told how far the run is, and may ask it to stop.
    """

    store: Store
    selection: Selection
    letters: Collection[LetterId]
    checkpoints: Checkpoints
    device: str
    threads: int | None
    clock: Callable[[], datetime]
    channel: WorkerChannel = field(default_factory=WorkerChannel)


@dataclass(slots=True)
class AnnotateReport:
    """What became of the letters: `failing` counts, by stage, those that are letters still."""

    annotated: int = 0
    failing: Counter[str] = field(default_factory=Counter)
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class RowOptions:
    """The settings that shaped a block's rows, from its footer."""

    store_text: bool = True
    max_text_chars: int | None = None
    format: Format | None = None


def row_options(settings: str) -> RowOptions:
    """Return what a footer's `settings` say; where rows were made by several, the defaults."""
    values = dict(part.partition("=")[::2] for part in settings.split(";"))
    limit, name = values.get("max_text_chars", ""), values.get("format", "")
    return RowOptions(
        store_text=values.get("store_text") != "false",
        max_text_chars=int(limit) if limit.isdecimal() else None,
        format=Format(name) if name in list(Format) else None,
    )


def annotate_letters(plan: AnnotatePlan) -> AnnotateReport:
    """Annotate the letters that are meant, and put what comes of them in place.

    :raises OutputError: if a file's block was made with another checkpoint, or the letters are
        those of a feed; if so, nothing was written.
    :raises PubnerError: if the output or a checkpoint fails; what is in place stays.
    """
    report = AnnotateReport()
    for block in _chosen(plan):
        _check_block(block, plan.checkpoints.id)
    tagger: Tagger | None = None
    for block in _chosen(plan):
        plan.channel.check()
        read = parse_letters(block, plan.clock)
        handler = _handler(plan, row_options(block.footer.settings))
        if read.citations and tagger is None:
            tagger = handler.load_model().acquire()
        if read.citations or read.dead_letters:
            _write(plan, block, read, handler, tagger)
            report.blocks += 1
        plan.channel.report(records_committed=len(block.letters) - len(read.citations))
        left = read_block_letters(plan.store, block.footer.key)
        failing = {x.position.offset: x for x in left.letters} if left is not None else {}
        for letter in block.letters:
            still = failing.get(letter.position.offset)
            if still is None:
                report.annotated += 1
            else:
                report.failing[str(still.stage)] += 1
    return report


def _chosen(plan: AnnotatePlan) -> Iterator[BlockLetters]:
    for block in read_letters(plan.store, plan.selection):
        letters = tuple(x for x in block.letters if (x.position, letter_digest(x)) in plan.letters)
        if letters:
            yield BlockLetters(block.footer, letters)


def parse_letters(block: BlockLetters, clock: Callable[[], datetime]) -> ReadBlock:
    """Return what the letters of `block` give now: citations, and letters with another reason.

    A letter that fails as it did before is in neither: it stays as it is, with its time.
    """
    options = row_options(block.footer.settings)
    citations: list[ReadRecord] = []
    letters: list[DeadLetter] = []
    for letter in block.letters:
        try:
            found = citation_of(letter, from_topic=block.from_topic, format=options.format)
        except RecordError as error:
            kind = type(error).__name__
            if isinstance(error, RefusedRecordError):
                kind = error.error_type
            if letter.stage != Stage.READ and (kind, str(error)) != (
                letter.error_type,
                letter.error,
            ):
                letters.append(replace(letter, error_type=kind, error=str(error), seen_at=clock()))
        else:
            citations.append(ReadRecord(letter.position.offset, found))
    header = BlockHeader(block.footer.key, block.footer.input_digest)
    return ReadBlock(header, tuple(citations), tuple(letters))


def _handler(plan: AnnotatePlan, options: RowOptions) -> AnnotateHandler:
    return AnnotateHandler(
        plan.checkpoints,
        device=plan.device,
        threads=plan.threads,
        chunk_size=_CHUNK_SIZE,
        max_text_chars=options.max_text_chars,
        clock=plan.clock,
        channel=plan.channel,
    )


def _write(
    plan: AnnotatePlan,
    block: BlockLetters,
    read: ReadBlock,
    handler: AnnotateHandler,
    tagger: Tagger | None,
) -> None:
    if tagger is not None and read.citations:
        annotated = handler.annotate_block(read, tagger)
    else:
        annotated = AnnotatedBlock(
            read.header, plan.checkpoints.id, plan.clock(), (), read.dead_letters
        )
    options = row_options(block.footer.settings)
    annotated = refuse_unstorable(annotated, store_text=options.store_text)
    if block.from_topic:
        annotated = _with_messages(annotated, block)
    BlockWriter(
        store=plan.store,
        block_size=block.footer.block_size,
        settings=block.footer.settings,
        store_text=options.store_text,
        merges=block.from_topic,
    ).write(annotated)


def _with_messages(annotated: AnnotatedBlock, block: BlockLetters) -> AnnotatedBlock:
    """Give the letters of a topic that still fail their message back: key, headers and bytes."""
    before = {letter.position: letter for letter in block.letters}
    letters = [
        replace(
            letter,
            key=before[letter.position].key,
            headers=before[letter.position].headers,
            payload=before[letter.position].payload,
        )
        for letter in annotated.dead_letters
    ]
    return replace(annotated, dead_letters=tuple(letters))


def _check_block(block: BlockLetters, checkpoint_id: str) -> None:
    footer = block.footer
    if not footer.checkpoint_id and not block.from_topic:
        raise OutputError(
            f"the dead letters of {footer.key.source!r} are those of a feed, where nothing is "
            "annotated; replay them to a topic by --topic"
        )
    if footer.checkpoint_id != checkpoint_id and not block.from_topic:
        raise OutputError(
            f"{footer.key.source!r} was annotated with checkpoint {footer.checkpoint_id[:12]}…, "
            f"and --checkpoint is {checkpoint_id[:12]}…; give the same one, or annotate the file "
            "again"
        )
