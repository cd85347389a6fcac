"""Blocks that come in pieces are written as one block."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.blocks.elements import AnnotatedBlock, InputFile, ReadBlock
from pipelines.output.object_store import ObjectStore
from pipelines.output.pieces import PieceWriter
from pipelines.output.store import DiskStore, Store
from pipelines.output.writer import BlockWriter, committed_blocks
from pipelines.sources.files import BlockReader
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.errors import OutputError
from tests.support.blocks import NOW, all_rows, block, hidden_files, with_header
from tests.support.crash_injection import CrashAt, CrashError, MemoryObjects, SteppedDisk


def writer_to(store: Store, *, size: int = 10) -> PieceWriter:
    return PieceWriter(BlockWriter(store=store, block_size=size, settings=""))


def pieces(*offsets: Sequence[int], dead_letters: Sequence[int] = ()) -> list[AnnotatedBlock]:
    """Return a block as one piece for each of `offsets`; `dead_letters` are in the piece before."""
    last = len(offsets) - 1
    bounds = [min(part) for part in offsets[1:]] + [10]
    found = []
    begin = 0
    for number, (part, end) in enumerate(zip(offsets, bounds, strict=True)):
        here = [x for x in dead_letters if begin <= x < end]
        done = number == last
        one = block(part, dead_letters=here, complete=done, last=done)
        found.append(with_header(one, piece=number, more=not done))
        begin = end
    return found


def test_pieces_give_the_rows_and_the_footer_of_the_whole(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    writer_to(DiskStore(whole)).write(block([0, 1, 3, 5, 6], dead_letters=[2, 4]))
    writer = writer_to(DiskStore(parts))
    given = pieces([0, 1], [3], [5, 6], dead_letters=[2, 4])
    assert [writer.write(piece) for piece in given[:2]] == [None, None]
    assert committed_blocks(DiskStore(parts), "s.xml") == {}
    done = writer.write(given[2])
    assert done is not None
    assert (done.citations, done.mentions, done.dead_letters) == (5, 10, 2)
    assert all_rows(parts) == all_rows(whole)
    [one] = committed_blocks(DiskStore(whole), "s.xml").values()
    [other] = committed_blocks(DiskStore(parts), "s.xml").values()
    assert replace(other, revision=one.revision) == one
    assert hidden_files(parts) == []
    for kind in ("mentions", "dead_letters", "citations"):
        for root in (whole, parts):
            metadata = pq.read_metadata(root / kind / "s.xml-0-000000000000.parquet").metadata
            assert metadata[b"pubner.records"] == b"7"


def test_the_same_pieces_again_change_nothing_and_another_checkpoint_s_replace(
    tmp_path: Path,
) -> None:
    hook = CrashAt(None)
    writer = writer_to(SteppedDisk(tmp_path, hook))
    for piece in pieces([0], [1], dead_letters=[2]):
        writer.write(piece)
    steps = len(hook.done)
    for piece in pieces([0], [1], dead_letters=[2]):
        writer.write(piece)
    assert len(hook.done) == steps
    for piece in pieces([0], [1], dead_letters=[2]):
        writer.write(replace(piece, checkpoint_id="c2"))
    assert len(hook.done) > steps
    [footer] = committed_blocks(DiskStore(tmp_path), "s.xml").values()
    assert footer.checkpoint_id == "c2"
    writer.write(block([0]))
    [footer] = committed_blocks(DiskStore(tmp_path), "s.xml").values()
    assert (footer.checkpoint_id, footer.records) == ("c1", 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.booleans())
def test_an_interruption_leaves_the_block_as_it_was_or_as_it_shall_be(
    steps: int, replaced: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if replaced:
            writer_to(DiskStore(root)).write(block([0, 4], digest="other", note="old"))
        before = all_rows(root)
        writer = writer_to(SteppedDisk(root, CrashAt(steps)))
        given = pieces([0, 1], [3], [5], dead_letters=[2, 4])
        crashed = False
        try:
            for piece in given:
                writer.write(piece)
        except CrashError:
            crashed = True
        store = DiskStore(root)
        store.recover()
        found = all_rows(root)
        writer = writer_to(store)
        for piece in given:
            writer.write(piece)
        after = all_rows(root)
        assert found in (before, after)
        assert crashed or found == after
        assert len(after["citations"]) == 4
        assert len(after["dead_letters"]) == 2
        assert hidden_files(root) == []


def test_an_object_store_takes_pieces(tmp_path: Path) -> None:
    store = ObjectStore(MemoryObjects())
    writer = writer_to(store)
    for piece in pieces([0], [1], dead_letters=[2]):
        writer.write(piece)
    [footer] = committed_blocks(store, "s.xml").values()
    assert (footer.records, footer.complete) == (3, True)


@pytest.mark.parametrize("order", [[1], [0, 2], [0, 0, 2], [0, 1, 1]])
def test_a_piece_that_does_not_follow_is_refused(tmp_path: Path, order: list[int]) -> None:
    writer = writer_to(DiskStore(tmp_path))
    given = pieces([0], [1], [2])
    *before, wrong = order
    for number in before:
        writer.write(given[number])
    with pytest.raises(OutputError, match="did not follow"):
        writer.write(given[wrong])
    writer.drop()
    assert committed_blocks(DiskStore(tmp_path), "s.xml") == {}


def test_pieces_that_nothing_follows_leave_nothing(tmp_path: Path) -> None:
    writer = writer_to(DiskStore(tmp_path))
    writer.write(pieces([0], [1])[0])
    writer.write(block([7]))
    assert [row["offset"] for row in all_rows(tmp_path)["citations"]] == [7]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=12),
    st.integers(1, 400),
    st.integers(1, 6),
)
def test_a_reader_cuts_by_bytes_and_keeps_each_record(
    records: list[tuple[int, bool]], most: int, size: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jsonl"
        lines = [
            json.dumps({"pmid": 1 + number, "title": "t" * length, "abstract": ""})
            if good
            else "x" * (length + 1)
            for number, (length, good) in enumerate(records)
        ]
        path.write_text("".join(f"{line}\n" for line in lines))
        reader = BlockReader(size, "c1", "", None, lambda: NOW, WorkerChannel(), piece_bytes=most)
        found = list(
            reader.read(InputFile(str(path), path.name, path.stat().st_size), DiskStore(path))
        )
    assert [x for piece in found for x in _offsets(piece)] == list(range(len(records)))
    for piece in found:
        held = [_length(records, x) for x in _offsets(piece)]
        assert sum(held) <= most or sum(x > 0 for x in held) == 1
    blocks: dict[int, list[ReadBlock]] = {}
    for piece in found:
        blocks.setdefault(piece.header.key.start, []).append(piece)
    for parts in blocks.values():
        assert [x.header.piece for x in parts] == list(range(len(parts)))
        assert [x.header.more for x in parts] == [True] * (len(parts) - 1) + [False]
        assert [x.header.complete for x in parts] == [False] * (len(parts) - 1) + [True]


def _offsets(piece: ReadBlock) -> list[int]:
    dead_letters = [x.position.offset for x in piece.dead_letters]
    return sorted([*(x.offset for x in piece.citations), *dead_letters])


def _length(records: Sequence[tuple[int, bool]], offset: int) -> int:
    length, good = records[offset]
    return length if good else length + 1
