"""Checkpoints are promoted, rolled back and refused under a stream on Flink, under load.

`make soak-swap` is the long form, with the shipped checkpoint.
"""

from pathlib import Path

import pytest

from tests.soak.swap import MOST_SOCKETS, swap_under_load, tiny_ones
from tests.soak.swaps import Pace
from tests.support.services import Flink, Kafka


@pytest.mark.timeout(900)
def test_swapped_under_load(kafka: Kafka, flink: Flink, tmp_path: Path) -> None:
    results = swap_under_load(
        tmp_path,
        kafka,
        flink,
        tiny_ones(tmp_path),
        topic="swaps",
        load=(20_000, 250.0, 0),
        pace=Pace(look_seconds=1.0, hold_seconds=15.0, grace_seconds=10.0),
    )
    assert results["messages"] >= 20_000
    assert len(results["rows_by_checkpoint"]) == 2
    assert max(results["worker_sockets"]) <= MOST_SOCKETS
    first_rows = results["seconds_to_first_row"]
    assert first_rows.pop("damaged") is None
    assert None not in first_rows.values()
