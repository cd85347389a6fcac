"""Fixtures of the tests of training."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.corpora import write_encoder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread, where results are the same to the bit, and give the others back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained-encoder folder in transformers' layout, tiny and random."""
    return write_encoder(tmp_path_factory.mktemp("encoder"))
