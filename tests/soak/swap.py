"""`make soak-swap`: checkpoints are promoted, rolled back and refused under a stream on Flink.

Messages come without a pause. At the end every row is compared with what was sent, with what the
registry said when it was made, and, a sample of them, with what the checkpoint named in it gives.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.soak.load import Load
from tests.soak.scene import Scene
from tests.soak.swaps import Pace, Swaps, Watch, check_alone, run_swaps
from tests.support.checkpoints import tiny_checkpoint, without_heads
from tests.support.root import ROOT
from tests.support.services import Flink, Kafka
from tests.support.stream_runs import Stream
from tests.support.streaming import Sender, make_topic
from worker.checkpoint.folder import default_checkpoint, read_manifest
from worker.registry.registry import open_registry

_PARTITIONS = 4
_GAP_SECONDS = 2.0
"""So much longer the longest gap in the output may be in a swap than without one."""
_MODEL_MIB = 185
"""What the shipped checkpoint takes in memory, about: a second one must not stay."""
MOST_SOCKETS = 40
"""What four readers, the commits and Beam itself need, twice: readers must not be left behind."""


def main() -> int:
    """Run it, and write `out/soak-swap.json`."""
    parser = argparse.ArgumentParser(prog="make soak-swap", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000, help="at least so many, in all")
    parser.add_argument("--rate", type=float, default=42.0, help="messages a second, about")
    parser.add_argument("--hold", type=float, default=120.0, help="seconds between two changes")
    parser.add_argument("--seed", type=int, default=0, help="of the messages")
    parser.add_argument(
        "--tiny", action="store_true", help="tiny random checkpoints instead of the shipped one"
    )
    parser.add_argument("--json", type=Path, default=Path("out/soak-swap.json"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pubner-soak-swap-"))
    print(f"everything lies in {folder}, and is kept if something is wrong")
    kafka, flink = Kafka(folder / "kafka"), Flink(folder / "flink")
    try:
        kafka.up()
        flink.up(environment={"PYTHONPATH": str(ROOT)})
        results = swap_under_load(
            folder,
            kafka,
            flink,
            tiny_ones(folder) if options.tiny else shipped_ones(folder),
            topic="swaps",
            load=(options.messages, options.rate, options.seed),
            pace=Pace(hold_seconds=options.hold),
        )
    finally:
        flink.down()
        kafka.down()
    gaps = results["longest_gap_seconds"]
    print(json.dumps(results, indent=2))
    assert max(results["worker_mib"]) <= results["worker_mib"][0] + _MODEL_MIB, results[
        "worker_mib"
    ]
    assert max(results["worker_sockets"]) <= MOST_SOCKETS, results["worker_sockets"]
    assert max(gaps.values()) <= gaps["without a change"] + _GAP_SECONDS, gaps
    shutil.rmtree(folder)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n")
    print(f"nothing missing, twice or mixed; written to {options.json}")
    return 0


def swap_under_load(
    folder: Path,
    kafka: Kafka,
    flink: Flink,
    checkpoints: Sequence[Path],
    *,
    topic: str,
    load: tuple[int, float, int],
    pace: Pace,
) -> dict[str, Any]:
    """Swap between `checkpoints` under a load of messages, a rate and a seed; check all.

    :raises AssertionError: if the output is wrong, or the stream does not go on.
    """
    messages, rate, seed = load
    registry = open_registry(str(folder / "registry"))
    for checkpoint in checkpoints:
        registry.publish(checkpoint, who="the load", when=datetime.now(UTC))
    ids = [read_manifest(checkpoint).id for checkpoint in checkpoints]
    registry.move(
        registry.pointer(),
        ids[0],
        action="promote",
        who="the load",
        when=datetime.now(UTC),
        why="to begin with",
    )
    make_topic(kafka.bootstrap, topic, _PARTITIONS)
    sending = Load(Sender(kafka.bootstrap, seed), topic, _PARTITIONS, rate)
    stream = Stream(
        folder / "stream",
        kafka.bootstrap,
        (topic,),
        None,
        group=topic,
        registry=folder / "registry",
        options=(f"--registry-seconds={pace.look_seconds}",),
    )
    scene = Scene(kafka, flink, stream, sending)
    watch = Watch(stream.output)
    try:
        sending.start()
        scene.start()
        watch.start()
        found, results = run_swaps(Swaps(scene, registry, watch, pace), ids, at_least=messages)
    finally:
        watch.stop()
        scene.close()
    check_alone(found, checkpoints[:2])
    return results


def shipped_ones(folder: Path) -> list[Path]:
    """Return the shipped checkpoint, the same with other heads, and one more."""
    shipped = default_checkpoint()
    return [
        shipped,
        without_heads(shipped, folder / "two-heads", ["bc2gm", "jnlpba"]),
        without_heads(shipped, folder / "one-head", ["bc2gm", "jnlpba", "bc5cdr"]),
    ]


def tiny_ones(folder: Path) -> list[Path]:
    """Return three tiny random checkpoints; the second has other heads than the first."""
    return [
        tiny_checkpoint(folder / "first"),
        tiny_checkpoint(folder / "second", tasks=["jnlpba", "bc2gm", "bc5cdr"], seed=1),
        tiny_checkpoint(folder / "third", seed=2),
    ]


if __name__ == "__main__":
    sys.exit(main())
