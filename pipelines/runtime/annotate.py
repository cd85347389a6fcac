"""Files in, an output out: the run of `pubner annotate` and `pubner.annotate`."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.sample import sample_path
from pipelines.settings.annotate import AnnotateSettings
from worker.cli.progress import Meter

if TYPE_CHECKING:
    from pipelines.inference.checkpoints import Checkpoints
    from pipelines.output.summary import Counts
    from pipelines.runtime.batch import RunReport
    from pipelines.runtime.example import Example


def annotate_inputs(
    settings: AnnotateSettings,
    beam_arguments: Sequence[str],
    checkpoints: "Checkpoints",
    meter: Meter,
    *,
    owns_process: bool = True,
) -> tuple[dict[str, Any], "Counts", "Example | None"]:
    """Annotate; return the summary, the counts of the output, and an example sentence.

    `owns_process` is false where another program calls this, which is never ended by a signal.
    """
    from pipelines.sources.inputs import resolve_inputs, warn_of_refused  # before slow imports

    meter.begin("listing the inputs")
    files = resolve_inputs(settings.inputs or (str(sample_path()),), settings.input_format)
    from pipelines.blocks.known import KnownBlocks
    from pipelines.output.index import read_index
    from pipelines.output.manifest import open_output, other_sources
    from pipelines.runners.options import choose_runner
    from pipelines.runtime.batch import run_pipeline
    from pipelines.runtime.example import find_example
    from worker.storage.locations import is_local

    meter.begin("starting the runner")
    choice = choose_runner(settings.runner, beam_arguments)
    paths = {"INPUT": next((file.path for file in files if is_local(file.path)), None)}
    choice.check_paths({"--output": settings.output, "--registry": settings.registry, **paths})
    if choice.exposure is not None:
        sys.stderr.write(f"pubner: {choice.exposure}\n")
    sources = [file.source for file in files]
    warn_of_refused(files)
    with open_output(settings.output, block_size=settings.block_size) as store:
        meter.begin("listing what is written", unit="blocks")
        before = read_index(store, sources, each=meter.advance)
        known = before.known()
        report = run_pipeline(
            settings,
            [replace(file, known=known.get(file.source, KnownBlocks())) for file in files],
            checkpoints=checkpoints,
            store=store,
            choice=choice,
            meter=meter,
            owns_process=owns_process,
        )
        meter.begin("listing what is written", unit="blocks")
        after = read_index(store, sources, before=before, counted=True, each=meter.advance)
        written = after.written_since(before)
        now = sum(after.counts(written).citations.values())
        counts = after.counts()
        example = find_example(store, after.blocks)
        others = other_sources(store, topics=False)
    blocks = len(after.blocks)
    summary = _summary(settings, report, counts, now=now, written=len(written), all=blocks)
    summary["checkpoint_id"] = checkpoints.id
    summary["topics_in_output"] = others
    summary["blocks_of_older_reader"] = sum(
        block.footer.is_of_older_reader for block in after.blocks.values()
    )
    return summary, counts, example


def _summary(
    settings: AnnotateSettings,
    report: "RunReport",
    counts: "Counts",
    *,
    now: int,
    written: int,
    all: int,
) -> dict[str, Any]:
    seconds = report.annotating_seconds or report.seconds
    return {
        "citations": sum(counts.citations.values()),
        "citations_by_status": dict(sorted(counts.citations.items())),
        "mentions": counts.mentions_by_head(),
        "mentions_by_type": _nested(counts),
        "dead_letters": sum(counts.dead_letters.values()),
        "dead_letters_by_stage": dict(sorted(counts.dead_letters.items())),
        "citations_annotated_now": now,
        "blocks": all,
        "blocks_written_now": written,
        "unreadable_inputs": report.unreadable_inputs,
        "seconds": round(report.seconds, 3),
        "citations_per_second": round(now / seconds, 3) if seconds > 0 else 0.0,
        "output": settings.output,
        "counters": dict(sorted(report.counters.items())),
    }


def _nested(counts: "Counts") -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (head, kind), count in sorted(counts.mentions.items()):
        nested.setdefault(head, {})[kind] = count
    return nested
