"""Parts of a stream on Flink are killed in turn, under load; the output is as if none was.

`make soak` is the long form.
"""

from pathlib import Path

import pytest

from tests.soak.kills import KILLS
from tests.soak.load import Load
from tests.soak.scene import Scene
from tests.support.services import Flink, Kafka
from tests.support.stream_check import check_annotations
from tests.support.stream_runs import Stream
from tests.support.streaming import Sender, make_topic

TOPIC = "kills"
PARTITIONS = 4
MESSAGES = 20_000
BACKLOG = 4_000
KINDS = ("no state", "worker", "young", "broker", "replacement", "jobmanager", "stale worker")
"""A stale worker comes about by the death of its TaskManager.

To begin without state comes first: from the group's offsets it would make good what an earlier one
had lost.
"""


@pytest.mark.timeout(1200)
def test_killed_under_load(kafka: Kafka, flink: Flink, checkpoint: Path, tmp_path: Path) -> None:
    make_topic(kafka.bootstrap, TOPIC, PARTITIONS)
    load = Load(Sender(kafka.bootstrap), TOPIC, PARTITIONS, rate=80)
    load.fill(BACKLOG)
    stream = Stream(tmp_path, kafka.bootstrap, (TOPIC,), checkpoint, group=TOPIC)
    scene = Scene(kafka, flink, stream, load)
    try:
        load.start()
        scene.start()
        scene.wait_for_progress()
        for name in KINDS:
            KILLS[name](scene)
            scene.wait_for_progress(what=f"progress after {name}")
        found = scene.finish(at_least=MESSAGES)
    finally:
        scene.close()
    check_annotations(found, checkpoint)
