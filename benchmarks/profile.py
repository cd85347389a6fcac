"""A sampling profiler of the pipeline's CPU time by stage.

Every few milliseconds each thread's CPU time since the last sample is assigned to the stage of its
innermost frame of the project. Waiting threads use no CPU time. The pipeline runs in a separate
process, so that there are no other threads.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.citations import BenchCitation, write_xml
from tests.support.root import ROOT

SECONDS: Final = 0.005
OTHERS: Final = "threads of libraries"
_BLOCK: Final = 250
_THREAD_CLOCK: Final = 0b110
"""The id of a thread's CPU clock on Linux: see clock_getcpuclockid(3)."""
_REST: Final = "Beam and the rest"
_STAGES: Final = (
    (
        "encoder",
        (
            "worker/network/bert.py",
            "worker/network/attention.py",
            "worker/network/softmax.py",
            "worker/network/linear.py",
            "worker/network/encoder.py",
        ),
    ),
    (
        "decoding",
        (
            "worker/decoding/cpu.py",
            "worker/decoding/lattice.py",
            "worker/decoding/cut_points.py",
            "worker/decoding/mentions.py",
            "worker/decoding/overlap.py",
            "schemas/records.py",
        ),
    ),
    ("tokenising", ("worker/text/tokenisation.py",)),
    ("batches", ("worker/text/packing.py", "worker/text/windows.py", "worker/tagger.py")),
    (
        "reading",
        ("worker/readers/", "pipelines/sources/files.py", "pipelines/sources/fingerprint.py"),
    ),
    (
        "writing",
        (
            "pipelines/blocks/rows.py",
            "pipelines/blocks/tables.py",
            "pipelines/output/writer.py",
            "pipelines/output/store.py",
        ),
    ),
    (_REST, ("apache_beam/", "pipelines/")),
)


def stage_of(files: Sequence[str]) -> str | None:
    """Return the stage of a thread whose frames are in `files`, innermost first.

    None if it is not part of the pipeline.
    """
    for file in files:
        for stage, parts in _STAGES:
            if any(part in file for part in parts):
                return stage
    return None


class Sampler:
    """Samples all threads every `SECONDS` and sums their CPU time by stage.

    Sampling starts with the first batch, after modules and model are loaded.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._spent: dict[str, float] = {}
        self._clocks: dict[int, float] = {}
        self._begun: tuple[float, float] | None = None
        self._wall = self._cpu = 0.0

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        own = threading.get_ident()
        while not self._ended.wait(SECONDS):
            threads = {x.ident: x.native_id for x in threading.enumerate()}
            seen = {
                ident: (stage_of([*_files(frame)]), _processor_time(threads.get(ident)))
                for ident, frame in sys._current_frames().items()
                if ident != own
            }
            now = time.monotonic(), time.process_time()
            if self._begun is None and "encoder" in (stage for stage, _ in seen.values()):
                self._begun = now
            for ident, (stage, clock) in seen.items():
                spent = clock - self._clocks.get(ident, 0.0)
                if self._begun not in (None, now) and spent > 0:
                    stage = stage or _REST
                    self._spent[stage] = self._spent.get(stage, 0.0) + spent
            self._clocks = {ident: clock for ident, (_, clock) in seen.items()}
            if self._begun is not None:
                self._wall, self._cpu = (b - a for a, b in zip(self._begun, now, strict=True))

    def spent(self) -> dict[str, Any]:
        """Return `wall_s`, `cpu_s`, and `stages`: CPU seconds, largest first.

        CPU time of threads without Python frames is under `OTHERS`.
        """
        others = max(0.0, self._cpu - sum(self._spent.values()))
        stages = sorted((self._spent | {OTHERS: others}).items(), key=lambda item: -item[1])
        return {"wall_s": self._wall, "cpu_s": self._cpu, "stages": dict(stages)}


def _processor_time(native_id: int | None) -> float:
    """Return a thread's CPU time in seconds; 0 if it has ended."""
    if native_id is None:
        return 0.0
    try:
        return time.clock_gettime((~native_id << 3) | _THREAD_CLOCK)
    except OSError:
        return 0.0


def _files(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def measure_profile(
    citations: Sequence[BenchCitation], *, scratch: Path, checkpoint: Path
) -> dict[str, Any]:
    """Annotate `citations` from XML to Parquet in one process; return the result of
    `Sampler.spent`."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        source = Path(folder) / "citations.xml"
        write_xml(source, citations)
        words = [sys.executable, "-m", "benchmarks.profile", str(source), f"{folder}/out"]
        done = subprocess.run(
            [*words, str(checkpoint)], cwd=ROOT, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(f"the profile ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _main(words: Sequence[str]) -> int:
    from pubner import cli

    source, output, checkpoint = words
    with Sampler() as looker, Path(os.devnull).open("w") as nowhere:
        out, sys.stdout = sys.stdout, nowhere
        try:
            status = cli.main(
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
    print(json.dumps(looker.spent()))
    return int(status)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
