"""Stored output by block and day: exact counts, needed columns only, samples that stay the same."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from schemas.errors import InputError
from tests.support.drift import annotations, write_block
from training.drift import reading
from training.drift.reading import Sample, StoredOutput
from worker.drift.tally import DayTally, DriftTally, tally_of

DAY = datetime(2026, 1, 31, 12, tzinfo=UTC)
HEADS = ("bc2gm", "ncbi-disease")


def counted(root: Path, since: date | None = None, until: date | None = None) -> DriftTally:
    tally = DriftTally()
    for block in StoredOutput(str(root)).block_days(since, until):
        found = {head: cells.tolist() for head, cells in block.cells.items()}
        assert all(sum(cells) > 0 for cells in found.values())
        tally.add(*block.key, DayTally(citations=len(block.offsets), cells=block.cells))
    return tally


def test_mentions_are_counted_by_the_checkpoint_and_day_of_their_citation(tmp_path: Path) -> None:
    """One block that two checkpoints annotated over two days, and one of one of each."""
    mixed = annotations(40, heads=HEADS)
    ids = ["c1" if number % 3 else "c2" for number in range(40)]
    moments = [DAY + timedelta(days=number % 2) for number in range(40)]
    write_block(tmp_path, "s.xml-0-000.parquet", mixed, checkpoint_id=ids, annotated_at=moments)
    alone = annotations(25, seed=1, heads=HEADS)
    write_block(tmp_path, "s.xml-0-100.parquet", alone, annotated_at=DAY, first=100)
    expected = DriftTally()
    for one, checkpoint_id, moment in zip(mixed, ids, moments, strict=True):
        expected.add(checkpoint_id, moment.date(), tally_of([one]))
    expected.add("c1", DAY.date(), tally_of(alone))
    found = counted(tmp_path).days
    assert list(found) == list(expected.days)
    assert len(found) == 4
    for key, tally in expected.days.items():
        assert found[key].citations == tally.citations
        for head in HEADS:
            assert found[key].cells[head].tolist() == tally.cells[head].tolist()


def test_many_batches_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_block(tmp_path, "s.xml-0-000.parquet", annotations(60, heads=HEADS), annotated_at=DAY)
    [(_, whole)] = counted(tmp_path).days.items()
    monkeypatch.setattr(reading, "_ROWS", 7)
    [(_, parts)] = counted(tmp_path).days.items()
    assert {h: c.tolist() for h, c in parts.cells.items()} == {
        h: c.tolist() for h, c in whole.cells.items()
    }
    output = StoredOutput(str(tmp_path))
    assert output.texts("s.xml-0-000.parquet", np.array([3, 59])) == ["a cell of cancer"] * 2


def test_citations_without_text_and_other_days_are_left_out(tmp_path: Path) -> None:
    found = annotations(10)
    moments = [DAY + timedelta(days=number // 5) for number in range(10)]
    statuses = {0: "no_text", 9: "deleted"}
    write_block(tmp_path, "s-0-0.parquet", found, annotated_at=moments, statuses=statuses, first=70)
    (tmp_path / "citations" / ".half.parquet").write_bytes(b"not yet")
    days = counted(tmp_path).days
    assert [(day.day, tally.citations) for (_, day), tally in days.items()] == [(31, 4), (1, 4)]
    first, second = date(2026, 1, 31), date(2026, 2, 1)
    assert [day for _, day in counted(tmp_path, since=second).days] == [second]
    assert [day for _, day in counted(tmp_path, until=first).days] == [first]
    assert counted(tmp_path, since=date(2026, 2, 2)).days == {}


def test_samples_are_the_same_whatever_the_order_and_spread_over_blocks(tmp_path: Path) -> None:
    for number in range(10):
        found = annotations(30, seed=number)
        write_block(tmp_path, f"s-0-{number}.parquet", found, annotated_at=DAY, first=30 * number)
    blocks = list(StoredOutput(str(tmp_path)).block_days(None, None))
    forward, backward = Sample.empty(60), Sample.empty(60)
    for one, other in zip(blocks, reversed(blocks), strict=True):
        forward, backward = forward.with_block(one), backward.with_block(other)
    chosen = {name: offsets.tolist() for name, offsets in forward.by_block()}
    assert chosen == {name: offsets.tolist() for name, offsets in backward.by_block()}
    assert sum(map(len, chosen.values())) == 60
    assert len(chosen) == 10
    assert all(
        set(offsets) <= set(range(30 * n, 30 * n + 30))
        for n, offsets in zip(range(10), chosen.values(), strict=True)
    )
    small = Sample.empty(1000)
    for block in blocks:
        small = small.with_block(block)
    assert sum(len(offsets) for _, offsets in small.by_block()) == 300


def test_texts_that_are_not_stored_are_none(tmp_path: Path) -> None:
    write_block(tmp_path, "s-0-0.parquet", annotations(5), annotated_at=DAY, text=None)
    assert StoredOutput(str(tmp_path)).texts("s-0-0.parquet", np.arange(5)) == []


def test_what_is_no_output_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no output that can be read"):
        StoredOutput(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="is no output that can be read"):
        StoredOutput("nothing://bucket/out")
    write_block(tmp_path, "s-0-0.parquet", annotations(5), annotated_at=DAY)
    table = pq.read_table(tmp_path / "mentions" / "s-0-0.parquet")
    pq.write_table(table.drop_columns(["score"]), tmp_path / "mentions" / "s-0-0.parquet")
    with pytest.raises(InputError, match=r"the block s-0-0\.parquet cannot be read"):
        counted(tmp_path)
    (tmp_path / "mentions" / "s-0-0.parquet").write_bytes(b"half a file")
    with pytest.raises(InputError, match=r"the block s-0-0\.parquet cannot be read"):
        counted(tmp_path)
