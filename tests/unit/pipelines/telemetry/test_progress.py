"""Progress of a run, computed from the counts that its steps report."""

import json
import time
from pathlib import Path

import pytest

from pipelines.blocks.elements import InputFile
from pipelines.output.store import DiskStore
from pipelines.sources.files import BlockReader
from pipelines.telemetry.counting import CountedStream, estimated
from pipelines.telemetry.progress import annotating, annotating_again
from pipelines.telemetry.run_channel import RunChannel, WorkerChannel, open_run_channel
from tests.support.blocks import NOW
from worker.cli.progress import Progress


def channel_with(**counts: int) -> RunChannel:
    return RunChannel(WorkerChannel(), time.monotonic, counts=dict(counts))


def test_what_is_done_before_the_first_citation() -> None:
    assert annotating(channel_with(), total_bytes=9) == Progress("loading the model")
    found = annotating(channel_with(models=1, digest_bytes=3 * 2**20), total_bytes=10 * 2**20)
    assert found == Progress("checking the inputs", 3, 10, "MiB")
    assert annotating_again(channel_with(), citations=3) == Progress("loading the model")


def test_the_total_is_an_estimate_until_all_is_read() -> None:
    counts = {"models": 1, "citations": 50, "records": 100, "bad": 20, "input_bytes": 250}
    assert annotating(channel_with(**counts), total_bytes=1000) == Progress(
        "annotating", 50, 320, "citations", estimated=True
    )
    counts |= {"input_bytes": 1000, "records": 400, "bad": 100, "records_committed": 100}
    assert annotating(channel_with(**counts), total_bytes=1000) == Progress(
        "annotating", 50, 225, "citations", note="100 records already written"
    )


def test_the_total_is_never_less_than_what_is_done() -> None:
    counts = {"models": 1, "citations": 50, "records": 40, "input_bytes": 1000}
    assert annotating(channel_with(**counts), total_bytes=1000).total == 50


def test_nothing_is_estimated_of_nothing() -> None:
    assert estimated({}, 100) is None
    assert estimated({"records": 3}, 100) is None
    assert estimated({"input_bytes": 50}, 100) == 0


def test_annotating_again_has_a_total_that_is_known() -> None:
    counts = {"models": 1, "citations": 5, "records_committed": 2}
    assert annotating_again(channel_with(**counts), citations=12) == Progress(
        "annotating", 5, 10, "citations"
    )


@pytest.mark.parametrize("count", [1, 7, 400, 5000])
def test_a_reader_s_estimate_gets_near_as_it_reads(tmp_path: Path, count: int) -> None:
    path = tmp_path / "x.jsonl"
    lines = [
        json.dumps({"pmid": 1 + number, "title": f"Title {number}", "abstract": "a" * 200})
        for number in range(count)
    ]
    path.write_text("".join(f"{line}\n" for line in lines))
    size = path.stat().st_size
    with open_run_channel(time.monotonic) as run_channel:
        reader = BlockReader(10, "c1", "", None, lambda: NOW, run_channel.worker_side)
        blocks = reader.read(InputFile(str(path), path.name, size), DiskStore(tmp_path / "out"))
        for number, _ in enumerate(blocks):
            if count == 5000 and number == 100:
                while not (now := annotating_estimate(run_channel, size)):
                    time.sleep(0.01)
                assert 4000 < now < 6000
    assert annotating_estimate(run_channel, size) == count
    assert run_channel.counts["input_bytes"] == size


def annotating_estimate(run_channel: RunChannel, size: int) -> int | None:
    return estimated(run_channel.counts, size)


def test_a_counted_stream_gives_all_in_small_parts(tmp_path: Path) -> None:
    path = tmp_path / "x"
    data = bytes(range(256)) * 100
    path.write_bytes(data)
    reported: list[tuple[int, int, int]] = []

    def report(*, input_bytes: int, records: int, bad: int) -> None:
        reported.append((input_bytes, records, bad))

    with path.open("rb") as stream:
        counted = CountedStream(stream, len(data), report)
        found = b""
        while part := counted.read(10_000):
            found += part
            counted.records += 1
        counted.flush()
    assert found == data
    assert sum(size for size, _, _ in reported) == len(data)
    assert sum(records for _, records, _ in reported) == len(reported) > 5
