"""The worker process that measures a library's rows, and its client.

`python -m benchmarks.process GROUP` reads requests, one JSON object per line, and answers each with
a line; the first request contains what to load.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.citations import cut_citations, load_citations
from benchmarks.memory import Mark, memory_mb
from benchmarks.results import Sample
from benchmarks.rows import LIMIT, PLANS
from worker.system.batching import in_groups

ROOT = Path(__file__).resolve().parents[1]
_CHUNK = 250
"""The number of citations per call when comparing mentions and measuring growth."""
_LOADERS = {
    "transformers": "benchmarks.peers.transformers_pipeline",
    "torch": "benchmarks.peers.plain_torch",
    "onnx": "benchmarks.peers.onnx_runtime",
    "openvino": "benchmarks.peers.openvino_runtime",
    "tagger": "benchmarks.peers.pubner_tagger",
}

Found = set[tuple[int, str, str, int, int]]
"""Mentions as (citation number, task, label, start, end)."""


class RowProcess:
    """The client of a process that measures the rows of one library."""

    def __init__(self, group: str, load: Mapping[str, object], *, log: Path) -> None:
        self.group = group
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.process", group],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
        )
        self._send({"do": "load", **load})

    def ready(self) -> None:
        """Wait until it has loaded."""
        self._receive()

    def rate(self, row: str, *, seconds: float, chunk: int) -> tuple[Sample, float]:
        """Measure a row for at least `seconds`; also return its resident memory in MiB."""
        self._send({"do": "rate", "row": row, "seconds": seconds, "chunk": chunk})
        answer = self._receive()
        sample = Sample(answer["citations"], answer["pieces"], answer["seconds"])
        return sample, answer["memory_mb"]

    def mentions(self, row: str, *, count: int) -> Found:
        """Return the mentions of a row in the first `count` citations."""
        self._send({"do": "mentions", "row": row, "count": count})
        return {(n, task, label, start, end) for n, task, label, start, end in self._receive()}

    def limit(self, *, seconds: float) -> dict[str, Any]:
        """Measure the peak rates of the machine."""
        self._send({"do": "limit", "seconds": seconds})
        answer: dict[str, Any] = self._receive()
        return answer

    def growth(self, *, count: int, share: float) -> list[Mark]:
        """Annotate `count` citations with the tagger; return the marks of the run."""
        self._send({"do": "growth", "count": count, "share": share})
        return [Mark(**mark) for mark in self._receive()]

    def end(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, request: Mapping[str, object]) -> None:
        if self._process.stdin is None or self._process.poll() is not None:
            raise RuntimeError(f"the process of {self.group} has ended; see {self._log}")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def _receive(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            output = self._log.read_text("utf-8", errors="replace")[-3000:]
            raise RuntimeError(f"the process of {self.group} ended: {output}")
        return json.loads(line)


def run_module(name: str, *words: str) -> str | None:
    """Run a module in a separate process; return None, or its error."""
    done = subprocess.run(
        [sys.executable, "-m", name, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


class _Server:
    """The request handler in the worker process."""

    def __init__(self, group: str, load: Mapping[str, Any]) -> None:
        from benchmarks.weights import checkpoint_shape

        self._shape = checkpoint_shape(Path(load["checkpoint"]))
        self._place = {"device": load["device"], "threads": load["threads"]}
        self._citations = load_citations(Path(load["citations"]))
        self._texts = [citation.text for citation in self._citations]
        self._pieces = [citation.pieces for citation in self._citations]
        self._rows: Mapping[str, Callable[[Sequence[str]], Any]] = {}
        self._next = 0
        if group != LIMIT:
            module = importlib.import_module(_LOADERS[group])
            self._rows = module.load(self._shape, **self._place, models=Path(load["models"]))
            for row in self._rows.values():
                row(self._texts[:2])

    def rate(self, row: str, seconds: float, chunk: int) -> dict[str, float]:
        """Annotate consecutive chunks for `seconds`, continuing after the last chunk.

        A row first warms up on the next texts, so that shape-dependent preparation is done.
        """
        annotate, size = self._rows[row], len(self._texts)
        warmup = [(self._next + n) % size for n in range(min(size, max(2, chunk // 4)))]
        annotate([self._texts[number] for number in warmup])
        done: list[int] = []
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            numbers = [(self._next + n) % size for n in range(chunk)]
            annotate([self._texts[number] for number in numbers])
            self._next = (self._next + chunk) % size
            done += numbers
        took = time.perf_counter() - begun
        longest = self._shape.max_pieces - 2 if PLANS[row].truncates else None
        pieces = sum(min(self._pieces[n], longest or self._pieces[n]) for n in done)
        return {
            "citations": len(done),
            "pieces": pieces,
            "seconds": took,
            "memory_mb": memory_mb(),
        }

    def mentions(self, row: str, count: int) -> list[list[object]]:
        """Return the mentions of a row in the first `count` citations."""
        found: list[list[object]] = []
        for chunk in in_groups(range(min(count, len(self._texts))), _CHUNK):
            several = self._rows[row]([self._texts[number] for number in chunk])
            for number, mentions in zip(chunk, several, strict=True):
                found += [[number, m.task, m.label, m.start, m.end] for m in mentions]
        return found

    def growth(self, count: int, share: float) -> list[dict[str, float]]:
        """Annotate `count` citations, cut to about `share` of their sentences, with the tagger."""
        texts = (item.text for item in cut_citations(self._citations, count, share=share))
        marks, done, begun = [], 0, time.perf_counter()
        for chunk in in_groups(texts, _CHUNK):
            self._rows["tagger"](chunk)
            done += len(chunk)
            marks.append(Mark(done, time.perf_counter() - begun, memory_mb()))
        return [asdict(mark) for mark in marks]

    def limit(self, seconds: float) -> dict[str, Any]:
        """Measure the peak rates of the machine."""
        from benchmarks.limits import measure_limit

        return measure_limit(self._shape, **self._place, seconds=seconds, texts=self._texts)


def main(group: str) -> None:
    """Answer requests until the pipe is closed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    server: _Server | None = None
    for line in sys.stdin:
        request = json.loads(line)
        what = request.pop("do")
        answer: object = None
        if what == "load":
            server = _Server(group, request)
        else:
            answer = getattr(server, what)(**request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
