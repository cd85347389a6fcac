"""The block writer: what is written after any writes, interruptions and failures."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.blocks.elements import AnnotatedCitation
from pipelines.blocks.keys import BlockKey
from pipelines.blocks.refusals import refuse_unstorable
from pipelines.blocks.tables import Footer
from pipelines.output.store import DiskStore, Store
from pipelines.output.writer import BlockWriter, committed_blocks, read_block
from schemas.arrow import KINDS
from schemas.errors import OutputError
from schemas.records import Annotation
from tests.support.blocks import all_rows, block, citation, hidden_files, mention, rows
from tests.support.crash_injection import CrashAt, FailAt, SteppedDisk

NAME = "s.xml-0-000000000000.parquet"


def writer_to(store: Store, *, size: int = 10, settings: str = "") -> BlockWriter:
    return BlockWriter(store=store, block_size=size, settings=settings)


def test_a_block_is_three_files_and_its_commit_record_comes_last(tmp_path: Path) -> None:
    hook = CrashAt(None)
    done = writer_to(SteppedDisk(tmp_path, hook)).write(block([0, 1], dead_letters=[2]))
    assert (done.citations, done.mentions, done.dead_letters) == (2, 4, 1)
    assert hook.done == [
        f"{step} {kind}"
        for step in ("stage", "commit")
        for kind in ("mentions", "dead_letters", "citations")
    ]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")) == [
        f"{kind}/{NAME}" for kind in ("citations", "dead_letters", "mentions")
    ]


def test_files_are_there_even_where_there_is_nothing_to_write(tmp_path: Path) -> None:
    writer_to(DiskStore(tmp_path)).write(block())
    for kind, schema in KINDS.items():
        table = pq.read_table(tmp_path / kind / NAME)
        assert table.num_rows == 0
        assert table.schema.remove_metadata() == schema


def test_files_are_zstd_and_tell_their_block(tmp_path: Path) -> None:
    writer_to(DiskStore(tmp_path), settings="x=1").write(
        block([0, 1], dead_letters=[2], last=False)
    )
    footers = set()
    for kind in KINDS:
        file = pq.ParquetFile(tmp_path / kind / NAME)
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
        footers.add(Footer.from_metadata(file.metadata.metadata))
    [footer] = footers
    assert footer is not None
    assert footer.key == BlockKey("s.xml", 0, 0)
    assert (footer.block_size, footer.records, footer.settings) == (10, 3, "x=1")
    assert (footer.input_digest, footer.checkpoint_id) == ("d1", "c1")
    assert (footer.complete, footer.last, footer.format_version) == (True, False, 2)


PARTS = st.lists(
    st.tuples(
        st.sets(st.integers(0, 9), max_size=6),
        st.sets(st.integers(0, 9), max_size=4),
        st.sampled_from(["c1", "c2"]),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(PARTS)
def test_any_partial_writes_give_their_union(
    parts: list[tuple[set[int], set[int], str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        writer = writer_to(DiskStore(root))
        good: dict[int, str] = {}
        bad: set[int] = set()
        for number, (offsets, dead_letters, checkpoint_id) in enumerate(parts):
            only_bad = dead_letters - offsets
            note = f" {number}"
            writer.write(
                block(
                    sorted(offsets),
                    dead_letters=sorted(only_bad),
                    checkpoint_id=checkpoint_id,
                    note=note,
                    complete=False,
                    last=False,
                )
            )
            good |= dict.fromkeys(offsets, note)
            bad = (bad | only_bad) - set(good)
            found = {
                row["offset"]: row["text"].removeprefix(f"Gene {row['offset']}\nAIM: Body")
                for row in rows(root, "citations")
            }
            assert found == good
            assert {row["offset"] for row in rows(root, "dead_letters")} == bad
            assert len(rows(root, "dead_letters")) == len(bad)
            mentions = [row["offset"] for row in rows(root, "mentions")]
            assert mentions == sorted(offset for offset in good for _ in range(2))
        [footer] = committed_blocks(DiskStore(root), "s.xml").values()
        assert footer.records == len(good) + len(bad)


@pytest.mark.parametrize("step", range(1, 7))
@pytest.mark.parametrize("before", [None, "older", "part"])
def test_an_interruption_at_any_step_is_made_good_by_the_next_write(
    tmp_path: Path, step: int, before: str | None
) -> None:
    disk = DiskStore(tmp_path / "broken")
    whole = block([0, 1, 3], dead_letters=[2], checkpoint_id="c2")
    expected = DiskStore(tmp_path / "whole")
    for store in (disk, expected):
        if before == "older":
            writer_to(store).write(block([0, 1, 2, 3, 4], checkpoint_id="c1"))
        elif before == "part":
            writer_to(store).write(block([1], dead_letters=[3], complete=False, last=False))
    writer_to(expected).write(whole)
    with pytest.raises(OutputError, match="disk is gone"):
        writer_to(SteppedDisk(disk.root, FailAt(step, OutputError("disk is gone")))).write(whole)
    assert bool(hidden_files(disk.root)) == (step > 4)
    footer = committed_blocks(disk, "s.xml").get(0)
    assert (footer is None) == (before is None or step > 4)
    writer_to(disk).write(whole)
    assert hidden_files(disk.root) == []
    assert all_rows(disk.root) == all_rows(expected.root)
    assert committed_blocks(disk, "s.xml")[0].checkpoint_id == "c2"


def test_files_that_were_not_put_in_place_together_are_no_block(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    writer_to(disk).write(block([0, 1]))
    failing = SteppedDisk(tmp_path, FailAt(5, OutputError("disk is gone")))
    with pytest.raises(OutputError):
        writer_to(failing).write(block([0, 1, 2], checkpoint_id="c2"))
    assert committed_blocks(disk, "s.xml") == {}
    committed = read_block(disk, BlockKey("s.xml", 0, 0))
    assert committed is not None
    assert {row["offset"] for row in committed.tables["mentions"].to_pylist()} == {0, 1}


def test_a_whole_block_of_other_content_checkpoint_or_settings_replaces(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    writer_to(disk).write(block(range(5), note=" old"))
    for other in (
        block([0, 1], digest="d2"),
        block([0, 1], digest="d2", checkpoint_id="c2"),
    ):
        writer_to(disk).write(other)
        assert [row["offset"] for row in rows(tmp_path, "citations")] == [0, 1]
    writer_to(disk, settings="other").write(block([0], digest="d2", checkpoint_id="c2"))
    assert [row["offset"] for row in rows(tmp_path, "citations")] == [0]


def test_a_part_of_other_content_is_refused(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    writer_to(disk).write(block(range(5)))
    with pytest.raises(OutputError, match="another content"):
        writer_to(disk).write(block([0], digest="d2", complete=False))
    with pytest.raises(OutputError, match="blocks of 10 offsets"):
        writer_to(disk, size=20).write(block([0], complete=False))
    assert len(rows(tmp_path, "citations")) == 5


def test_the_last_block_removes_those_behind_it(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    writer = writer_to(disk)
    for start in (0, 10, 20):
        writer.write(block([start], start=start, last=start == 20))
    writer.write(block([10], start=10, source="t.xml"))
    writer.write(block([10, 11], start=10, digest="d2", last=True))
    assert sorted(committed_blocks(disk, "s.xml")) == [0, 10]
    assert sorted(committed_blocks(disk, "t.xml")) == [10]
    for kind in KINDS:
        assert len(disk.names(kind)) == 3


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    writer_to(disk).write(block([0]))
    (tmp_path / "citations" / NAME).write_bytes(b"not parquet at all")
    with pytest.raises(OutputError, match=r"citations/s\.xml-0.*damaged"):
        writer_to(disk).write(block([0]))


def test_a_file_that_is_not_ours_is_no_block(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path)
    writer_to(disk).write(block([0]))
    place = tmp_path / "citations" / NAME
    pq.write_table(pq.read_table(place).replace_schema_metadata(None), place)
    assert committed_blocks(disk, "s.xml") == {}


def test_citations_that_break_the_contract_are_counted(tmp_path: Path) -> None:
    good = block([0, 1, 2], dead_letters=[3])
    bad = AnnotatedCitation(4, citation(4), Annotation((mention(0, 10_000),)))
    whole = replace(good, citations=(*good.citations, bad))
    done = writer_to(DiskStore(tmp_path)).write(refuse_unstorable(whole, store_text=True))
    assert (done.citations, done.dead_letters) == (3, 2)
