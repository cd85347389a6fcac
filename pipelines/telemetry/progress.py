"""Progress of a run, computed from the counts that its steps report."""

from pipelines.telemetry.counting import estimated
from pipelines.telemetry.run_channel import RunChannel
from worker.cli.progress import Progress

_MIB = 2**20


def annotating(run_channel: RunChannel, *, total_bytes: int) -> Progress:
    """Return the progress of annotating inputs of `total_bytes` in all."""
    counts = run_channel.counts
    if not counts.get("models"):
        return Progress("loading the model")
    done = counts.get("citations", 0)
    digested = counts.get("digest_bytes", 0) // _MIB
    if not done and not counts.get("records"):
        return Progress("checking the inputs", digested, total_bytes // _MIB, "MiB")
    total = estimated(counts, total_bytes)
    passed = counts.get("records_committed", 0)
    return Progress(
        "annotating",
        done,
        None if total is None else max(done, total),
        "citations",
        estimated=counts.get("input_bytes", 0) < total_bytes,
        note=f"{passed:,} records already written" if passed else "",
    )


def annotating_again(run_channel: RunChannel, *, citations: int) -> Progress:
    """Return the progress of annotating at most `citations` again."""
    if not run_channel.counts.get("models"):
        return Progress("loading the model")
    to_do = citations - run_channel.counts.get("records_committed", 0)
    return Progress("annotating", run_channel.counts.get("citations", 0), to_do, "citations")
