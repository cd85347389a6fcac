"""The tagger alone and the whole pipeline, on the same real abstracts in one run."""

import gzip
import json
import statistics
import tempfile
import time
from pathlib import Path

from worker.checkpoint import default_checkpoint
from worker.tagger import load_tagger

REPEATS = 2


def load_texts(data: Path, count: int) -> list[dict[str, object]]:
    """Return `count` abstracts spread evenly over the data folder's: its first ones are long."""
    with gzip.open(data / "abstracts" / "abstracts.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line) for line in lines]
    return texts[:: max(1, len(texts) // count)][:count]


def measure_tagger(texts: list[dict[str, object]]) -> dict[str, float]:
    """Return citations a second of the shipped checkpoint, all heads, in bf16 and fp32."""
    given = [f"{text['title']}\n{text['abstract']}" for text in texts]
    out: dict[str, float] = {}
    for precision in ("auto", "fp32"):
        tagger = load_tagger([default_checkpoint()], device="cpu", precision=precision)
        tagger.annotate(given[:20])
        rates = []
        for _ in range(REPEATS):
            begun = time.perf_counter()
            for start in range(0, len(given), 250):
                tagger.annotate(given[start : start + 250])
            rates.append(len(given) / (time.perf_counter() - begun))
        out |= _spread(f"citations/s, {precision}", rates)
    return out


def measure_pipeline(texts: list[dict[str, object]]) -> dict[str, float]:
    """Return citations a second of `pubner annotate` on the DirectRunner, start-up left out."""
    import pubner

    rates = []
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "abstracts.jsonl"
        source.write_text("".join(json.dumps(text) + "\n" for text in texts), "utf-8")
        for repeat in range(REPEATS):
            summary = Path(scratch) / f"summary-{repeat}.json"
            status = pubner.main(
                ["annotate", str(source), "--output", f"{scratch}/{repeat}", "--json", str(summary)]
            )
            if status:
                raise RuntimeError(f"pubner annotate ended with status {status}")
            rates.append(float(json.loads(summary.read_text())["citations_per_second"]))
    return _spread("citations/s, DirectRunner", rates)


def _spread(name: str, rates: list[float]) -> dict[str, float]:
    return {
        f"{name}: median": statistics.median(rates),
        f"{name}: least": min(rates),
        f"{name}: most": max(rates),
    }
