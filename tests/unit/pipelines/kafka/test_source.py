"""The unbounded source, on a log in memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from apache_beam.metrics.execution import MetricsContainer
from apache_beam.runners.worker.statesampler import StateSampler
from apache_beam.utils.counters import CounterFactory
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from kafka import TopicPartition

from pipelines.kafka import source as source_module
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.batches import RawRecord
from pipelines.kafka.drain import DrainSignal
from pipelines.kafka.slices import RawSlice
from pipelines.kafka.source import (
    KafkaCheckpointMark,
    KafkaCheckpointMarkCoder,
    KafkaReader,
    KafkaSource,
    PartitionPosition,
    Reading,
    first_offset,
)
from schemas.errors import InputError
from tests.support.kafka_log import Log, LogConsumer

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> LogConsumer:
    made = LogConsumer({P0: Log(), P1: Log()})
    monkeypatch.setattr(source_module, "consumer", lambda *_, **__: made)
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_source(folder: Path) -> KafkaSource:
    reading = Reading(KafkaAccess(("x:1",)), {"t": "kafka:c:t"}, "g", 10, 5.0)
    return KafkaSource(reading, DrainSignal(str(folder), "me"))


def make_reader(
    folder: Path, clock: Clock, positions: Mapping[TopicPartition, PartitionPosition] | None = None
) -> KafkaReader:
    return KafkaReader(make_source(folder), positions or {}, clock=clock)


def read_all(reader: KafkaReader, *, started: bool) -> list[RawSlice]:
    found = []
    more = reader.advance() if started else reader.start()
    while more:
        found.append(reader.get_current())
        more = reader.advance()
    return found


def spans(parts: list[RawSlice]) -> list[tuple[int, int, int]]:
    return sorted((x.header.key.partition, x.begin, x.end) for x in parts)


def test_full_blocks_come_at_once_and_the_rest_when_it_is_due(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(25)
    consumer.logs[P1].append(3)
    reader = make_reader(tmp_path, clock)
    assert spans(read_all(reader, started=False)) == [(0, 0, 10), (0, 10, 20)]
    clock.now = 4.9
    assert read_all(reader, started=True) == []
    clock.now = 5.0
    assert spans(read_all(reader, started=True)) == [(0, 20, 25), (1, 0, 3)]
    consumer.logs[P1].append(1)
    clock.now = 6.0
    assert read_all(reader, started=True) == []
    clock.now = 11.0
    assert spans(read_all(reader, started=True)) == [(1, 3, 4)]


def test_a_mark_holds_the_begin_of_the_first_slice_not_emitted(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(37)
    reader = make_reader(tmp_path, clock)
    assert reader.start()
    assert reader.get_checkpoint_mark().positions == {P0: (10, 0, 0.0), P1: (0, 0, 0.0)}
    assert reader.advance()
    mark = KafkaCheckpointMarkCoder().decode(
        KafkaCheckpointMarkCoder().encode(reader.get_checkpoint_mark())
    )
    assert {x: y[:2] for x, y in mark.positions.items()} == {P0: (20, 0), P1: (0, 0)}
    again = make_reader(tmp_path, clock, mark.positions)
    clock.now = 50.0
    found = read_all(again, started=False)
    clock.now = 56.0
    found += read_all(again, started=True)
    assert spans(found) == [(0, 20, 30), (0, 30, 37)]
    assert {part.header.base for part in found} == {0}


def test_a_slice_stays_due_for_a_restored_reader(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(3)
    clock.now = 100.0
    reader = make_reader(tmp_path, clock)
    assert read_all(reader, started=False) == []
    mark = reader.get_checkpoint_mark()
    assert mark.positions[P0] == (0, 0, 100.0)
    clock.now = 105.0
    again = make_reader(tmp_path, clock, mark.positions)
    assert spans(read_all(again, started=False)) == [(0, 0, 3)]


def test_it_reads_on_while_there_are_messages(
    tmp_path: Path, consumer: LogConsumer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for partition in (P0, P1):
        consumer.logs[partition].append(9)
    reader = make_reader(tmp_path, clock)
    reader.start()
    polls = []
    poll = consumer.poll

    def few(**words: int) -> Mapping[TopicPartition, Sequence[RawRecord]]:
        polls.append(words)
        return poll(max_records=3)

    monkeypatch.setattr(consumer, "poll", few)
    consumer.logs[P0].append(11)
    assert reader.advance()
    assert len(polls) == 1
    assert reader.advance()
    assert len(polls) > 2, "no complete part yet, and more to read"


def test_a_message_from_the_future_does_not_end_the_source(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(10, timestamp=1_700_000_000_000_000_000)
    consumer.logs[P0].append(1, timestamp=1_700_000_000_000_000_000)
    reader = make_reader(tmp_path, clock)
    assert reader.start()
    assert reader.get_current_timestamp() <= Timestamp.now()
    assert not reader.advance()
    assert reader.get_watermark() <= Timestamp.now()


def test_a_run_without_state_begins_at_the_group_s_block(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(40)
    consumer.logs[P1].append(40)
    consumer.committed_at = {P0: 27, P1: 27}
    consumer.logs[P1].remove_before(24)
    found = read_all(make_reader(tmp_path, clock), started=False)
    assert spans(found) == [(0, 20, 30), (0, 30, 40), (1, 24, 30), (1, 30, 40)]
    assert {(x.header.key.partition, x.header.base) for x in found} == {(0, 20), (1, 24)}


@pytest.mark.parametrize(
    ("committed", "start", "expected"), [(None, 7, 7), (27, 0, 20), (27, 24, 24), (20, 0, 20)]
)
def test_first_offset(committed: int | None, start: int, expected: int) -> None:
    assert first_offset(committed, start, 10) == expected


def test_offsets_that_no_consumer_sees_are_covered(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(4)
    consumer.logs[P0].skip(30)
    reader = make_reader(tmp_path, clock)
    found = read_all(reader, started=False)
    for clock.now in (9.0, 19.0):
        found += read_all(reader, started=True)
    assert found[0].begin == 0
    assert [x.end for x in found[:-1]] == [x.begin for x in found[1:]]
    assert found[-1].end == 34
    assert [r.offset for x in found for r in x.records] == [0, 1, 2, 3]


def test_retention_that_overtakes_moves_on_to_the_log_s_start(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(5)
    reader = make_reader(tmp_path, clock)
    assert read_all(reader, started=False) == []
    consumer.positions[P0] = 5
    consumer.logs[P0].append(95)
    consumer.logs[P0].remove_before(80)
    found = read_all(reader, started=True)
    clock.now = 20.0
    found += read_all(reader, started=True)
    offsets = [r.offset for x in found for r in x.records]
    assert offsets == [0, 1, 2, 3, 4, *range(80, 100)]


def test_partitions_that_are_added_are_taken_up(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    reader = make_reader(tmp_path, clock)
    assert read_all(reader, started=False) == []
    added = TopicPartition("t", 2)
    consumer.logs[added] = Log()
    consumer.logs[added].append(10)
    clock.now = 30.0
    assert spans(read_all(reader, started=True)) == [(2, 0, 10)]


def test_the_watermark_is_the_oldest_message_not_emitted(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(10, timestamp=5_000)
    consumer.logs[P0].append(1, timestamp=9_000)
    reader = make_reader(tmp_path, clock)
    assert reader.start()
    assert reader.get_current_timestamp() == Timestamp(5)
    assert reader.get_watermark() == Timestamp(5)
    assert not reader.advance()
    assert reader.get_watermark() == Timestamp(9)
    clock.now = 10.0
    assert reader.advance()
    assert not reader.advance()
    # Nothing waits, in the idle partition neither: the watermark is the time now.
    assert reader.get_watermark() > Timestamp(1_700_000_000)
    assert reader.get_watermark() < MAX_TIMESTAMP


def test_a_drain_gives_out_what_is_open_and_ends(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(3)
    reader = make_reader(tmp_path, clock)
    assert read_all(reader, started=False) == []
    DrainSignal(str(tmp_path), "somebody else").request()
    clock.now = 2.5
    assert read_all(reader, started=True) == []
    token = DrainSignal(str(tmp_path), "me").request()
    clock.now = 4.9
    assert reader.advance()
    assert spans([reader.get_current()]) == [(0, 0, 3)]
    consumer.logs[P0].append(50)
    last = read_all(reader, started=True)
    assert spans(last) == [(0, 3, 3), (1, 0, 0)]
    assert {(x.header.drained, x.records) for x in last} == {(token, ())}
    assert reader.get_watermark() == MAX_TIMESTAMP
    assert reader.get_checkpoint_mark().positions[P0] == (3, 0, 0.0)


def test_nothing_is_emitted_of_a_recreated_topic(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(10)
    reader = make_reader(tmp_path, clock)
    assert reader.start()
    consumer.logs[P0].append(10)
    consumer.identities = {"t": "kafka:c:other"}
    with pytest.raises(InputError, match="'t' is another one than when the run began"):
        reader.advance()


def test_what_was_read_waits_until_the_topic_is_known(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(10)
    known, consumer.identities = consumer.identities, {}
    reader = make_reader(tmp_path, clock)
    assert not reader.start()
    assert reader.get_checkpoint_mark().positions[P0] == (0, 0, 0.0)
    consumer.identities = known
    assert reader.advance()
    assert spans([reader.get_current()]) == [(0, 0, 10)]


def test_what_retention_removed_before_the_group_read_it_is_counted(
    tmp_path: Path, consumer: LogConsumer, clock: Clock
) -> None:
    consumer.logs[P0].append(40)
    consumer.logs[P0].remove_before(33)
    consumer.committed_at = {P0: 21, P1: 0}
    container = MetricsContainer("step")
    sampler = StateSampler("process", CounterFactory())
    sampler.start()
    with sampler.scoped_state("step", "process", metrics_container=container):
        make_reader(tmp_path, clock).start()
    sampler.stop()
    counters = container.get_cumulative().counters
    assert {key.metric.name: found for key, found in counters.items()} == {"offsets_removed": 12}


def test_every_partition_has_one_split() -> None:
    splits = make_source(Path("x")).splits_for(2)
    assert [split.count for split in splits] == [2, 2]
    for number in range(7):
        assert sum(split.owns(TopicPartition("t", number)) for split in splits) == 1


def test_a_split_is_split_no_further() -> None:
    for split in make_source(Path("x")).splits_for(3):
        assert split.split(20) == [split]


def test_there_are_one_to_eight_splits() -> None:
    source = make_source(Path("x"))
    assert [len(source.splits_for(partitions)) for partitions in (0, 1, 8, 9, 100)] == [
        1,
        1,
        8,
        8,
        8,
    ]


def test_equal_marks_have_equal_bytes() -> None:
    one = KafkaCheckpointMark({P0: (1, 0, 0.5), P1: (2, 1, 0.0)})
    other = KafkaCheckpointMark({P1: (2, 1, 0.0), P0: (1, 0, 0.5)})
    assert KafkaCheckpointMarkCoder().encode(one) == KafkaCheckpointMarkCoder().encode(other)


def test_closing_closes_the_consumer(tmp_path: Path, consumer: LogConsumer, clock: Clock) -> None:
    reader = make_reader(tmp_path, clock)
    reader.start()
    reader.close()
    reader.close()
    assert consumer.closed
