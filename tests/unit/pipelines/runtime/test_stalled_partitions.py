"""A stalled partition is reported once; one with progress, or with nothing to read, is not."""

from kafka import TopicPartition

from pipelines.runtime.stalled_partitions import StalledPartitions

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


def test_one_that_stands_still_is_told_of_once() -> None:
    watch = StalledPartitions(60.0)
    assert watch.observe({P0: 5, P1: 5}, {P0: 9, P1: 9}, 100.0) == []
    assert watch.observe({P0: 5, P1: 6}, {P0: 9, P1: 9}, 159.0) == []
    assert watch.observe({P0: 5, P1: 7}, {P0: 9, P1: 9}, 160.0) == [(P0, 60.0)]
    assert watch.observe({P0: 5, P1: 8}, {P0: 9, P1: 9}, 170.0) == []


def test_it_is_told_of_again_once_it_went_on() -> None:
    watch = StalledPartitions(60.0)
    watch.observe({P0: 5}, {P0: 9}, 0.0)
    assert watch.observe({P0: 5}, {P0: 9}, 70.0) == [(P0, 70.0)]
    assert watch.observe({P0: 6}, {P0: 9}, 80.0) == []
    assert watch.observe({P0: 6}, {P0: 9}, 139.0) == []
    assert watch.observe({P0: 6}, {P0: 9}, 145.0) == [(P0, 65.0)]


def test_one_with_nothing_to_read_does_not_stand_still() -> None:
    watch = StalledPartitions(60.0)
    watch.observe({P0: 9}, {P0: 9}, 0.0)
    assert watch.observe({P0: 9}, {P0: 9}, 1000.0) == []
    # What comes now is waited for from now on.
    assert watch.observe({P0: 9}, {P0: 10}, 1030.0) == []
    assert watch.observe({P0: 9}, {P0: 10}, 1060.0) == [(P0, 60.0)]


def test_a_partition_that_is_new_has_its_time() -> None:
    watch = StalledPartitions(60.0)
    watch.observe({P0: 0}, {P0: 0}, 0.0)
    assert watch.observe({P0: 0, P1: 0}, {P0: 0, P1: 3}, 100.0) == []
    assert watch.observe({P0: 0, P1: 0}, {P0: 0, P1: 3}, 160.0) == [(P1, 60.0)]
