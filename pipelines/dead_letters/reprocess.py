"""Reprocessing of dead letters through the pipeline, after a fix: citations replace dead letters.

The usual handler and writer annotate a block and merge it by offset into the rows already written:
a dead letter that now succeeds becomes a citation at its own position, and one that fails remains,
with its current error. The block's other rows and its footer stay the same, so a run of `pubner
annotate` still treats a file's block as finished.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipelines.blocks.elements import AnnotatedBlock, BlockHeader, ReadBlock
from pipelines.blocks.refusals import refuse_unstorable
from pipelines.dead_letters.payload import citation_of, original_value
from pipelines.dead_letters.reading import (
    BlockDeadLetters,
    DeadLetterId,
    dead_letter_digest,
    read_block_dead_letters,
    read_dead_letters,
)
from pipelines.dead_letters.selection import Selection
from pipelines.inference.checkpoints import Checkpoints
from pipelines.inference.handler import AnnotateHandler
from pipelines.output.store import Store
from pipelines.output.writer import BlockWriter
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.errors import OutputError, RecordError, RefusedRecordError
from schemas.records import DeadLetter, Stage
from worker.readers.formats import Format, ReadRecord, SourceMessage
from worker.tagger import Tagger

_CHUNK_SIZE = 250


@dataclass(frozen=True, slots=True)
class AnnotatePlan:
    """The dead letters of an output to annotate, and the checkpoints and resources to use.

    `dead_letters` are those chosen among the `selection`. `clock` returns the time in UTC.
    `channel` receives the progress, and may request a stop.
    """

    store: Store
    selection: Selection
    dead_letters: Collection[DeadLetterId]
    checkpoints: Checkpoints
    device: str
    threads: int | None
    clock: Callable[[], datetime]
    channel: WorkerChannel = field(default_factory=WorkerChannel)


@dataclass(slots=True)
class AnnotateReport:
    """The result: `failing` counts, by stage, the dead letters that still fail."""

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
    """Parse a footer's `settings`; return the defaults if the rows were made by several."""
    values = dict(part.partition("=")[::2] for part in settings.split(";"))
    limit, name = values.get("max_text_chars", ""), values.get("format", "")
    return RowOptions(
        store_text=values.get("store_text") != "false",
        max_text_chars=int(limit) if limit.isdecimal() else None,
        format=Format(name) if name in list(Format) else None,
    )


def annotate_dead_letters(plan: AnnotatePlan) -> AnnotateReport:
    """Annotate the selected dead letters and write the results.

    :raises OutputError: if a file's block was made with another checkpoint, or the dead letters are
        those of a feed; if so, nothing was written.
    :raises PubnerError: if the output or a checkpoint fails; blocks already written are kept.
    """
    report = AnnotateReport()
    for block in _chosen(plan):
        _check_block(block, plan.checkpoints.id)
    tagger: Tagger | None = None
    for block in _chosen(plan):
        plan.channel.check()
        read = parse_dead_letters(block, plan.clock)
        handler = _handler(plan, row_options(block.footer.settings))
        if read.citations and tagger is None:
            tagger = handler.load_model().acquire()
        if read.citations or read.dead_letters:
            _write(plan, block, read, handler, tagger)
            report.blocks += 1
        plan.channel.report(records_committed=len(block.dead_letters) - len(read.citations))
        left = read_block_dead_letters(plan.store, block.footer.key)
        failing = {x.position.offset: x for x in left.dead_letters} if left is not None else {}
        for dead_letter in block.dead_letters:
            still = failing.get(dead_letter.position.offset)
            if still is None:
                report.annotated += 1
            else:
                report.failing[str(still.stage)] += 1
    return report


def _chosen(plan: AnnotatePlan) -> Iterator[BlockDeadLetters]:
    for block in read_dead_letters(plan.store, plan.selection):
        dead_letters = tuple(
            x
            for x in block.dead_letters
            if (x.position, dead_letter_digest(x)) in plan.dead_letters
        )
        if dead_letters:
            yield BlockDeadLetters(block.footer, dead_letters)


def parse_dead_letters(block: BlockDeadLetters, clock: Callable[[], datetime]) -> ReadBlock:
    """Parse the dead letters of `block` into citations, and dead letters with a new error.

    A dead letter that fails with the same error is in neither, and stays as it is.
    """
    options = row_options(block.footer.settings)
    citations: list[ReadRecord] = []
    dead_letters: list[DeadLetter] = []
    for dead_letter in block.dead_letters:
        try:
            found = citation_of(dead_letter, from_topic=block.from_topic, format=options.format)
        except RecordError as error:
            kind = type(error).__name__
            if isinstance(error, RefusedRecordError):
                kind = error.error_type
            if dead_letter.stage != Stage.READ and (kind, str(error)) != (
                dead_letter.error_type,
                dead_letter.error,
            ):
                dead_letters.append(
                    replace(dead_letter, error_type=kind, error=str(error), seen_at=clock())
                )
        else:
            message = None
            if block.from_topic:
                value = original_value(dead_letter)
                message = SourceMessage(dead_letter.key, value, dead_letter.headers)
            citations.append(ReadRecord(dead_letter.position.offset, found, message))
    header = BlockHeader(block.footer.key, block.footer.input_digest)
    return ReadBlock(header, tuple(citations), tuple(dead_letters))


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
    block: BlockDeadLetters,
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


def _with_messages(annotated: AnnotatedBlock, block: BlockDeadLetters) -> AnnotatedBlock:
    """Restore the original key, headers and payload of a topic's dead letters that still fail."""
    before = {dead_letter.position: dead_letter for dead_letter in block.dead_letters}
    dead_letters = [
        replace(
            dead_letter,
            key=before[dead_letter.position].key,
            headers=before[dead_letter.position].headers,
            payload=before[dead_letter.position].payload,
        )
        for dead_letter in annotated.dead_letters
    ]
    return replace(annotated, dead_letters=tuple(dead_letters))


def _check_block(block: BlockDeadLetters, checkpoint_id: str) -> None:
    footer = block.footer
    if not footer.checkpoint_id and not block.from_topic:
        raise OutputError(
            f"the dead letters of {footer.key.source!r} were written by `pubner feed`, which "
            "annotates nothing; replay them to a topic with --topic"
        )
    if footer.checkpoint_id != checkpoint_id and not block.from_topic:
        raise OutputError(
            f"{footer.key.source!r} was annotated with checkpoint {footer.checkpoint_id[:12]}…, "
            f"and --checkpoint is {checkpoint_id[:12]}…; give the same one, or annotate the file "
            "again"
        )
