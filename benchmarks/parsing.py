"""Benchmark of reading PubMed XML on one core: speed and memory."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.pubmed import write_pubmed

ROOT = Path(__file__).resolve().parents[1]


def measure_parsing(citations: int = 30_000) -> dict[str, float]:
    """Read a generated file of `citations` in a separate process; return the time and memory.

    The keys: `citations`; `seconds` of processor time, decompression
    included; `citations_per_second` of a core; `peak_rss_mb`, the peak memory of the process in
    MiB. CPU time is used, since wall-clock time depends more on other load.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generated.xml.gz"
        write_pubmed(path, citations)
        command = [sys.executable, "-m", "benchmarks.parsing", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in MiB.

    On Linux `ru_maxrss` is inherited from the parent process, so the process's own high-water mark
    is read instead.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _read(path: Path) -> dict[str, float]:
    import time

    from worker.readers.formats import Format, ReadRecord, read_records

    began = time.process_time()
    with path.open("rb") as file:
        records = read_records(file, Format.PUBMED_XML)
        citations = sum(isinstance(item, ReadRecord) for item in records)
    seconds = time.process_time() - began
    return {
        "citations": citations,
        "seconds": seconds,
        "citations_per_second": citations / seconds,
        "peak_rss_mb": peak_memory_mb(),
    }


if __name__ == "__main__":
    print(json.dumps(_read(Path(sys.argv[1]))))
