"""How far a run of the pipeline is, from what its steps report."""

from pipelines.telemetry.counting import estimated
from pipelines.telemetry.run_channel import Desk
from worker.cli.progress import Progress

_MIB = 2**20


def annotating(desk: Desk, *, total_bytes: int) -> Progress:
    """Return how far the inputs, `total_bytes` in all, are annotated."""
    counts = desk.counts
    if not counts.get("models"):
        return Progress("loading the model")
    done = counts.get("citations", 0)
    digested = counts.get("digest_bytes", 0) // _MIB
    if not done and not counts.get("records"):
        return Progress("checking the inputs", digested, total_bytes // _MIB, "MiB")
    total = estimated(counts, total_bytes)
    passed = counts.get("records_in_place", 0)
    return Progress(
        "annotating",
        done,
        None if total is None else max(done, total),
        "citations",
        estimated=counts.get("input_bytes", 0) < total_bytes,
        note=f"{passed:,} records already written" if passed else "",
    )


def annotating_again(desk: Desk, *, citations: int) -> Progress:
    """Return how far `citations`, all that there may be, are annotated."""
    if not desk.counts.get("models"):
        return Progress("loading the model")
    to_do = citations - desk.counts.get("records_in_place", 0)
    return Progress("annotating", desk.counts.get("citations", 0), to_do, "citations")
