"""What is committed to the consumer group, and when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from pipelines.blocks.elements import BlockHeader, WrittenBlock
from pipelines.blocks.keys import BlockKey
from pipelines.graphs.stream_plan import with_bases
from pipelines.kafka import commits as commits_module
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.commits import CommitOffsets, commit_metadata, output_in
from pipelines.kafka.ranges import ranges_to_read
from pipelines.kafka.retry import retry
from schemas.errors import BrokerError, InputError

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
    """A consumer of a group, with the group's offsets, the metadata of its commits, and a topic."""

    committed_at: dict[TopicPartition, int] = field(default_factory=dict)
    notes: dict[TopicPartition, str] = field(default_factory=dict)
    commits: list[tuple[int, str]] = field(default_factory=list)
    topic: str = "kafka:c:t"
    log_start: int = 0

    def close(self) -> None:
        pass

    def identify(self, topics: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(topics, self.topic)

    def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.log_start)

    def committed(
        self, partition: TopicPartition, *, metadata: bool = False
    ) -> OffsetAndMetadata | None:
        assert metadata
        offset = self.committed_at.get(partition)
        if offset is None:
            return None
        return OffsetAndMetadata(offset, self.notes.get(partition, ""), -1)

    def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        for partition, place in offsets.items():
            self.committed_at[partition] = place.offset
            self.notes[partition] = place.metadata
            self.commits.append((place.offset, place.metadata))


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    found = Group()
    monkeypatch.setattr(commits_module, "consumer", lambda *_, **__: found)
    return found


def note(begin: int, end: int, *, base: int = 0, drained: str = "") -> WrittenBlock:
    key = BlockKey("t", 0, 0)
    return WrittenBlock(BlockHeader(key, "", coverage=(begin, end), base=base, drained=drained))


def take(step: CommitOffsets, state: State, *written: WrittenBlock) -> Iterator[int]:
    for block in written:
        yield from (x[2] for x in step.process((("t", 0), block), state))  # type: ignore[arg-type]


def step() -> CommitOffsets:
    return CommitOffsets(KafkaAccess(("x:1",)), "g", {"t": "kafka:c:t"}, output="o1")


def test_only_the_written_prefix_without_a_gap_is_committed(group: Group) -> None:
    state = State()
    assert list(take(step(), state, note(10, 20), note(30, 40))) == []
    assert list(take(step(), state, note(0, 10), note(20, 30))) == [20, 40]
    assert [offset for offset, _ in group.commits] == [20, 40]


def test_the_beginning_alone_is_never_committed(group: Group) -> None:
    assert list(take(step(), State(), note(30, 40, base=20))) == []
    assert group.commits == []


def test_the_group_never_goes_back(group: Group) -> None:
    group.committed_at[PLACE] = 950
    state = State()
    one = step()
    assert list(take(one, state, note(0, 400), note(400, 900))) == []
    assert list(take(one, state, note(900, 1000))) == [1000]
    assert group.commits == [(1000, commit_metadata("o1"))]


def test_a_drain_s_last_slice_commits_with_its_token(group: Group) -> None:
    group.committed_at[PLACE] = 40
    written = note(40, 40, base=40, drained="token")
    assert list(take(step(), State(), written)) == [40]
    assert group.commits == [(40, commit_metadata("o1", "token"))]


def test_rounds_of_one_run_commit_each_their_own(group: Group) -> None:
    group.committed_at[PLACE] = 5
    ranges = ranges_to_read({PLACE: 5}, {PLACE: 60}, {"t": "d"}, block_size=10)
    found = []
    for start in range(0, len(ranges), 2):
        state = State()  # a pipeline of its own
        notes = [note(x.begin, x.end, base=x.base) for x in with_bases(ranges[start : start + 2])]
        found += list(take(step(), state, *reversed(notes)))
    assert found == [20, 40, 60]


def test_commit_metadata_names_the_output_of_the_rows() -> None:
    assert output_in(commit_metadata("o1")) == "o1"
    assert output_in(commit_metadata("o1", "token")) == "o1"
    assert [output_in(x) for x in ("", "drained by hand")] == [None, None]


def test_nothing_is_committed_for_a_recreated_topic(group: Group) -> None:
    one, state = step(), State()
    assert list(take(one, state, note(0, 10))) == [10]
    group.topic = "kafka:c:other"
    with pytest.raises(InputError, match=r"'t' is another one .*kafka:c:other, and was kafka:c:t"):
        list(take(one, state, note(10, 20)))
    assert [offset for offset, _ in group.commits] == [10]


@pytest.mark.parametrize("now", [None, 4, 70])
def test_a_group_that_others_set_is_not_committed_over(group: Group, now: int | None) -> None:
    one, state = step(), State()
    assert list(take(one, state, note(0, 10))) == [10]
    group.committed_at = {} if now is None else {PLACE: now}
    group.notes = {}
    with pytest.raises(InputError, match=r"group 'g' was deleted or reset .* 10 or one"):
        list(take(one, state, note(10, 20)))
    assert len(group.commits) == 1


def test_a_group_that_was_deleted_before_the_first_commit_is_noticed(group: Group) -> None:
    with pytest.raises(InputError, match="is none, and 40 or one"):
        list(take(step(), State(), note(40, 50, base=40)))
    group.log_start = 40  # the run began at the log's start, for which no group is needed
    assert list(take(step(), State(), note(40, 50, base=40))) == [50]


def test_a_step_that_goes_on_from_an_older_state_finds_its_own_commits(group: Group) -> None:
    state = State()
    assert list(take(step(), state, note(0, 10))) == [10]
    older = State(state.value)
    assert list(take(step(), state, note(10, 20))) == [20]
    assert list(take(step(), older, note(10, 20), note(20, 30))) == [30]


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
