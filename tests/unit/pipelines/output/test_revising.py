"""Newer annotations over written rows: what is replaced, what stays, who else may write."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.blocks.elements import AnnotatedBlock, AnnotatedCitation
from pipelines.blocks.tables import block_tables
from pipelines.output.object_store import ObjectStore
from pipelines.output.revising import BlockReviser
from pipelines.output.sql_filter import parse_condition
from pipelines.output.store import DiskStore, Store
from pipelines.output.writer import SEVERAL, BlockWriter, CommittedBlock, read_block
from pipelines.sources.stored import is_textless, stored_citations, title_length
from schemas.arrow import KINDS
from schemas.errors import OutputError
from schemas.records import Annotation, Citation, Section
from tests.support.blocks import NOW, block, citation, dead_letter, hidden_files, mention
from tests.support.crash_injection import (
    CrashAt,
    CrashError,
    MemoryObjects,
    SteppedDisk,
    SteppedObjects,
)
from tests.support.parts import KEY, part, writer_to

LATER = NOW.replace(year=2027)


def reviser(store: Store, where: str = "true") -> BlockReviser:
    return BlockReviser(store, parse_condition(where))


def revision(
    offsets: Sequence[int], *, checkpoint_id: str = "c9", note: str = "", source: str = "topic"
) -> AnnotatedBlock:
    """Return what another checkpoint finds in the citations at `offsets`: one mention each."""
    found = Annotation((mention(0, 4, checkpoint_id=checkpoint_id),), truncated=True)
    made = block([], source=source, checkpoint_id=checkpoint_id, complete=False, last=False)
    citations = [AnnotatedCitation(x, citation(x, note=note), found) for x in offsets]
    return replace(made, citations=tuple(citations), annotated_at=LATER)


def committed_block(store: Store) -> CommittedBlock:
    with store.replacing(KEY):
        pass
    found = read_block(store, KEY)
    assert found is not None
    assert found.consistent
    return found


def makers(found: CommittedBlock) -> dict[int, str]:
    """Return which checkpoint made each row, and check that its mentions are that one's."""
    rows = found.tables["citations"].to_pylist()
    offsets = found.tables["mentions"]["offset"].to_pylist()
    for row in rows:
        count = 1 if row["checkpoint_id"] == "c9" else 2
        assert offsets.count(row["offset"]) == row["mention_count"] == count
        assert row["truncated"] == (row["checkpoint_id"] == "c9")
        assert row["annotated_at"] == (LATER if row["checkpoint_id"] == "c9" else NOW)
    assert set(offsets) <= {row["offset"] for row in rows}
    return {row["offset"]: row["checkpoint_id"] for row in rows}


def test_rows_at_the_offsets_are_replaced_and_all_else_stays(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    writer_to(store, settings="max_text_chars=9").write(part(0, 6, dead_letters=frozenset({4})))
    before = committed_block(store)
    done = reviser(store).write(revision([1, 3]))
    assert (done.header.key, done.citations, done.mentions, done.dead_letters) == (KEY, 5, 8, 1)
    found = committed_block(store)
    assert makers(found) == {0: "c1", 1: "c9", 2: "c1", 3: "c9", 5: "c1"}
    assert found.tables["dead_letters"].equals(before.tables["dead_letters"])
    made = {"mention_count", "truncated", "checkpoint_id", "annotated_at"}
    kept = [name for name in KINDS["citations"].names if name not in made]
    assert found.tables["citations"].select(kept).equals(before.tables["citations"].select(kept))
    assert found.tables["citations"].schema == KINDS["citations"]
    same = replace(found.footer, checkpoint_id="c1", revision=before.footer.revision)
    assert same == before.footer
    assert found.footer.checkpoint_id == SEVERAL
    assert found.footer.revision != before.footer.revision
    reviser(store).write(revision([0, 2, 5]))
    assert committed_block(store).footer.checkpoint_id == "c9"


def test_deleted_and_textless_citations_change_their_checkpoint_alone(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    citations = [Citation(7, deleted=True), Citation(8, year=2020)]
    old = replace(
        part(0, 0), citations=tuple(AnnotatedCitation(x, c, None) for x, c in enumerate(citations))
    )
    writer_to(store).write(old)
    before = committed_block(store)
    made = stored_citations(before.tables, pa.array([True, True]))
    assert [item.citation for item in made] == citations
    new = replace(
        revision([]),
        citations=tuple(AnnotatedCitation(x.offset, x.citation, None) for x in made),
    )
    reviser(store).write(new)
    rows = committed_block(store).tables["citations"].to_pylist()
    assert rows == [
        {**row, "checkpoint_id": "c9", "annotated_at": LATER}
        for row in before.tables["citations"].to_pylist()
    ]


@pytest.mark.parametrize(
    ("where", "new"),
    [
        ("true", revision([0, 1], note=" of another text")),
        ("year IS NOT NULL", revision([0, 1])),
        ("true", revision([0, 1], checkpoint_id="c1")),
        ("true", revision([6, 7])),
        ("true", revision([3])),
        ("true", revision([])),
        ("true", replace(revision([]), dead_letters=(dead_letter(0, source="topic"),))),
    ],
    ids=["other text", "no match", "same checkpoint", "no row", "dead letter", "nothing", "failed"],
)
def test_what_does_not_fit_changes_nothing(where: str, new: AnnotatedBlock) -> None:
    objects = MemoryObjects()
    store = ObjectStore(objects)
    writer_to(store).write(part(0, 4, dead_letters=frozenset({3})))
    before = len(objects.puts)
    assert reviser(store, where).write(new).citations == 3
    assert len(objects.puts) == before


def test_a_citation_that_breaks_the_contract_keeps_its_row_and_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = DiskStore(tmp_path)
    writer_to(store).write(part(0, 3))
    new = revision([0, 1, 2])
    wild = replace(new.citations[1], annotation=Annotation((mention(0, 999),)))
    citations = (new.citations[0], wild, new.citations[2])
    failed = dead_letter(5, source="topic")
    reviser(store).write(replace(new, citations=citations, dead_letters=(failed,)))
    found = committed_block(store)
    assert makers(found) == {0: "c9", 1: "c1", 2: "c9"}
    assert found.tables["dead_letters"].num_rows == 0
    said = sorted(record.getMessage() for record in caplog.records)
    assert [line.partition(":")[0] for line in said] == [
        "topic/0/1 keeps its row",
        "topic/0/5 keeps its row",
    ]


def test_a_block_that_was_removed_stays_removed_and_a_torn_one_is_refused(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    assert reviser(store).write(revision([0])).citations == 0
    assert store.names("citations") == []
    writer_to(store).write(part(0, 4))
    (tmp_path / "mentions" / "topic-0-000000000000.parquet").unlink()
    with pytest.raises(OutputError, match="do not belong together"):
        reviser(store).write(revision([0]))


def test_a_run_of_annotate_s_writer_finds_the_block_the_same(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    writer = BlockWriter(store, 8, "s")
    writer.write(block([0, 1, 2], source="topic", digest="d"))
    reviser(store).write(revision([0, 1, 2]))
    footer = committed_block(store).footer
    assert (footer.complete, footer.last, footer.covered) == (True, True, ())
    assert (footer.input_digest, footer.checkpoint_id, footer.settings) == ("d", "c9", "s")


@pytest.mark.parametrize("steps", range(6))
def test_a_crash_at_any_step_leaves_the_old_rows_or_the_new(tmp_path: Path, steps: int) -> None:
    writer_to(DiskStore(tmp_path)).write(part(0, 4))
    with pytest.raises(CrashError):
        reviser(SteppedDisk(tmp_path, CrashAt(steps))).write(revision([0, 2]))
    old, new = dict.fromkeys(range(4), "c1"), {0: "c9", 1: "c1", 2: "c9", 3: "c1"}
    assert makers(committed_block(DiskStore(tmp_path))) in (old, new)
    assert hidden_files(tmp_path) == []
    reviser(DiskStore(tmp_path)).write(revision([0, 2]))
    assert makers(committed_block(DiskStore(tmp_path))) == new


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("at", range(1, 10))
def test_another_writer_may_come_between_any_two_requests(at: int, late: bool) -> None:
    """It brings new rows and replaces one that was annotated: its row stays, nothing is lost."""
    bucket = MemoryObjects()
    count = 0

    def hook(step: str) -> None:
        nonlocal count
        count += 1
        if count == at:
            changed = replace(
                part(1, 2, 2),
                citations=tuple(
                    replace(x, citation=citation(x.offset, note=" changed"))
                    for x in part(1, 2, 2).citations
                ),
            )
            writer_to(ObjectStore(bucket)).write(changed)
            writer_to(ObjectStore(bucket)).write(part(4, 6, 2))

    writer_to(ObjectStore(bucket)).write(part(0, 4))
    reviser(ObjectStore(SteppedObjects(bucket, hook, late=late))).write(revision([0, 1, 2]))
    assert count >= at
    found = committed_block(ObjectStore(bucket))
    assert makers(found) == {0: "c9", 1: "c2", 2: "c9", 3: "c1", 4: "c2", 5: "c2"}
    assert found.footer.covered == ((0, 6),)
    assert found.footer.checkpoint_id == SEVERAL
    assert b'"sizes": {}' in bucket.stored[".journal/topic-0"].data


TEXTS = st.text(st.sampled_from("aé𝛽 \n"), max_size=8)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.lists(st.tuples(st.none() | st.just("AIM"), TEXTS), max_size=3), st.data())
def test_a_stored_citation_has_the_text_it_was_made_of(
    title: str, sections: list[tuple[str | None, str]], data: st.DataObject
) -> None:
    made = Citation(5, 2, title, tuple(Section(text, label) for label, text in sections))
    text = made.text
    starts = st.just(0) if text is None else st.integers(0, len(text) - 1)
    spans = [
        mention(start, data.draw(st.integers(start + 1, len(text or " "))))
        for start in data.draw(st.lists(starts, max_size=3))
    ]
    annotation = None if text is None else Annotation(tuple(spans))
    item = AnnotatedCitation(3, made, annotation)
    tables = block_tables(replace(block([]), citations=(item,)), store_text=True)
    [found] = stored_citations(tables, pa.array([True]))
    assert (found.offset, found.citation.text, found.citation.version) == (3, text, 2)
    if "\n" not in title:
        assert found.citation.title == title


@pytest.mark.parametrize(
    ("text", "last_start", "expected"),
    [
        ("ab\ncd\nef", -1, 2),
        ("ab\ncd\nef", 1, 2),
        ("ab\ncd\nef", 3, 5),
        ("ab\n", -1, 2),
        ("\nab", -1, 0),
        ("no end", 2, 6),
    ],
)
def test_where_a_title_ends(text: str, last_start: int, expected: int) -> None:
    assert title_length(text, last_start) == expected


def test_rows_whose_text_was_not_stored_are_left_out() -> None:
    made = block([0, 1])
    tables = block_tables(made, store_text=False)
    assert is_textless(tables["citations"]).to_pylist() == [True, True]
    assert stored_citations(tables, pa.array([True, True])) == ()
    whole = block_tables(made, store_text=True)
    chosen = stored_citations(whole, pa.array([False, True]))
    assert [(x.offset, x.citation.title) for x in chosen] == [(1, "Gene 1")]


def test_what_finds_the_same_gives_the_same_rows(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    writer_to(store).write(part(0, 4))
    before = committed_block(store)
    reviser(store).write(replace(part(0, 4), checkpoint_id="c9"))
    found = committed_block(store)
    assert found.tables["mentions"].equals(before.tables["mentions"])
    one, two = (x.tables["citations"].drop_columns(["checkpoint_id"]) for x in (found, before))
    assert one.equals(two)
    assert found.footer.checkpoint_id == "c9"
