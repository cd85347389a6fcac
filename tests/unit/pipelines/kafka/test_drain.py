"""The request to end a stream."""

import pickle
from pathlib import Path

import pytest

from pipelines.kafka.drain import MARKER, DrainSignal
from pipelines.output.object_store import ObjectStore
from tests.support.crash_injection import MemoryObjects


def test_a_request_is_seen_by_its_run_alone(tmp_path: Path) -> None:
    mine, other = DrainSignal(str(tmp_path), "a"), DrainSignal(str(tmp_path), "b")
    assert not mine.requested(0.0)
    mine.request()
    assert not mine.requested(1.0), "a look costs: not within two seconds of the last"
    assert mine.requested(2.0)
    assert not other.requested(2.0)


def test_a_request_takes_the_place_of_another_run_s(tmp_path: Path) -> None:
    first, second = DrainSignal(str(tmp_path), "a"), DrainSignal(str(tmp_path), "b")
    first.request()
    assert second.request() != second.request()
    assert second.requested(0.0)
    assert not DrainSignal(str(tmp_path), "a").requested(0.0)


def test_once_asked_it_stays_so(tmp_path: Path) -> None:
    signal = DrainSignal(str(tmp_path), "a")
    signal.request()
    assert signal.requested(0.0)
    signal.clear()
    assert not (tmp_path / MARKER).exists()
    assert signal.requested(10.0)
    signal.clear()


def test_it_travels_without_what_it_has_seen(tmp_path: Path) -> None:
    signal = DrainSignal(str(tmp_path), "a")
    signal.request()
    assert signal.requested(0.0)
    signal.clear()
    copy = pickle.loads(pickle.dumps(signal))
    assert copy == signal
    assert not copy.requested(0.0)


def test_an_object_store_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_counted(root: str) -> ObjectStore:
        opened.append(root)
        return ObjectStore(MemoryObjects())

    monkeypatch.setattr("pipelines.kafka.drain.open_store", open_counted)
    signal = DrainSignal("gs://bucket/out", "a")
    assert not signal.requested(0.0)
    assert not signal.requested(2.0)
    signal.request()
    assert signal.requested(4.0)
    assert opened == ["gs://bucket/out"]
    assert not pickle.loads(pickle.dumps(signal)).requested(0.0)
    assert len(opened) == 2
