"""A worker that has changed its checkpoint again and again holds one model, as at first."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkpoints import without_heads
from tests.support.root import ROOT
from worker.checkpoint.folder import default_checkpoint

_SWAPS = 4
_PROGRAM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from worker.checkpoint.folder import read_manifest
from worker.network.memory import keep_from_collector
from worker.registry.follow import LiveTagger
from worker.registry.registry import open_registry
from worker.tagger import load_tagger

def resident():
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

def load(folder):
    return load_tagger([folder], device="cpu", threads=1)

registry = open_registry(sys.argv[1])
folders = [Path(word) for word in sys.argv[3:]]
order = [read_manifest(folder).id for folder in folders]
for folder in folders:
    registry.publish(folder, who="a test", when=datetime.now(UTC))

def promote(number):
    registry.move(registry.pointer(), order[number % 2], action="promote", who="a test",
                  when=datetime.now(UTC), why="to see")

text = ["BRCA1 mutations in breast cancer treated with tamoxifen. " * 20] * 8
before = resident()
promote(0)
live = LiveTagger(registry, Path("unused"), load=load)
live.current().annotate(text)
keep_from_collector()
print(resident() - before)
first = resident()
for swap in range(1, int(sys.argv[2]) + 1):
    promote(swap)
    live.check_pointer()
    assert live.current().id == order[swap % 2]
    live.current().annotate(text)
    live.release_replaced()  # as the thread that follows the registry does
    print(resident() - first)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_returns_to_one_model(tmp_path: Path) -> None:
    shipped = default_checkpoint()
    other = without_heads(shipped, tmp_path / "other", ["jnlpba"])
    words = [str(tmp_path / "registry"), str(_SWAPS), str(shipped), str(other)]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, *more = [int(line) for line in done.stdout.split()]
    # What stays is what was laid out for shapes and texts, not a second model a swap.
    assert max(more) < one / 2, (one, more)
    assert more[-1] - more[0] < one / 5, (one, more)
