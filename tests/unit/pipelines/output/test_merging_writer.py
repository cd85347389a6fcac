"""The writer as a stream uses it: merging, crashes at every step, overtaken writers."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.blocks.elements import AnnotatedBlock
from pipelines.blocks.keys import BlockKey
from pipelines.output.object_store import ObjectStore
from pipelines.output.store import DiskStore, Store
from pipelines.output.writer import BlockWriter, CommittedBlock, committed_blocks, read_block
from schemas.arrow import KINDS
from schemas.errors import OutputError
from tests.support.blocks import all_rows, block, hidden_files, rows, with_header
from tests.support.crash_injection import (
    CrashAt,
    CrashError,
    Hook,
    MemoryObjects,
    SteppedDisk,
    SteppedObjects,
)
from tests.support.parts import KEY, SIZE, part, writer_to


def committed_block(store: Store) -> CommittedBlock:
    """Return the committed block, after an interrupted commit was finished or undone."""
    with store.replacing(KEY):
        pass
    found = read_block(store, KEY)
    assert found is not None
    return found


def offsets(found: CommittedBlock, kind: str = "citations") -> list[int]:
    values: list[int] = found.tables[kind]["offset"].to_pylist()
    return values


def test_coverage_adds_up_and_makes_a_block_complete(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    writer = writer_to(store)
    done = writer.write(part(0, 3))
    assert (done.header.coverage, done.header.base, done.citations) == ((0, 3), 0, 3)
    writer.write(part(5, 8, gaps=frozenset({7})))
    footer = committed_block(store).footer
    assert (footer.covered, footer.complete, footer.records) == (((0, 3), (5, 8)), False, 5)
    done = writer.write(part(3, 5))
    footer = committed_block(store).footer
    assert (footer.covered, footer.complete, footer.records) == (((0, 8),), True, 7)
    assert (done.header.coverage, done.citations) == ((3, 5), 7)


def test_nothing_is_replaced_as_a_whole(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    writer_to(store).write(part(0, 8))
    again = with_header(part(4, 6, 2), complete=True)
    writer_to(store, settings="other").write(again)
    found = committed_block(store)
    assert offsets(found) == list(range(8))
    assert (found.footer.checkpoint_id, found.footer.settings) == ("several", "several")
    writer_to(store, settings="other").write(part(0, 8, 2))
    assert committed_block(store).footer.checkpoint_id == "c2"


def test_a_dead_letter_never_goes_over_a_citation(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    writer_to(store).write(part(0, 4, dead_letters=frozenset({3})))
    writer_to(store).write(part(2, 6, 2, dead_letters=frozenset({2, 3, 5})))
    found = committed_block(store)
    assert (offsets(found), offsets(found, "dead_letters")) == ([0, 1, 2, 4], [3, 5])
    writer_to(store).write(part(3, 4, 3))
    found = committed_block(store)
    assert (offsets(found), offsets(found, "dead_letters")) == ([0, 1, 2, 3, 4], [5])


def test_rows_that_say_nothing_of_what_was_read_cover_themselves(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    writer_to(store).write(part(0, 2))
    writer_to(store).write(with_header(part(1, 6, gaps=frozenset({4})), coverage=None))
    assert committed_block(store).footer.covered == ((0, 4), (5, 6))


def test_the_same_part_again_writes_nothing(tmp_path: Path) -> None:
    objects = MemoryObjects()
    writer = writer_to(ObjectStore(objects))
    writer.write(part(0, 4))
    before = len(objects.puts)
    assert writer.write(part(0, 4)).citations == 4
    assert len(objects.puts) == before


def test_another_topic_and_files_of_that_name_are_refused(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    writer_to(store).write(part(0, 4))
    with pytest.raises(OutputError, match="kafka:cluster:topic, now kafka:cluster:new"):
        writer_to(store).write(with_header(part(0, 4), input_digest="kafka:cluster:new"))
    batch = BlockWriter(store, SIZE, "")
    of_a_file = block([0], source=KEY.source, digest="d" * 64)
    with pytest.raises(OutputError, match="rows of a topic named 'topic'"):
        batch.write(of_a_file)
    writer_to(store).write(with_header(part(8, 9), key=BlockKey(KEY.source, 0, 8)))
    (tmp_path / "citations" / "topic-0-000000000000.parquet").unlink()
    with pytest.raises(OutputError, match="rows of a topic named 'topic'"):
        batch.write(of_a_file)
    assert sorted(committed_blocks(store, KEY.source)) == [8]


def test_files_that_someone_mixed_are_refused(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    writer_to(store).write(part(0, 4))
    (tmp_path / "mentions" / "topic-0-000000000000.parquet").unlink()
    with pytest.raises(OutputError, match="do not belong together"):
        writer_to(store).write(part(4, 8))


@dataclass
class World:
    """A store that outlives the processes that write to it."""

    open: Callable[[Hook], Store]

    def look(self) -> CommittedBlock | None:
        store = self.open(CrashAt(None))
        with store.replacing(KEY):
            pass
        return read_block(store, KEY)


def disk_world(root: Path) -> World:
    return World(lambda hook: SteppedDisk(root, hook))


def object_world(*, late: bool) -> World:
    bucket = MemoryObjects()
    return World(lambda hook: ObjectStore(SteppedObjects(bucket, hook, late=late)))


@dataclass(frozen=True)
class Step:
    """Give the offsets [begin, end) to a new process, which dies after so many steps (or not)."""

    begin: int
    end: int
    dead_letters: frozenset[int]
    crash: int | None
    look: bool


@dataclass
class Model:
    """What may be written: by offset, the kind of row and the reading that made it."""

    may: dict[int, set[tuple[str, int] | None]] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)

    def give(self, step: Step, number: int, *, done: bool) -> None:
        for offset in range(step.begin, step.end):
            before = self.may.get(offset, {None})
            after: set[tuple[str, int] | None] = {
                old
                if offset in step.dead_letters and old is not None and old[0] == "citations"
                else ("dead_letters" if offset in step.dead_letters else "citations", number)
                for old in before
            }
            self.may[offset] = after if done else before | after
            if done:
                self.acknowledged.add(offset)

    def check(self, found: CommittedBlock | None, gaps: frozenset[int]) -> None:
        if found is None:
            assert not self.acknowledged
            return
        assert found.consistent
        rows = {kind: found.tables[kind].to_pylist() for kind in KINDS}
        numbers: dict[int, tuple[str, int]] = {}
        for row in rows["citations"]:
            assert row["offset"] not in numbers
            numbers[row["offset"]] = ("citations", int(row["checkpoint_id"][1:]))
            mentions = [x for x in rows["mentions"] if x["offset"] == row["offset"]]
            assert len(mentions) == row["mention_count"] == 2
            assert [x["text"] for x in mentions] == [
                row["text"][x["start"] : x["end"]] for x in mentions
            ]
            # The fixture gives the number to the second mention of the two.
            assert mentions[1]["checkpoint_id"] == row["checkpoint_id"]
        for row in rows["dead_letters"]:
            assert row["offset"] not in numbers
            numbers[row["offset"]] = ("dead_letters", int(row["error"].removeprefix("reading ")))
        assert {row["offset"] for row in rows["mentions"]} <= set(numbers)
        possible = {offset for offset in self.may if offset not in gaps}
        assert set(numbers) <= possible
        assert self.acknowledged - gaps <= set(numbers)
        for offset, state in numbers.items():
            assert state in self.may[offset]
        covered = {x for begin, end in found.footer.covered for x in range(begin, end)}
        assert self.acknowledged <= covered <= set(self.may)
        assert covered - gaps == set(numbers)
        assert found.footer.complete == (len(covered) == SIZE)
        assert found.footer.records == len(numbers)


def numbered(step: Step, number: int, gaps: frozenset[int]) -> AnnotatedBlock:
    made = part(step.begin, step.end, number, dead_letters=step.dead_letters, gaps=gaps)
    dead_letters = tuple(replace(x, error=f"reading {number}") for x in made.dead_letters)
    return replace(made, dead_letters=dead_letters)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    begin = draw(st.integers(0, SIZE - 1))
    end = draw(st.integers(begin + 1, SIZE))
    return Step(
        begin=begin,
        end=end,
        dead_letters=draw(st.frozensets(st.integers(0, SIZE - 1), max_size=3)),
        crash=draw(st.none() | st.integers(0, 20)),
        look=draw(st.booleans()),
    )


def run(world: World, sequence: list[Step], gaps: frozenset[int]) -> None:
    """Give parts to processes that die; give again what was not acknowledged; compare."""
    model = Model()
    last = [replace(step, crash=None, look=False) for step in sequence if step.crash is not None]
    whole = Step(0, SIZE, frozenset(), None, look=True)
    for number, step in enumerate([*sequence, *last, whole], 1):
        hook = CrashAt(step.crash)
        try:
            writer_to(world.open(hook)).write(numbered(step, number, gaps))
        except CrashError:
            model.give(step, number, done=False)
        else:
            model.give(step, number, done=True)
        if step.look:
            model.check(world.look(), gaps)
    found = world.look()
    model.check(found, gaps)
    assert found is not None
    assert found.footer.covered == ((0, SIZE),)
    assert offsets(found) == [x for x in range(SIZE) if x not in gaps]
    assert len(set(found.tables["citations"]["checkpoint_id"].to_pylist())) <= 1


GAPS = st.frozensets(st.integers(0, SIZE - 1), max_size=2)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps(), min_size=1, max_size=6), GAPS)
def test_on_a_disk_no_crash_loses_doubles_or_mixes_rows(
    sequence: list[Step], gaps: frozenset[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(disk_world(Path(folder)), sequence, gaps)
        assert hidden_files(Path(folder)) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(steps(), min_size=1, max_size=6), GAPS, st.booleans())
def test_in_an_object_store_no_crash_loses_doubles_or_mixes_rows(
    sequence: list[Step], gaps: frozenset[int], late: bool
) -> None:
    run(object_world(late=late), sequence, gaps)


@dataclass
class Meanwhile:
    """A hook that does something else before the step of that number, once."""

    at: int
    action: Callable[[], None]
    count: int = 0

    def __call__(self, step: str) -> None:
        self.count += 1
        if self.count == self.at:
            self.action()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("dies", [None, 0, 2, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("at", range(1, 10))
def test_a_writer_that_is_overtaken_at_any_step_loses_nothing(
    at: int, dies: int | None, late: bool
) -> None:
    """Another writer, which may die, comes between any two requests of one; a third tidies up."""
    bucket = MemoryObjects()

    def store(hook: Hook) -> Store:
        return ObjectStore(SteppedObjects(bucket, hook, late=late))

    def other() -> None:
        try:
            writer_to(store(CrashAt(dies))).write(part(2, 6, 2))
        except CrashError:
            writer_to(store(CrashAt(None))).write(part(2, 5, 3))

    writer_to(store(CrashAt(None))).write(part(0, 1, 1))
    hook = Meanwhile(at, other)
    writer_to(store(hook)).write(part(1, 4, 4))
    assert hook.count >= at
    found = committed_block(store(CrashAt(None)))
    assert found.consistent
    expected = [0, 1, 2, 3, 4, 5] if dies is None or 5 in offsets(found) else [0, 1, 2, 3, 4]
    assert offsets(found) == expected
    assert offsets(found, "mentions") == sorted(2 * expected)
    entry = bucket.stored[".journal/topic-0"].data
    assert b'"sizes": {}' in entry


def test_two_blocks_of_one_partition_do_not_disturb_each_other() -> None:
    bucket = MemoryObjects()

    def other() -> None:
        far = with_header(part(8, 12, 2), key=BlockKey(KEY.source, 0, 8))
        writer_to(ObjectStore(bucket)).write(far)

    for at in range(1, 10):
        hook = Meanwhile(at, other)
        writer_to(ObjectStore(SteppedObjects(bucket, hook))).write(part(0, 4))
        assert sorted(bucket.names("citations")) == [
            "topic-0-000000000000.parquet",
            "topic-0-000000000008.parquet",
        ]
        bucket.stored.clear()


@pytest.mark.parametrize("steps_done", [4, 5])
def test_a_run_that_opens_the_output_finishes_what_is_half_in_place(
    tmp_path: Path, steps_done: int
) -> None:
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    for root in (whole, interrupted):
        writer_to(DiskStore(root)).write(part(0, 4))
    writer_to(DiskStore(whole)).write(part(2, 8, 2))
    with pytest.raises(CrashError):
        writer_to(SteppedDisk(interrupted, CrashAt(steps_done))).write(part(2, 8, 2))
    assert len(hidden_files(interrupted)) == 6 - steps_done
    DiskStore(interrupted).recover()
    assert hidden_files(interrupted) == []
    assert all_rows(interrupted) == all_rows(whole)
    assert len(rows(interrupted, "citations")) == 8


@pytest.mark.parametrize("puts", range(5))
def test_a_run_that_opens_the_output_empties_its_topics_journals(puts: int) -> None:
    bucket = MemoryObjects()
    dying = SteppedObjects(bucket, CrashAt(4 + puts))
    with pytest.raises(CrashError):
        writer_to(ObjectStore(dying)).write(part(0, 4))
    store = ObjectStore(bucket)
    store.recover(["topi", "another"])
    assert len(bucket.puts) == puts
    store.recover([KEY.source])
    found = read_block(store, KEY)
    assert (found is not None) == (puts > 0)
    assert found is None or (found.consistent and offsets(found) == [0, 1, 2, 3])


@pytest.mark.parametrize("at", range(1, 18))
@pytest.mark.parametrize("puts", range(1, 5))
def test_two_writers_that_finish_the_work_of_a_third_lose_nothing(at: int, puts: int) -> None:
    bucket = MemoryObjects()
    writer_to(ObjectStore(bucket)).write(part(0, 1))
    with pytest.raises(CrashError):
        writer_to(ObjectStore(SteppedObjects(bucket, CrashAt(4 + puts)))).write(part(0, 2, 2))

    def other() -> None:
        writer_to(ObjectStore(bucket)).write(part(2, 4, 3))

    hook = Meanwhile(at, other)
    writer_to(ObjectStore(SteppedObjects(bucket, hook))).write(part(4, 6, 4))
    expected = [0, 1, 2, 3, 4, 5] if hook.count >= at else [0, 1, 4, 5]
    found = committed_block(ObjectStore(bucket))
    assert found.consistent
    assert offsets(found) == expected
    assert offsets(found, "mentions") == sorted(2 * expected)
