"""What the profile makes of a thread's frames."""

import threading
import time

import pytest

from benchmarks import profile
from benchmarks.profile import Sampler, stage_of


@pytest.mark.parametrize(
    ("files", "stage"),
    [
        (
            [
                "torch/_ops.py",
                "worker/network/linear.py",
                "worker/tagger.py",
                "pipelines/runtime/batch.py",
            ],
            "encoder",
        ),
        (["numpy/core.py", "worker/decoding/cpu.py", "worker/tagger.py"], "decoding"),
        (["worker/text/tokenisation.py", "worker/tagger.py"], "tokenising"),
        (["worker/text/packing.py", "worker/tagger.py"], "batches"),
        (
            ["lxml/etree.py", "worker/readers/pubmed_xml.py", "pipelines/sources/files.py"],
            "reading",
        ),
        (
            ["pyarrow/parquet.py", "pipelines/blocks/tables.py", "pipelines/output/writer.py"],
            "writing",
        ),
        (["apache_beam/runners/common.py"], "Beam and the rest"),
        (["lib/threading.py", "pipelines/runtime/batch.py"], "Beam and the rest"),
        (["somewhere/else.py"], None),
    ],
)
def test_the_innermost_part_of_the_pipeline_says_what_a_thread_does(
    files: list[str], stage: str | None
) -> None:
    assert stage_of(files) == stage


def test_threads_that_work_spend_and_threads_that_wait_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(profile, "_STAGES", (("encoder", (__file__,)),))
    ended = threading.Event()

    def work() -> None:
        until = time.thread_time() + 0.3
        while time.thread_time() < until:
            pass

    waiting = threading.Thread(target=ended.wait)
    working = [threading.Thread(target=work) for _ in range(2)]
    waiting.start()
    with Sampler() as looker:
        for thread in working:
            thread.start()
        for thread in working:
            thread.join()
    ended.set()
    waiting.join()
    spent = looker.spent()
    assert 0.3 < spent["stages"]["encoder"] <= 0.62, "both threads, less what came before a look"
    assert sum(spent["stages"].values()) == pytest.approx(spent["cpu_s"], rel=0.2)
    assert spent["wall_s"] > 0
