"""Locks: one holder at a time, and who it is."""

import os
from pathlib import Path

import pytest

from schemas.errors import LockedError
from worker.system.locks import exclusive, try_hold


def test_a_lock_has_one_holder_and_is_free_behind_it(tmp_path: Path) -> None:
    place = tmp_path / "a" / "x.lock"
    other = pytest.raises(LockedError, match=rf"process {os.getpid()} holds the lock .*x\.lock")
    with exclusive(place), other as error, exclusive(place, wait_seconds=0):
        pass
    assert error.value.holder == str(os.getpid())
    with exclusive(place, wait_seconds=0):
        pass


def test_it_waits_until_the_time_is_over_and_looks_less_and_less_often(tmp_path: Path) -> None:
    place = tmp_path / "x.lock"
    now = 0.0
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        pauses.append(seconds)

    with (
        exclusive(place),
        pytest.raises(LockedError),
        exclusive(place, wait_seconds=1, clock=lambda: now, sleep=sleep),
    ):
        pass
    assert 1 <= sum(pauses) < 1.1
    assert pauses == sorted(pauses)
    assert 10 < len(pauses) < 50


def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "x.lock"):
        raise ZeroDivisionError
    with exclusive(tmp_path / "x.lock", wait_seconds=0):
        pass


def test_a_lock_that_is_held_is_not_taken_again_and_its_file_goes_at_the_end(
    tmp_path: Path,
) -> None:
    place = tmp_path / "1.lock"
    held = try_hold(place)
    assert held is not None
    assert try_hold(place) is None
    with pytest.raises(LockedError), exclusive(place, wait_seconds=0):
        pass
    held.release()
    assert not place.exists()
    again = try_hold(place)
    assert again is not None
    again.release()
