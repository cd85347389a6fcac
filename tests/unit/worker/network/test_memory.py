"""Freed memory that is kept."""

import platform

import pytest

from worker.network.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_the_c_library_takes_the_settings() -> None:
    assert keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: object) -> object:
        raise OSError("no such library")

    monkeypatch.setattr("worker.network.memory.ctypes.CDLL", none)
    assert not keep_freed_memory()
