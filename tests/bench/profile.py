"""Where the time of the pipeline goes: what each of its threads does, looked at again and again.

It runs in a process of its own, so that nothing else's threads are in the picture.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tests.bench.citations import BenchCitation, write_xml
from tests.support.services import ROOT

SECONDS: Final = 0.005
WAITING: Final = "waiting"
_BLOCK: Final = 250
_STAGES: Final = (
    ("encoder", ("worker/bert.py", "worker/attention.py", "worker/linear.py", "worker/encoder.py")),
    (
        "decoding",
        (
            "worker/decoding.py",
            "worker/chain.py",
            "worker/stretches.py",
            "worker/overlap.py",
            "schemas/records.py",
        ),
    ),
    ("tokenising", ("worker/tokenisation.py",)),
    ("batches", ("worker/packing.py", "worker/windows.py", "worker/tagger.py")),
    ("reading", ("worker/readers/", "pipelines/reading.py", "pipelines/content.py")),
    (
        "writing",
        ("pipelines/rows.py", "pipelines/tables.py", "pipelines/writer.py", "pipelines/store.py"),
    ),
    ("Beam and the rest", ("apache_beam/", "pipelines/")),
)
_IDLE: Final = (
    "threading.py",
    "queue.py",
    "selectors.py",
    "concurrent/futures/",
    "socketserver.py",
)


def stage_of(files: Sequence[str]) -> str | None:
    """Return what a thread does whose frames are in `files`, the innermost first.

    None where it is nothing of the pipeline's.
    """
    if any(part in files[0] for part in _IDLE):
        return WAITING
    for file in files:
        for stage, parts in _STAGES:
            if any(part in file for part in parts):
                return stage
    return None


class Looker:
    """Looks at all threads every `SECONDS` and counts what each does."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._looks = 0
        self._seen: dict[int, Counter[str]] = {}
        self._names: dict[int, str] = {}

    def __enter__(self) -> "Looker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        own = threading.get_ident()
        while not self._ended.wait(SECONDS):
            found = {
                ident: stage
                for ident, frame in sys._current_frames().items()
                if ident != own and (stage := stage_of([*_files(frame)])) is not None
            }
            # From the first batch on: before, modules and the model are loaded.
            if self._looks or "encoder" in found.values():
                self._looks += 1
                self._names |= {x.ident: x.name for x in threading.enumerate() if x.ident}
                for ident, stage in found.items():
                    self._seen.setdefault(ident, Counter())[stage] += 1

    def shares(self) -> dict[str, dict[str, float]]:
        """Return, by thread, the share of the time in which it did what; the most first."""
        out: dict[str, Counter[str]] = {}
        for ident, seen in self._seen.items():
            name = self._names.get(ident, "")
            if "encoder" in seen:
                name = "the model's thread"
            elif name.startswith("pubner-"):
                name = f"the helper that {'reads' if 'read' in name else 'writes'}"
            else:
                continue
            out.setdefault(name, Counter()).update(seen)
        return {
            name: {
                stage: count / self._looks
                for stage, count in seen.most_common()
                if stage != WAITING and count
            }
            for name, seen in sorted(out.items(), reverse=True)
        }


def _files(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def measure_profile(
    citations: Sequence[BenchCitation], *, scratch: Path, checkpoint: Path
) -> dict[str, Any]:
    """Annotate `citations` from XML to Parquet in one process; return each thread's shares."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        source = Path(folder) / "citations.xml"
        write_xml(source, citations)
        words = [sys.executable, "-m", "tests.bench.profile", str(source), f"{folder}/out"]
        done = subprocess.run(
            [*words, str(checkpoint)], cwd=ROOT, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(f"the profile ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _main(words: Sequence[str]) -> int:
    import pubner

    source, output, checkpoint = words
    with Looker() as looker, Path(os.devnull).open("w") as nowhere:
        out, sys.stdout = sys.stdout, nowhere
        try:
            status = pubner.main(
                [
                    "annotate",
                    source,
                    f"--output={output}",
                    f"--checkpoint={checkpoint}",
                    f"--block-size={_BLOCK}",
                ]
            )
        finally:
            sys.stdout = out
    print(json.dumps({"threads": looker.shares()}))
    return int(status)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
