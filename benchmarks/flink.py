"""Benchmark of the stream on a real Flink cluster: cost against batch, memory under a backlog."""

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow.dataset as ds
from kafka import KafkaAdminClient, KafkaProducer

BLOCK = 50
_PUBNER = (sys.executable, "-m", "pubner")


def measure_side_by_side(
    brokers: str, flink_options: Sequence[str], texts: Sequence[Mapping[str, object]]
) -> dict[str, float]:
    """Return the citations per second of batch and of the stream on one slot (shipped checkpoint).

    Same citations, same blocks, without start-up: the rate is measured between the annotation times
    of the first and the last block.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "abstracts.jsonl"
        source.write_text("".join(json.dumps(text) + "\n" for text in texts), "utf-8")
        topic = f"bench-{time.time_ns()}"
        _publish(brokers, topic, texts)
        batch, stream = f"{scratch}/batch", f"{scratch}/stream"
        block = f"--block-size={BLOCK}"
        _run("annotate", str(source), "--output", batch, block, "--threads=1")
        _run(
            "stream",
            f"--brokers={brokers}",
            f"--topic={topic}",
            "--group=bench",
            f"--output={stream}",
            block,
            "--threads=1",
            "--until-caught-up",
            *flink_options,
        )
        rates = {"batch": _rate(batch), "stream": _rate(stream)}
    return {
        "batch, DirectRunner: citations/s": rates["batch"],
        "stream, Flink, one slot: citations/s": rates["stream"],
        "cost of the stream over batch": rates["batch"] / rates["stream"] - 1,
    }


def measure_backlog(
    brokers: str, flink_options: Sequence[str], checkpoint: Path, *, messages: int
) -> dict[str, float]:
    """Return the memory of each process during a backlog of `messages` short citations on Flink.

    In MiB: the maximum in the second quarter of the time, after warm-up, and in the last quarter.
    """
    topic = f"backlog-{time.time_ns()}"
    texts = (
        {"pmid": n + 1, "title": f"Iron overload {n}", "abstract": ""} for n in range(messages)
    )
    _publish(brokers, topic, texts, partitions=4)
    with tempfile.TemporaryDirectory() as scratch:
        words = [
            *(*_PUBNER, "stream", f"--brokers={brokers}", f"--topic={topic}", "--group=backlog"),
            *(f"--output={scratch}/out", f"--checkpoint={checkpoint}", "--flush-seconds=5"),
            *flink_options,
        ]
        begun = time.monotonic()
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        samples = _Samples()
        lag = messages
        for line in process.stderr or ():
            event = json.loads(line) if line.startswith("{") else {}
            samples.sample()
            lag = event.get("lag", lag)
            if event.get("event") == "progress" and lag == 0:
                break
        seconds = time.monotonic() - begun
        process.send_signal(signal.SIGTERM)
        threading.Thread(target=process.stderr.read if process.stderr else None).start()
        process.wait(300)
    return {"messages": float(messages), "messages/s": messages / seconds, **samples.summary()}


@dataclass
class _Samples:
    """Resident memory by process over time, in MiB."""

    begun: float = field(default_factory=time.monotonic)
    seen: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def sample(self) -> None:
        """Sample the processes of the cluster and of pubner."""
        for process in psutil.process_iter(["cmdline", "memory_info"]):
            name = _name(process.info["cmdline"] or [])
            if name is not None and process.info["memory_info"] is not None:
                row = (time.monotonic() - self.begun, process.info["memory_info"].rss / 2**20)
                self.seen.setdefault(f"{name} {process.pid}", []).append(row)

    def summary(self) -> dict[str, float]:
        """Return the maxima of the second and of the last quarter."""
        end = time.monotonic() - self.begun
        found = {}
        for name, rows in self.seen.items():
            early = [size for at, size in rows if end / 4 <= at < end / 2]
            late = [size for at, size in rows if at >= 3 * end / 4]
            if early and late:
                found[f"{name}: MiB in the second quarter"] = max(early)
                found[f"{name}: MiB in the last quarter"] = max(late)
        return found


def _name(words: Sequence[str]) -> str | None:
    line = " ".join(words)
    for mark, name in (
        ("sdk_worker import SdkHarness", "Python worker"),
        ("TaskManagerRunner", "TaskManager"),
        ("StandaloneSessionClusterEntrypoint", "JobManager"),
        ("pubner stream", "pubner stream"),
    ):
        if mark in line:
            return name
    return None


def _publish(
    brokers: str,
    topic: str,
    texts: Iterable[Mapping[str, object]],
    *,
    partitions: int = 1,
) -> None:
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1}})
    admin.close()
    producer = KafkaProducer(bootstrap_servers=brokers, compression_type="lz4", linger_ms=50)
    for number, text in enumerate(texts):
        message = {"schema_version": 1, **text}
        producer.send(topic, key=str(text["pmid"]).encode(), value=json.dumps(message).encode())
        if number % 20_000 == 19_999:
            producer.flush()
    producer.flush()
    producer.close()


def _run(*words: str) -> None:
    done = subprocess.run([*_PUBNER, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pubner {words[0]} ended with {done.returncode}: {done.stderr[-2000:]}")


def _rate(output: str) -> float:
    table = ds.dataset(f"{output}/citations").to_table(columns=["annotated_at"])
    times = sorted(value.timestamp() for value in table["annotated_at"].to_pylist())
    after_first = sum(1 for value in times if value > times[0])
    return float(after_first / (times[-1] - times[0]))
