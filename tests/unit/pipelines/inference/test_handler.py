"""The model handler: chunks by position, and one bad document among good ones."""

import gc
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.blocks.elements import BlockHeader, ReadBlock
from pipelines.blocks.keys import BlockKey
from pipelines.blocks.refusals import refuse_unstorable
from pipelines.inference.checkpoints import check_checkpoints
from pipelines.inference.handler import AnnotateHandler
from pipelines.inference.shared_tagger import SharedTagger
from pipelines.kafka.batches import RawRecord
from pipelines.kafka.decode import decode_slice
from pipelines.kafka.slices import RawSlice
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.records import Annotation, Citation, Stage
from tests.support.blocks import NOW, dead_letter, mention
from tests.support.checkpoints import tiny_checkpoint
from worker.readers.formats import ReadRecord
from worker.registry.follow import FixedTagger
from worker.tagger import Tagger


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


def handler(
    checkpoint: Path, *, chunk_size: int = 3, max_text_chars: int | None = None
) -> AnnotateHandler:
    return AnnotateHandler(
        check_checkpoints([str(checkpoint)]),
        device="cpu",
        threads=1,
        chunk_size=chunk_size,
        max_text_chars=max_text_chars,
        clock=lambda: NOW,
        channel=WorkerChannel(),
    )


class RecordingTagger(Tagger):
    """A tagger that remembers what it was given at once."""

    def __init__(self, inner: Tagger) -> None:
        self.inner = inner
        self.id = inner.id
        self.tasks = inner.tasks
        self.calls: list[list[str]] = []

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        self.calls.append(list(texts))
        return self.inner.annotate(texts)


@pytest.fixture(scope="module")
def tagger(checkpoint: Path) -> RecordingTagger:
    return RecordingTagger(handler(checkpoint).load_model().acquire())


@pytest.fixture(autouse=True)
def _forget(tagger: RecordingTagger) -> None:
    tagger.calls.clear()


def read_block(citations: dict[int, Citation], start: int = 10) -> ReadBlock:
    return ReadBlock(
        BlockHeader(BlockKey("s", 0, start), "d", last=True),
        citations=tuple(ReadRecord(offset, citations[offset]) for offset in citations),
        dead_letters=(dead_letter(start + 99),),
    )


def titled(*offsets: int) -> dict[int, Citation]:
    return {offset: Citation(offset, title=f"BRCA1 cell {offset}") for offset in offsets}


def test_chunks_follow_from_positions(checkpoint: Path, tagger: RecordingTagger) -> None:
    whole = read_block(titled(10, 11, 12, 13, 15, 16, 18))
    handler(checkpoint).annotate_block(whole, tagger)
    chunks = [[int(text.split()[2]) for text in call] for call in tagger.calls]
    assert chunks == [[10, 11, 12], [13, 15], [16, 18]]


def test_a_block_keeps_its_records_and_gets_mentions(
    checkpoint: Path, tagger: RecordingTagger
) -> None:
    citations = {
        **titled(10, 12),
        11: Citation(11, deleted=True),
        13: Citation(13),
    }
    before = read_block(citations)
    [after] = handler(checkpoint).run_inference([before], SharedTagger(FixedTagger(tagger)))
    assert [item.offset for item in after.citations] == [10, 12, 11, 13]
    assert [item.annotation is None for item in after.citations] == [False, False, True, True]
    expected = tagger.inner.annotate(["BRCA1 cell 10\n", "BRCA1 cell 12\n"])
    assert [item.annotation for item in after.citations[:2]] == expected
    assert any(found.mentions for found in expected)
    assert after.dead_letters == before.dead_letters
    assert (after.checkpoint_id, after.annotated_at) == (tagger.id, NOW)
    assert after.header == before.header


def test_one_bad_document_is_a_dead_letter_and_no_other_is(
    checkpoint: Path, tagger: RecordingTagger
) -> None:
    citations = {**titled(10, 12, 13), 11: Citation(11, title="lone \ud800 surrogate")}
    [after] = handler(checkpoint).run_inference(
        [read_block(dict(sorted(citations.items())))], SharedTagger(FixedTagger(tagger))
    )
    assert [item.offset for item in after.citations] == [10, 12, 13]
    bad = after.dead_letters[1]
    assert (bad.position.offset, str(bad.stage), bad.error_type) == (11, "annotate", "RecordError")
    assert json.loads(bad.payload)["pmid"] == 11


def test_of_a_long_text_the_beginning_is_read(checkpoint: Path, tagger: RecordingTagger) -> None:
    citations = {10: Citation(1, title="BRCA1 in breast cancer"), 11: Citation(2, title="BRCA1")}
    [after] = handler(checkpoint, max_text_chars=6).run_inference(
        [read_block(citations)], SharedTagger(FixedTagger(tagger))
    )
    assert tagger.calls == [["BRCA1 ", "BRCA1\n"]]
    annotations = [item.annotation for item in after.citations]
    assert [x.truncated for x in annotations if x is not None] == [True, False]
    assert after.citations[0].citation.text == "BRCA1 in breast cancer\n"


def test_what_beam_asks(checkpoint: Path, tagger: RecordingTagger) -> None:
    asked = handler(checkpoint)
    assert asked.batch_elements_kwargs() == {"min_batch_size": 1, "max_batch_size": 1}
    assert asked.get_num_bytes([read_block(titled(10))]) == len("BRCA1 cell 10\n")
    assert asked.get_metrics_namespace() == "pubner"
    assert isinstance(asked.run_inference([], SharedTagger(FixedTagger(tagger))), list)


def test_what_is_loaded_is_kept_from_the_garbage_collector(checkpoint: Path) -> None:
    gc.unfreeze()
    handler(checkpoint).load_model()
    assert gc.get_freeze_count() > 100_000
    gc.unfreeze()


class RefusingTagger(RecordingTagger):
    """A tagger that fails on every text."""

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        raise ValueError("no text")


VALUE = b'{"pmid": 7, "title": "T", "abstract": "", "note": "of the producer"}'


def test_a_dead_letter_of_a_message_keeps_it_as_it_was(
    checkpoint: Path, tagger: RecordingTagger
) -> None:
    record = RawRecord(10, -1, b"007", VALUE, (("a", b"b"),))
    header = BlockHeader(BlockKey("t", 0, 10), "kafka:c:t")
    read = decode_slice(RawSlice(header, 10, 11, (record,)), lambda: NOW)
    [failed] = handler(checkpoint).annotate_block(read, RefusingTagger(tagger)).dead_letters
    assert failed.stage == Stage.ANNOTATE
    assert (failed.key, failed.payload, failed.headers) == (b"007", VALUE, (("a", b"b"),))
    done = handler(checkpoint).annotate_block(read, tagger)
    wild = Annotation((mention(0, 999),))
    block = replace(done, citations=(replace(done.citations[0], annotation=wild),))
    [refused] = refuse_unstorable(block, store_text=True).dead_letters
    assert refused.stage == Stage.WRITE
    assert (refused.key, refused.payload, refused.headers) == (b"007", VALUE, (("a", b"b"),))
