"""The command `pubner reannotate`."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.runners.preflight import check_runner_and_device
from pipelines.settings.reannotate import ReannotateSettings
from pipelines.telemetry.library_logs import beam_logging
from schemas.errors import OutputError
from worker.cli.command import Arguments, command, human_console, listing, print_figures, write_json
from worker.cli.progress import Meter, show_progress

if TYPE_CHECKING:
    from pipelines.blocks.keys import BlockKey
    from pipelines.graphs.reannotate_plan import Work
    from pipelines.inference.checkpoints import Checkpoints
    from pipelines.output.sql_filter import Condition
    from pipelines.output.store import Store
    from pipelines.runners.options import RunnerChoice
    from pipelines.runtime.batch import RunReport

PROG = "pubner reannotate"


@command(ReannotateSettings, prog=PROG, positional="output", beam=True)
def run(settings: ReannotateSettings, arguments: Arguments) -> None:
    """Annotate citations again, from their stored text, with another checkpoint.

    The matching rows get the new checkpoint's mentions, and the rest of the output is kept. The
    source is not read. An interrupted run resumes where it stopped when the same command is run
    again.
    """
    check_runner_and_device(settings, arguments.rest)
    with beam_logging(verbose=settings.verbose):
        from pipelines.inference.checkpoints import choose_checkpoints
        from pipelines.output.sql_filter import parse_condition

        with show_progress(Meter()) as meter:
            meter.begin("checking the condition")
            condition = parse_condition(settings.where)
            checkpoints = choose_checkpoints(settings)  # before slow imports
            summary = _reannotate(settings, condition, checkpoints, arguments.rest, meter)
    write_json(summary, settings.json_file)
    _print_summary(settings, summary)


def _reannotate(
    settings: ReannotateSettings,
    condition: "Condition",
    checkpoints: "Checkpoints",
    beam_arguments: Sequence[str],
    meter: Meter,
) -> dict[str, Any]:
    from pipelines.graphs.reannotate_plan import Work, block_size_of, blocks_in, find_work
    from pipelines.output.manifest import open_existing, open_output
    from pipelines.runners.options import choose_runner

    choice = choose_runner(settings.runner, beam_arguments, prog=PROG)
    choice.check_paths({"OUTPUT": settings.output, "--registry": settings.registry})
    if choice.exposure is not None:
        sys.stderr.write(f"pubner: {choice.exposure}\n")
    known = open_existing(settings.output)
    block_size = block_size_of(known)
    if block_size is None:
        return _summary(settings, checkpoints, Work())
    if settings.dry_run:
        keys = _searching(meter, blocks_in(known))
        work = find_work(known, condition, checkpoints.id, keys, recover=False)
        return _summary(settings, checkpoints, work)
    with open_output(settings.output, block_size=block_size) as store:
        keys = _searching(meter, blocks_in(store))
        work = find_work(store, condition, checkpoints.id, keys, recover=True)
        _check_texts(work)
        if not work.blocks:
            return _summary(settings, checkpoints, work)
        return _run(settings, work, condition, checkpoints, store, choice, meter)


def _searching(meter: Meter, keys: "Sequence[BlockKey]") -> "Iterator[BlockKey]":
    meter.begin("searching for matching citations", total=len(keys), unit="blocks")
    return meter.each(keys)


def _run(
    settings: ReannotateSettings,
    work: "Work",
    condition: "Condition",
    checkpoints: "Checkpoints",
    store: "Store",
    choice: "RunnerChoice",
    meter: Meter,
) -> dict[str, Any]:
    from pipelines.graphs.reannotate_plan import count_written, find_work
    from pipelines.runtime.reannotate import run_reannotation

    report = run_reannotation(
        settings,
        work.blocks,
        condition=condition,
        checkpoints=checkpoints,
        store=store,
        choice=choice,
        citations=work.citations,
        meter=meter,
    )
    meter.begin("counting what was written", total=len(work.blocks), unit="blocks")
    written = count_written(store, work.blocks, meter.advance)
    keys = _searching(meter, [block.key for block in work.blocks])
    left = find_work(store, condition, checkpoints.id, keys, recover=False)
    return _summary(settings, checkpoints, work, left=left, written=written, report=report)


def _check_texts(work: "Work") -> None:
    """Check, before anything is changed, that all matching citations have their text.

    :raises OutputError: if a matching citation has no stored text.
    """
    if work.textless:
        raise OutputError(
            f"{work.textless:,} of {work.citations:,} citations that match have no stored text "
            "(they were made with --no-store-text): annotate their source again, by `pubner "
            'annotate` with this checkpoint, or leave them out by --where "… AND (text IS NOT '
            "NULL OR status != 'annotated')\""
        )


def _summary(
    settings: ReannotateSettings,
    checkpoints: "Checkpoints",
    work: "Work",
    *,
    left: "Work | None" = None,
    written: int = 0,
    report: "RunReport | None" = None,
) -> dict[str, Any]:
    """Return the summary of the matching citations and of the run; `left` is what still matches."""
    failed = 0 if left is None else left.citations
    done = 0 if report is None else max(0, work.citations - failed)
    seconds = 0.0 if report is None else report.annotating_seconds or report.seconds
    return {
        "where": settings.where,
        "checkpoint_id": checkpoints.id,
        "dry_run": settings.dry_run,
        "citations": work.citations,
        "citations_by_status": dict(sorted(work.statuses.items())),
        "citations_by_checkpoint": dict(sorted(work.checkpoints.items())),
        "without_text": work.textless,
        "reannotated": done,
        "failed": failed,
        "blocks": len(work.blocks),
        "blocks_written": written,
        "seconds": 0.0 if report is None else round(report.seconds, 3),
        "citations_per_second": round(done / seconds, 3) if seconds > 0 else 0.0,
        "output": settings.output,
        "counters": {} if report is None else dict(sorted(report.counters.items())),
    }


def _print_summary(settings: ReannotateSettings, summary: dict[str, Any]) -> None:
    console = human_console(settings.json_file)
    if not summary["citations"]:
        console.print(
            f"Nothing to do in {settings.output}: no citation matches that checkpoint "
            f"{summary['checkpoint_id'][:12]}… has not annotated."
        )
        return
    statuses = listing(summary["citations_by_status"])
    made_by = {f"by {name[:12]}…": n for name, n in summary["citations_by_checkpoint"].items()}
    rows: list[tuple[str, object, str]] = [
        ("citations that match", summary["citations"], statuses),
        ("made", "", listing(made_by)),
    ]
    if settings.dry_run:
        rows.append(("blocks", summary["blocks"], "would be written; nothing was changed"))
        if summary["without_text"]:
            remark = "annotate their source again: the text was not stored"
            rows.append(("without text", summary["without_text"], remark))
    else:
        remark = "still match and keep their rows (--verbose says why)" if summary["failed"] else ""
        rows += [
            ("annotated again", summary["reannotated"], ""),
            ("failed", summary["failed"], remark),
            ("blocks written", summary["blocks_written"], f"of {summary['blocks']:,}"),
            ("citations/s", summary["citations_per_second"], "without loading the model"),
            ("seconds", summary["seconds"], "in all"),
        ]
    rows.append(("output", "", settings.output))
    print_figures(console, rows, alarming=("without text", "failed"))
