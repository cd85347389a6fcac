"""What a consumer gives of fetched ranges of a log, without a broker."""

import inspect
from collections import namedtuple
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.consumer.group import KafkaConsumer as GroupConsumer
from kafka.consumer.subscription_state import SubscriptionState
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords

from pipelines.kafka import client as client_module
from pipelines.kafka.batches import RawRecord
from pipelines.kafka.client import Consumer
from tests.support import batches as made

PLACE = TopicPartition("t", 0)
Aborted = namedtuple("Aborted", ["producer_id", "first_offset"])


def partition(data: bytes, *, begin: int = 0, aborted: tuple[Aborted, ...] = ()) -> Any:
    """Return what the consumer's own fetcher reads a fetched range by."""
    reader = Consumer.FETCHER.PartitionRecords
    return reader(
        begin,
        PLACE,
        MemoryRecords(data),
        isolation_level=IsolationLevel.READ_COMMITTED,
        aborted_transactions=aborted,
    )


def read(data: bytes, *, begin: int = 0) -> list[RawRecord]:
    part = partition(data, begin=begin)
    found = []
    while part:
        found += part.take(2)
    return found


def offsets(found: list[RawRecord]) -> list[tuple[int, bool]]:
    return [(x.offset, not x.error) for x in found]


def test_what_is_replaced_of_kafka_python_is_there() -> None:
    assert issubclass(Consumer, KafkaConsumer)
    assert "self._fetcher = Fetcher(" in inspect.getsource(GroupConsumer.__init__)
    assert "self.PartitionRecords(" in inspect.getsource(Fetcher._parse_fetched_data)
    loop = inspect.getsource(Fetcher.fetched_records)
    assert "records_remaining -= self._append(drained," in loop
    assert list(inspect.signature(Fetcher._append).parameters)[1:] == [
        "drained", "part", "max_records", "update_offsets",
    ]  # fmt: skip
    unpack = Fetcher.PartitionRecords._unpack_records
    assert list(inspect.signature(unpack).parameters)[1:3] == ["tp", "records"]
    for name in (
        "_consume_aborted_transactions_up_to",
        "_is_batch_aborted",
        "take",
        "drain",
    ):
        assert callable(getattr(Fetcher.PartitionRecords, name)), name
    assert {"next_fetch_offset", "record_iterator", "aborted_producer_ids"} <= set(
        vars(partition(b""))
    )
    assert MemoryRecords(b"x" * 30)._buffer == b"x" * 30


def test_a_bad_batch_costs_its_own_offsets_alone() -> None:
    bad = made.with_codec(made.batch(3, base=2), 7)
    found = read(made.batch(2) + bad + made.batch(2, base=5))
    assert offsets(found) == [
        (0, True), (1, True), (2, False), (3, False), (4, False), (5, True), (6, True),
    ]  # fmt: skip
    assert found[2].value == bad


@pytest.mark.parametrize("begin", range(5))
def test_it_is_read_from_any_offset_of_it(begin: int) -> None:
    bad = bytearray(made.batch(3, base=1))
    bad[-1] ^= 1  # the checksum is wrong
    found = read(made.batch(1) + bytes(bad) + made.batch(1, base=4), begin=begin)
    assert offsets(found) == [(x, x in (0, 4)) for x in range(begin, 5)]


def test_offsets_that_compaction_left_out_are_no_messages() -> None:
    part = partition(made.batch(2) + made.batch(2, base=9))
    assert [x.offset for x in part.take()] == [0, 1, 9, 10]
    assert part.next_fetch_offset == 11


def test_an_aborted_batch_is_left_out_and_a_damaged_one_is_not() -> None:
    aborted = made.batch(2, producer_id=7, transactional=True)
    part = partition(aborted + made.batch(1, base=2), aborted=(Aborted(7, 0),))
    assert [x.offset for x in part.take()] == [2]
    damaged = bytearray(aborted)
    damaged[-1] ^= 1
    part = partition(bytes(damaged) + made.batch(1, base=2), aborted=(Aborted(7, 0),))
    assert offsets(part.take()) == [(0, False), (1, False), (2, True)]


def test_a_poll_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_POLL_BYTES", 3_000)
    data = made.batch(10, value=b"x" * 1_000, headers=[(b"h" * 500, b"v" * 500)])
    assert [x.offset for x in partition(data).take(100)] == [0, 1]
    subscriptions = SubscriptionState("none")
    subscriptions.assign_from_user([PLACE])
    subscriptions.seek(PLACE, 0)
    fetcher = Consumer.FETCHER.__new__(Consumer.FETCHER)
    fetcher._subscriptions, fetcher._sensors = subscriptions, None
    drained: dict[TopicPartition, list[RawRecord]] = {PLACE: []}
    assert fetcher._append(drained, partition(data), 100, True) == 100
    assert [x.offset for x in drained[PLACE]] == [0, 1]
