"""`make soak`: a stream on a real Kafka and a real Flink whose parts are killed at random.

After each kill the load is held, the stream catches up, and all of the output is compared with all
that was sent.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.soak.kills import KILLS
from tests.soak.load import Load
from tests.soak.scene import Scene
from tests.support.checkpoints import tiny_checkpoint
from tests.support.root import ROOT
from tests.support.services import Flink, Kafka
from tests.support.stream_check import check_annotations
from tests.support.stream_runs import Stream
from tests.support.streaming import Sender, make_topic

_TOPIC = "soak"
_PARTITIONS = 4
_PAUSES = (2.0, 10.0)


def main() -> int:
    """Run the soak, print a line for each kill, and write `out/soak.json`."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=12, help="at least so many, stops with savepoint among them"
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="at least so long")
    parser.add_argument("--seed", type=int, default=0, help="of kinds, moments and messages")
    parser.add_argument("--messages", type=int, default=20_000, help="at least so many, in all")
    parser.add_argument("--rate", type=float, default=60.0, help="messages a second, about")
    parser.add_argument("--json", type=Path, default=Path("out/soak.json"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pubner-soak-"))
    print(f"seed {options.seed}; everything lies in {folder}, and is kept if something is wrong")
    results = soak(
        folder,
        kills=options.kills,
        minutes=options.minutes,
        seed=options.seed,
        messages=options.messages,
        rate=options.rate,
    )
    shutil.rmtree(folder)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n")
    print(f"nothing missing, nothing twice; written to {options.json}")
    return 0


def soak(
    folder: Path, *, kills: int, minutes: float, seed: int, messages: int, rate: float
) -> dict[str, object]:
    """Kill until there were enough kills and enough minutes; return what was done.

    :raises AssertionError: if the output is wrong, or the stream does not go on.
    """
    kafka, flink = Kafka(folder / "kafka"), Flink(folder / "flink")
    checkpoint = tiny_checkpoint(folder / "checkpoint")
    rng = random.Random(seed)
    done: list[dict[str, object]] = []
    try:
        kafka.up()
        flink.up(environment={"PYTHONPATH": str(ROOT)})
        make_topic(kafka.bootstrap, _TOPIC, _PARTITIONS)
        load = Load(Sender(kafka.bootstrap, seed), _TOPIC, _PARTITIONS, rate)
        stream = Stream(folder / "stream", kafka.bootstrap, (_TOPIC,), checkpoint)
        scene = Scene(kafka, flink, stream, load)
        begun = time.monotonic()
        try:
            load.start()
            scene.start()
            scene.wait_for_progress()
            for name in kinds(rng):
                if len(done) >= kills and time.monotonic() - begun >= 60 * minutes:
                    break
                done.append(_kill(scene, name, pause=rng.uniform(*_PAUSES)))
            found = scene.finish(at_least=messages)
        finally:
            scene.close()
    finally:
        flink.down()
        kafka.down()
    check_annotations(found, checkpoint)
    return {
        "seed": seed,
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "messages": len(load.sender.ledger),
        "kills": done,
    }


def kinds(rng: random.Random) -> Iterator[str]:
    """Yield kinds of kills without end: all of them in some order, then at random."""
    names = sorted(KILLS)
    rng.shuffle(names)
    yield from names
    while True:
        yield rng.choice(names)


def _kill(scene: Scene, name: str, *, pause: float) -> dict[str, object]:
    time.sleep(pause)
    begun = time.monotonic()
    KILLS[name](scene)
    scene.wait_for_progress()
    recovered = time.monotonic() - begun
    found = scene.check()
    row = {
        "kind": name,
        "recovered_seconds": round(recovered, 1),
        "positions_checked": len(found.citations) + len(found.dead_letters),
    }
    print(", ".join(f"{x.replace('_', ' ')} {value}" for x, value in row.items()), flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
