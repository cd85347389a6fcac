"""Fixtures of the end-to-end tests."""

from pathlib import Path

import pytest

from tests.support.checkpoints import tiny_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, tiny, random checkpoint with the heads ncbi-disease and bc2gm."""
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, with the head jnlpba."""
    folder = tmp_path_factory.mktemp("checkpoints") / "other"
    return tiny_checkpoint(folder, tasks=["jnlpba"], seed=1)
