"""When a job counts as stalled, and what is done about it: on a clock of the test's own."""

from dataclasses import replace

import pytest
from kafka import TopicPartition

from pipelines.runtime.stall import JobProgress, Remedy, StallWatch, default_patience

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)
AT_WORK = JobProgress({P0: 5, P1: 3}, {P0: 9, P1: 9}, job="a", checkpoints=1, failure=0)


def watch_of_one_at_work() -> StallWatch:
    """Return a watch, patience 60 s, of a job that made progress last at 100 s."""
    watch = StallWatch(60.0)
    watch.observe(replace(AT_WORK, checkpoints=0), 99.0)
    assert watch.observe(AT_WORK, 100.0) is Remedy.NONE
    return watch


def test_a_job_without_commit_and_checkpoint_is_restarted_from_its_checkpoint() -> None:
    watch = watch_of_one_at_work()
    assert watch.observe(AT_WORK, 159.0) is Remedy.NONE
    assert watch.observe(AT_WORK, 160.0) is Remedy.CHECKPOINT
    assert watch.seconds(160.0) == 60.0
    assert watch.restarts == 0


@pytest.mark.parametrize(
    "sign",
    [
        replace(AT_WORK, committed={P0: 6, P1: 3}),
        replace(AT_WORK, checkpoints=2),
        replace(AT_WORK, failure=7),
        replace(AT_WORK, waits=True),
        replace(AT_WORK, committed={P0: 9, P1: 9}),
        replace(AT_WORK, job="b", checkpoints=0),
    ],
    ids=["commit", "checkpoint", "failure", "no slots", "nothing to read", "another job"],
)
def test_any_sign_of_life_or_reason_to_wait_begins_the_time_anew(sign: JobProgress) -> None:
    watch = watch_of_one_at_work()
    assert watch.observe(sign, 155.0) is Remedy.NONE
    later = replace(sign, waits=False, ends={P0: 20, P1: 20})
    assert watch.observe(later, 214.0) is Remedy.NONE
    assert watch.observe(later, 215.0) is Remedy.CHECKPOINT


def test_what_is_no_progress_does_not_count_as_such() -> None:
    """Messages that come, a new partition, a group that was set back."""
    watch = watch_of_one_at_work()
    sign = replace(
        AT_WORK,
        committed={P0: 4, P1: 3, TopicPartition("t", 2): 1},
        ends={P0: 90, P1: 90, TopicPartition("t", 2): 5},
    )
    assert watch.observe(sign, 150.0) is Remedy.NONE
    assert watch.observe(sign, 160.0) is Remedy.CHECKPOINT


def test_while_nothing_can_be_seen_no_time_passes() -> None:
    watch = watch_of_one_at_work()
    watch.reset(150.0)
    assert watch.observe(AT_WORK, 209.0) is Remedy.NONE
    assert watch.observe(AT_WORK, 210.0) is Remedy.CHECKPOINT


def test_a_job_that_has_only_begun_is_given_twice_the_time() -> None:
    watch = StallWatch(60.0)
    fresh = replace(AT_WORK, checkpoints=0)
    watch.observe(fresh, 0.0)
    assert watch.observe(fresh, 119.0) is Remedy.NONE
    assert watch.observe(fresh, 120.0) is Remedy.CHECKPOINT


def test_restarts_without_progress_wait_longer_begin_without_state_and_end() -> None:
    watch = watch_of_one_at_work()
    now, found = 100.0, []
    for number, patience in enumerate((60.0, 240.0, 480.0, 960.0)):
        stuck = replace(AT_WORK, job=f"job {number}") if number else AT_WORK
        watch.observe(stuck, now)
        assert watch.observe(stuck, now + patience - 1) is Remedy.NONE
        now += patience
        found.append(watch.observe(stuck, now))
        if found[-1] is not Remedy.GIVE_UP:
            watch.restarted(now)
    assert found == [Remedy.CHECKPOINT, Remedy.OFFSETS, Remedy.OFFSETS, Remedy.GIVE_UP]
    assert watch.restarts == 3


def test_progress_after_a_restart_makes_it_forgotten() -> None:
    watch = watch_of_one_at_work()
    for turn in range(5):
        stuck = replace(AT_WORK, job=f"{turn}", committed={P0: 5 + turn, P1: 3}, ends={P0: 99})
        stuck = replace(stuck, ends={P0: 99, P1: 99})
        at = 1000.0 * (turn + 1)
        watch.observe(stuck, at)
        watch.observe(replace(stuck, checkpoints=2), at + 1)
        assert watch.observe(replace(stuck, checkpoints=2), at + 61) is Remedy.CHECKPOINT
        watch.restarted(at + 61)
    assert watch.restarts == 5


def test_patience_covers_what_a_job_that_is_well_may_need() -> None:
    patience = default_patience(flush_seconds=30, checkpoint_seconds=10, block_size=1000)
    assert patience == 60 + 30 + 20 + 50
