"""Bounded reading, on a log in memory."""

from collections.abc import Iterator

import pytest
from kafka import TopicPartition

from pipelines.kafka import ranges as ranges_module
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.ranges import OffsetRange, RangeReader, cut_ranges, ranges_to_read
from schemas.errors import InputError
from tests.support.kafka_log import Log, LogConsumer

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> LogConsumer:
    made = LogConsumer({P0: Log(), P1: Log()})
    monkeypatch.setattr(ranges_module, "consumer", lambda *_, **__: made)
    return made


def ticking() -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += 1.0


@pytest.fixture
def reader() -> RangeReader:
    ticks = ticking()
    return RangeReader(
        KafkaAccess(("x:1",)),
        block_size=10,
        read_committed=True,
        timeout_seconds=20,
        clock=lambda: next(ticks),
    )


def wanted(begin: int, end: int, partition: int = 0) -> OffsetRange:
    return OffsetRange("t", partition, begin, end, 0, "kafka:c:t")


def test_ranges_are_cut_at_the_blocks_borders() -> None:
    cut = cut_ranges("t", 0, 7, 31, block_size=10, input_digest="d")
    assert [(x.begin, x.end) for x in cut] == [(7, 10), (10, 20), (20, 30), (30, 31)]
    assert {x.base for x in cut} == {7}
    assert cut_ranges("t", 0, 7, 7, block_size=10, input_digest="d") == []


def test_partitions_take_turns() -> None:
    found = ranges_to_read({P0: 0, P1: 5}, {P0: 25, P1: 12}, {"t": "d"}, block_size=10)
    assert [(x.partition, x.begin, x.end) for x in found] == [
        (0, 0, 10),
        (1, 5, 10),
        (0, 10, 20),
        (1, 10, 12),
        (0, 20, 25),
    ]


def test_a_range_gives_its_messages_and_no_other(
    consumer: LogConsumer, reader: RangeReader
) -> None:
    consumer.logs[P0].append(30)
    [part] = reader.read(wanted(4, 8))
    assert (part.begin, part.end) == (4, 8)
    assert [x.offset for x in part.records] == [4, 5, 6, 7]
    [part] = reader.read(wanted(10, 20))
    assert [x.offset for x in part.records] == list(range(10, 20))
    [part] = reader.read(wanted(20, 30))
    assert [x.offset for x in part.records] == list(range(20, 30))


def test_a_range_that_nobody_sees_is_covered(consumer: LogConsumer, reader: RangeReader) -> None:
    consumer.logs[P0].skip(50)
    [part] = reader.read(wanted(10, 20))
    assert (part.begin, part.end, part.records) == (10, 20, ())


def test_what_retention_removed_is_covered(consumer: LogConsumer, reader: RangeReader) -> None:
    consumer.logs[P0].append(30)
    consumer.logs[P0].remove_before(16)
    [part] = reader.read(wanted(10, 20))
    assert (part.begin, part.end) == (10, 20)
    assert [x.offset for x in part.records] == [16, 17, 18, 19]


def test_nothing_is_yielded_of_a_recreated_topic(
    consumer: LogConsumer, reader: RangeReader
) -> None:
    consumer.logs[P0].append(30)
    consumer.identities = {"t": "kafka:c:other"}
    given: list[object] = []
    with pytest.raises(InputError, match="'t' is another one than when the run began"):
        given.extend(reader.read(wanted(0, 10)))
    assert given == []


def test_a_broker_that_gives_nothing_is_given_up(
    consumer: LogConsumer, reader: RangeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "poll", lambda **_: {})
    with pytest.raises(InputError, match="returned nothing at offset 0 for 20 s"):
        list(reader.read(wanted(0, 10)))


def test_closing_closes_the_consumer(consumer: LogConsumer, reader: RangeReader) -> None:
    reader.close()
    consumer.logs[P0].append(3)
    list(reader.read(wanted(0, 3)))
    reader.close()
    assert consumer.closed
