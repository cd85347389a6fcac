"""What the profile makes of a thread's frames."""

import threading
import time

import pytest

from tests.bench import profile
from tests.bench.profile import Looker, stage_of


@pytest.mark.parametrize(
    ("files", "stage"),
    [
        (["torch/_ops.py", "worker/linear.py", "worker/tagger.py", "pipelines/run.py"], "encoder"),
        (["numpy/core.py", "worker/decoding.py", "worker/tagger.py"], "decoding"),
        (["worker/tokenisation.py", "worker/tagger.py"], "tokenising"),
        (["worker/packing.py", "worker/tagger.py"], "batches"),
        (["lxml/etree.py", "worker/readers/pubmed_xml.py", "pipelines/reading.py"], "reading"),
        (["pyarrow/parquet.py", "pipelines/tables.py", "pipelines/writer.py"], "writing"),
        (["apache_beam/runners/common.py"], "Beam and the rest"),
        (["lib/threading.py", "pipelines/run.py"], "waiting"),
        (["somewhere/else.py"], None),
    ],
)
def test_the_innermost_part_of_the_pipeline_says_what_a_thread_does(
    files: list[str], stage: str | None
) -> None:
    assert stage_of(files) == stage


def test_shares_are_of_the_time_from_the_first_batch_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "_STAGES", (("encoder", (__file__,)),))

    def work() -> None:
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            pass

    thread = threading.Thread(target=work, name="busy")
    with Looker() as looker:
        thread.start()
        thread.join()
    assert looker.shares()["the model's thread"]["encoder"] > 0
    assert sum(looker.shares()["the model's thread"].values()) <= len(threading.enumerate()) + 1
