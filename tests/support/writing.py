"""A process that writes one part of a block, and may be killed or stopped before a step.

python -m tests.support.writing ROOT BEGIN END NUMBER [STEP SIGNAL]
"""

import signal
import subprocess
import sys
from pathlib import Path

from pipelines.output.object_store import ObjectStore
from pipelines.output.store import Store, open_store
from tests.support.crash_injection import CrashAt, Hook, SignalAt, SteppedDisk, SteppedObjects
from tests.support.parts import part, writer_to
from tests.support.root import ROOT


def start_writer(
    root: str, begin: int, end: int, number: int, step: str = "", name: str = ""
) -> "subprocess.Popen[str]":
    """Start the process; it says `done` on standard output when its part is written."""
    words = [root, str(begin), str(end), str(number), *([step, name] if step else [])]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.writing", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stepped_store(root: str, hook: Hook) -> Store:
    """Return the store at `root`, with `hook` before each step."""
    store = open_store(root)
    if isinstance(store, ObjectStore):
        return ObjectStore(SteppedObjects(store.objects, hook))
    return SteppedDisk(Path(root), hook)


def main(words: list[str]) -> None:
    root, begin, end, number, *rest = words
    hook = SignalAt(rest[0], signal.Signals[rest[1]]) if rest else CrashAt(None)
    writer_to(stepped_store(root, hook)).write(part(int(begin), int(end), int(number)))
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
