"""A run of `pubner feed`: sends files as messages and dead letters, and can resume at any point."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

from pipelines.blocks.elements import InputFile
from pipelines.feed.dead_letters import DeadLetterWriter
from pipelines.feed.sent import (
    DIGEST,
    DIGEST_DIGITS,
    OFFSET,
    SCHEMA_HEADER,
    SOURCE,
    Sent,
    file_of,
    sent_since,
)
from pipelines.feed.state import (
    FeedState,
    FileProgress,
    drop_state,
    inputs_id,
    load_state,
    save_state,
)
from pipelines.feed.stopping import StoppedError
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.messages import decode_record
from pipelines.kafka.sender import Message, Sender
from pipelines.kafka.tail import topic_ends
from pipelines.kafka.topics import Cluster, max_message_bytes
from pipelines.output.store import Store
from pipelines.sources.fingerprint import (
    UNREADABLE,
    RefusedFileError,
    content_digest,
    open_file,
    reason_of,
)
from pipelines.telemetry.counting import CountedStream, estimated
from schemas.citation_message import SCHEMA_VERSION, to_value
from schemas.errors import PubnerError, RecordError
from schemas.records import Citation, Stage
from worker.cli.progress import Meter, Progress
from worker.readers.failures import Failure
from worker.readers.formats import BadRecord, Format, detect_format, read_records
from worker.system.clock import utc_now

_SAVE_SECONDS = 1.0
_CHECK_RECORDS = 200
_CLOSE_SECONDS = 2.0


@dataclass(slots=True)
class FeedReport:
    """The result of a run; the `skipped` counts are what an interrupted run had sent."""

    citations: int = 0
    tombstones: int = 0
    bytes: int = 0
    dead_letters: dict[str, int] = field(default_factory=dict)
    files: int = 0
    refused_files: int = 0
    skipped_files: int = 0
    skipped_records: int = 0
    seconds: float = 0.0
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class FeedPlan:
    """The inputs and the target of a feed: `topic` is a topic of `cluster`.

    `again` ignores what an interrupted run has sent; `check` may raise `StoppedError`.
    """

    files: Sequence[InputFile]
    format: Format | None
    access: KafkaAccess
    cluster: Cluster
    topic: str
    store: Store
    state_file: Path
    again: bool
    check: Callable[[], None]
    meter: Meter


def run_feed(plan: FeedPlan) -> FeedReport:
    """Feed all files; return the report, also of a run that `check` stopped.

    :raises PubnerError: if the broker, the dead letters or the state fail; the acknowledged records
        are saved before, so that the same run can resume.
    """
    feed = _Feed(plan)
    plan.meter.follow(feed.progress)
    return feed.run()


@dataclass(frozen=True, slots=True)
class _Message(Message):
    """The message of the record with the index `offset`; a `tombstone` deletes its citation."""

    offset: int
    tombstone: bool


class _Feed:
    """The state of a running feed: its plan, open clients and progress."""

    def __init__(self, plan: FeedPlan) -> None:
        self.plan = plan
        self.report = FeedReport()
        self.counts = Counter(input_bytes=0, records=0, bad=0)
        self.total_bytes = sum(file.size for file in plan.files)
        self.topic = plan.cluster.topics[plan.topic]
        self.dead_letters = DeadLetterWriter(plan.store, utc_now)
        self.state, self.sent = self._begin()
        self.ends = dict(self.state.ends)
        """By partition, the offset after the last message acknowledged with all before it."""
        self.sender = Sender[_Message](
            plan.access,
            plan.topic,
            client_id="pubner-feed",
            limit=max_message_bytes(plan.access, plan.topic),
            acknowledged=self._acknowledged,
            refused=self._refused,
            check=plan.check,
            remedy="feed the record again",
            find_sent=self._find_sent,
        )
        self.saved_at = time.monotonic()
        self.current: tuple[InputFile, str, int] | None = None
        """The file being fed, its digest, and the index of the next record to read."""

    def _begin(self) -> tuple[FeedState, Sent]:
        """Return the state to begin with, and the records sent since it was saved."""
        plan = self.plan
        inputs = inputs_id(plan.files)
        before = None if plan.again else load_state(plan.state_file)
        if before is None or (before.cluster_id, before.topic_id) != (
            plan.cluster.id,
            self.topic.id,
        ):
            ends = topic_ends(plan.access, plan.topic, self.topic.partitions)
            return FeedState(plan.cluster.id, self.topic.id, inputs, ends), {}
        if before.inputs != inputs:
            # A run with other inputs resumes unfinished files, but sends finished ones again.
            unfinished = {
                x: progress for x, progress in before.files.items() if not progress.finished
            }
            before = replace(before, inputs=inputs, files=unfinished)
        sent = sent_since(plan.access, plan.topic, self.topic.partitions, before.ends)
        return before, sent

    def run(self) -> FeedReport:
        begin = time.monotonic()
        try:
            save_state(self.plan.state_file, self.state)
            for file in self.plan.files:
                self._feed(file)
            self.sender.wait()
            self.dead_letters.flush()
            drop_state(self.plan.state_file)
        except StoppedError:
            self.report.stopped = True
            self._save_before_exit(wait=True)
        except PubnerError:
            self._save_before_exit(wait=False)
            raise
        finally:
            self.sender.close(seconds=_CLOSE_SECONDS)
            self._count(time.monotonic() - begin)
        return self.report

    def _feed(self, file: InputFile) -> None:
        self.plan.check()
        try:
            digest = content_digest(file, check=lambda _: self.plan.check())
        except RefusedFileError as refusal:
            self._refuse_file(file, refusal)
            return
        if self.state.is_finished(digest):
            self.report.skipped_files += 1
            self._read(input_bytes=file.size)
            return
        self.report.files += 1
        begin = self.state.first_unacknowledged(digest)
        self.dead_letters.begin(file.source, digest, from_scratch=begin == 0)
        self.current = (file, digest, begin)
        whole = self._send_records(file, digest)
        self.sender.wait()
        _, _, end = self.current
        self.current = None
        self._record_progress(file, digest, end, finished=whole)
        self._save()

    def _send_records(self, file: InputFile, digest: str) -> bool:
        """Send the records not sent yet; return whether the file could be read to its end."""
        begin = self.state.first_unacknowledged(digest)
        sent = self.sent.get((file.source, digest[:DIGEST_DIGITS]), set())
        headers = (
            (SOURCE, file.source.encode("utf-8")),
            (DIGEST, digest[:DIGEST_DIGITS].encode("ascii")),
            (SCHEMA_HEADER, b"%d" % SCHEMA_VERSION),
        )
        end = begin
        try:
            with closing(open_file(file.path)) as stream:
                counted = CountedStream(stream, file.size, self._read)
                source = cast("BinaryIO", counted)
                for item in read_records(source, self.plan.format or detect_format(file.source)):
                    counted.records += 1
                    if item.offset < begin or item.offset in sent:
                        self.report.skipped_records += 1
                    elif isinstance(item, BadRecord):
                        counted.bad += 1
                        self._add_dead_letter(item)
                    else:
                        self._send(item.offset, item.citation, headers)
                    end = max(begin, item.offset + 1)
                    self.current = (file, digest, end)
                    if item.offset % _CHECK_RECORDS == 0:
                        self._save_periodically()
                counted.flush()
        except OSError as error:
            # The digest was computed, so the failure is one of reading: another run reads it again.
            reason = reason_of(file.path, error)
            self._add_dead_letter(BadRecord(end, Stage.READ, type(error).__name__, reason, b""))
            self.report.refused_files += 1
            return False
        return True

    def _send(
        self, offset: int, citation: Citation, headers: tuple[tuple[str, bytes], ...]
    ) -> None:
        key = b"%d" % citation.pmid
        value = to_value(citation)
        message = _Message(
            key, value, (*headers, (OFFSET, b"%d" % offset)), offset, citation.deleted
        )
        try:
            decode_record(key, value)
        except RecordError as error:
            self._refused(message, error, str(error))
            return
        self.sender.send(message)

    def _acknowledged(self, message: "_Message", at: tuple[int, int] | None) -> None:
        if at is not None:
            partition, offset = at
            self.ends[partition] = offset + 1
        self.report.tombstones += message.tombstone
        self.report.citations += not message.tombstone
        self.report.bytes += len(message.value or b"")

    def _refused(self, message: "_Message", error: Exception, reason: str) -> None:
        failure = Failure(Stage.WRITE, type(error).__name__, reason, message.value or b"")
        self.dead_letters.add(message.offset, failure, key=message.key, headers=message.headers)

    def _find_sent(self, failed: Sequence["_Message"]) -> set["_Message"]:
        """Return the messages among the `failed` ones that the topic holds all the same."""
        partitions = self.topic.partitions
        sent = sent_since(self.plan.access, self.plan.topic, partitions, self.ends)
        return {
            message
            for message in failed
            if message.offset in sent.get(file_of(message.headers), set())
        }

    def _first_unacknowledged(self, end: int) -> int:
        """Return the index of the first record in flight, or `end` if there is none."""
        first = self.sender.first_in_flight
        return end if first is None else first.offset

    def _add_dead_letter(self, item: BadRecord) -> None:
        self.dead_letters.add(item.offset, item)

    def _refuse_file(self, file: InputFile, refusal: RefusedFileError) -> None:
        """Write one dead letter for a file that is refused as a whole."""
        self.report.refused_files += 1
        self._read(input_bytes=file.size)
        unreadable = refusal.digest == UNREADABLE
        if (
            self.dead_letters.holds(file.source)
            if unreadable
            else self.state.is_finished(refusal.digest)
        ):
            return
        self.dead_letters.begin(file.source, refusal.digest, from_scratch=True)
        kind = type(refusal.reason).__name__
        reason = reason_of(file.path, refusal.reason)
        self._add_dead_letter(BadRecord(0, Stage.READ, kind, reason, refusal.payload))
        self.dead_letters.flush()
        if not unreadable:
            self._record_progress(file, refusal.digest, 0, finished=True)

    def _save_periodically(self) -> None:
        self.plan.check()
        now = time.monotonic()
        if self.current is not None and now - self.saved_at >= _SAVE_SECONDS:
            self.saved_at = now
            file, digest, end = self.current
            self._record_progress(file, digest, self._first_unacknowledged(end), finished=False)
            self._save()

    def _record_progress(
        self, file: InputFile, digest: str, acknowledged: int, *, finished: bool
    ) -> None:
        known = max(acknowledged, self.state.first_unacknowledged(digest))
        progress = FileProgress(file.source, known, finished)
        self.state = replace(self.state, files={**self.state.files, digest: progress})

    def _save(self) -> None:
        """Save the progress, after writing the dead letters up to it."""
        self.dead_letters.flush()
        self.state = replace(self.state, ends=dict(self.ends))
        save_state(self.plan.state_file, self.state)

    def _save_before_exit(self, *, wait: bool) -> None:
        """Save the progress of a run that ends early, suppressing errors in favour of its cause."""
        with suppress(PubnerError):
            if wait:
                self.sender.wait(check=False)
        with suppress(PubnerError):
            if self.current is not None:
                file, digest, end = self.current
                self._record_progress(file, digest, self._first_unacknowledged(end), finished=False)
                self._save()

    def _read(self, *, input_bytes: int, records: int = 0, bad: int = 0) -> None:
        self.counts["input_bytes"] += input_bytes
        self.counts["records"] += records
        self.counts["bad"] += bad

    def progress(self) -> Progress:
        """Return the progress of the feed; may be called from another thread."""
        sent = self.report.citations + self.report.tombstones
        skipped = self.report.skipped_records
        total = estimated({**self.counts, "records_committed": skipped}, self.total_bytes)
        return Progress(
            "feeding",
            sent,
            None if total is None else max(sent, total),
            "messages",
            estimated=self.counts["input_bytes"] < self.total_bytes,
            note=f"{skipped:,} records sent before" if skipped else "",
        )

    def _count(self, seconds: float) -> None:
        self.report.dead_letters = dict(self.dead_letters.counts)
        self.report.seconds = seconds
