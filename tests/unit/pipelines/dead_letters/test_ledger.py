"""The replay journal: what it keeps, and what a killed run leaves."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.dead_letters.ledger import FOLDER, Ledger, Replay, Target
from pipelines.output.manifest import open_existing
from pipelines.output.store import Store
from schemas.records import SourcePosition
from tests.support.blocks import hidden_files
from tests.support.dead_letters import dead_letter, write_dead_letters
from tests.support.memory_files import SCHEME, MemoryFiles

A, B = (SourcePosition("ä/b", 0, 1), "d1"), (SourcePosition("t", 3, 2**62), "d2")
FIRST = Replay("r1", Target("c", "t"), "topic", "2026-01-01T00:00:00+00:00", {0: 5}, frozenset([A]))
SECOND = replace(
    FIRST,
    id="r0",
    begun_at="2026-01-02T00:00:00+00:00",
    dead_letters=frozenset([A, B]),
    finished=True,
)


@pytest.fixture(params=["disk", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    MemoryFiles.objects.clear()
    root = str(tmp_path / "out") if request.param == "disk" else f"{SCHEME}://bucket/out"
    write_dead_letters(root, [dead_letter(1)])
    yield open_existing(root)
    MemoryFiles.objects.clear()


def test_replays_come_back_in_the_order_of_time(store: Store) -> None:
    ledger = Ledger(store)
    assert ledger.replays() == []
    ledger.save(SECOND)
    ledger.save(FIRST)
    assert Ledger(store).replays() == [FIRST, SECOND]
    ledger.save(replace(FIRST, dead_letters=frozenset(), finished=True))
    assert [len(x.dead_letters) for x in ledger.replays()] == [0, 2]


def test_what_was_sent_is_known_by_its_target(store: Store) -> None:
    ledger = Ledger(store)
    ledger.save(FIRST)
    ledger.save(replace(SECOND, target=Target("c", "other"), dead_letters=frozenset([B])))
    assert ledger.sent(Target("c", "t")) == {A}
    assert ledger.sent(Target("c", "new")) == set()
    assert ledger.sent(None) == {A, B}


def test_half_a_file_of_one_that_was_killed_is_swept_away(tmp_path: Path) -> None:
    root = tmp_path / "out"
    write_dead_letters(root, [dead_letter(1)])
    ledger = Ledger(open_existing(str(root)))
    ledger.save(FIRST)
    (root / FOLDER / ".r9.json.tmp").write_text("{")
    assert ledger.replays() == [FIRST]
    with ledger.locked():
        assert hidden_files(root) == []
    assert ledger.replays() == [FIRST]
