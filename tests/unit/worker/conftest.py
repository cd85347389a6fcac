"""Fixtures of the tests of registries."""

from pathlib import Path

import pytest

from tests.support.crash_injection import MemoryObjects
from worker.registry.registry import Registry, open_registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry on a disk, which nobody has written to yet."""
    return open_registry(str(tmp_path / "registry"))


@pytest.fixture
def remote() -> Registry:
    """A registry in a bucket."""
    return Registry("memory", MemoryObjects())
