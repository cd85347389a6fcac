"""What is committed to the consumer group, and when."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from kafka import TopicPartition

from pipelines.blocks import BlockKey
from pipelines.kafka import commits as commits_module
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.commits import CommitOffsets, drained_note
from pipelines.kafka.ranges import ranges_to_read
from pipelines.kafka.retrying import retry
from pipelines.records import WrittenBlock
from pipelines.stream_plan import with_bases
from schemas.errors import BrokerError

PLACE = TopicPartition("t", 0)


@dataclass
class State:
    """Beam's state of one key."""

    value: str | None = None

    def read(self) -> str | None:
        return self.value

    def write(self, value: str) -> None:
        self.value = value


@dataclass
class Group:
    """A group's offsets, with the notes of its commits."""

    committed: dict[TopicPartition, int] = field(default_factory=dict)
    commits: list[tuple[int, str]] = field(default_factory=list)

    def close(self) -> None:
        pass


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    found = Group()

    def commit(_: object, offsets: dict[TopicPartition, int], *, note: str) -> None:
        found.committed |= offsets
        found.commits += [(offset, note) for offset in offsets.values()]

    monkeypatch.setattr(commits_module, "consumer", lambda *_, **__: found)
    monkeypatch.setattr(commits_module, "commit", commit)
    monkeypatch.setattr(commits_module, "committed_offsets", lambda *_: dict(found.committed))
    return found


def note(begin: int, end: int, *, base: int = 0, drained: str = "") -> WrittenBlock:
    return WrittenBlock(
        BlockKey("t", 0, 0), 0, 0, 0, coverage=(begin, end), base=base, drained=drained
    )


def take(step: CommitOffsets, state: State, *written: WrittenBlock) -> Iterator[int]:
    for block in written:
        yield from (x[2] for x in step.process((("t", 0), block), state))  # type: ignore[arg-type]


def step() -> CommitOffsets:
    return CommitOffsets(KafkaAccess(("x:1",)), "g")


def test_only_what_is_in_place_without_a_gap_is_committed(group: Group) -> None:
    state = State()
    assert list(take(step(), state, note(10, 20), note(30, 40))) == []
    assert list(take(step(), state, note(0, 10), note(20, 30))) == [20, 40]
    assert [offset for offset, _ in group.commits] == [20, 40]


def test_the_beginning_alone_is_never_committed(group: Group) -> None:
    assert list(take(step(), State(), note(30, 40, base=20))) == []
    assert group.commits == []


def test_the_group_never_goes_back(group: Group) -> None:
    group.committed[PLACE] = 950
    state = State()
    one = step()
    assert list(take(one, state, note(0, 400), note(400, 900))) == []
    assert list(take(one, state, note(900, 1000))) == [1000]
    assert group.commits == [(1000, "")]


def test_a_drain_s_last_part_commits_with_its_note(group: Group) -> None:
    group.committed[PLACE] = 40
    written = note(40, 40, base=40, drained="token")
    assert list(take(step(), State(), written)) == [40]
    assert group.commits == [(40, drained_note("token"))]


def test_rounds_of_one_run_commit_each_their_own(group: Group) -> None:
    ranges = ranges_to_read({PLACE: 5}, {PLACE: 60}, {"t": "d"}, block_size=10)
    found = []
    for start in range(0, len(ranges), 2):
        state = State()  # a pipeline of its own
        notes = [note(x.begin, x.end, base=x.base) for x in with_bases(ranges[start : start + 2])]
        found += list(take(step(), state, *reversed(notes)))
    assert found == [20, 40, 60]


def test_a_broker_that_is_away_is_waited_for() -> None:
    failures = [BrokerError("away"), BrokerError("away")]
    slept: list[float] = []

    def action() -> None:
        if failures:
            raise failures.pop()

    retry(action, before_again=lambda: None, sleep=slept.append)
    assert len(slept) == 2


def test_what_will_not_pass_is_raised() -> None:
    def action() -> None:
        raise BrokerError("not allowed", permanent=True)

    with pytest.raises(BrokerError, match="not allowed"):
        retry(action, before_again=lambda: None, sleep=lambda _: None)
