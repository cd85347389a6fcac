"""The command `pubner annotate`."""

from typing import TYPE_CHECKING, Any

from pipelines.runners.preflight import check_runner_and_device
from pipelines.sample import sample_path
from pipelines.settings.annotate import AnnotateSettings
from pipelines.telemetry.library_logs import beam_logging
from worker.cli.command import (
    Arguments,
    command,
    human_console,
    listing,
    print_table,
    write_json,
)
from worker.cli.progress import Meter, show_progress

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.output.summary import Counts
    from pipelines.runtime.example import Example

_STYLES = {
    "Gene": "bold green",
    "Protein": "bold cyan",
    "DNA": "bold blue",
    "RNA": "bold blue",
    "CellLine": "bold yellow",
    "CellType": "bold yellow",
    "Chemical": "bold magenta",
    "Disease": "bold red",
}


@command(AnnotateSettings, prog="pubner annotate", positional="inputs", beam=True)
def run(settings: AnnotateSettings, arguments: Arguments) -> None:
    """Annotate PubMed citations with biomedical entities and write three Parquet data sets.

    They are mentions, citations and dead letters. An interrupted run resumes where it stopped when
    the same command is run again.
    """
    check_runner_and_device(settings, arguments.rest)
    from pipelines.inference.checkpoints import choose_checkpoints
    from pipelines.runtime.annotate import annotate_inputs

    with beam_logging(verbose=settings.verbose):
        checkpoints = choose_checkpoints(settings)  # before slow imports
        console = human_console(settings.json_file)
        if not settings.inputs:
            console.print(f"No input given: annotating the bundled sample, {sample_path().name}.")
        with show_progress(Meter()) as meter:
            summary, counts, example = annotate_inputs(settings, arguments.rest, checkpoints, meter)
        write_json(summary, settings.json_file)
        _print_summary(console, summary, counts, example)


def _print_summary(
    console: "Console", summary: dict[str, Any], counts: "Counts", example: "Example | None"
) -> None:
    from rich.text import Text

    from pipelines.output.manifest import describe_mixed_sources

    statuses = ", ".join(f"{n:,} {status}" for status, n in sorted(counts.citations.items()))
    rows: list[tuple[object, object, object]] = [
        ("citations", f"{summary['citations']:,}", statuses)
    ]
    for head, kinds in summary["mentions_by_type"].items():
        rows.append((f"mentions, {head}", f"{summary['mentions'][head]:,}", listing(kinds)))
    dead_letters = summary["dead_letters"]
    style = "bold red" if dead_letters else ""
    rows.append(
        (
            Text("dead letters", style),
            Text(f"{dead_letters:,}", style),
            Text(listing(summary["dead_letters_by_stage"]), style),
        )
    )
    if summary["unreadable_inputs"]:
        remark = "inputs could not be read; their earlier output is kept"
        rows.append((Text("unreadable", "bold red"), str(summary["unreadable_inputs"]), remark))
    if older := summary["blocks_of_older_reader"]:
        remark = "blocks were read by an older pubner, which may have read less; --reread-older"
        rows.append(("older reader", f"{older:,}", f"{remark} reads them again"))
    already_written = summary["blocks"] - summary["blocks_written_now"]
    rows += [
        (
            "annotated now",
            f"{summary['citations_annotated_now']:,}",
            _skipped_blocks(already_written),
        ),
        ("citations/s", f"{summary['citations_per_second']:,.1f}", "without loading the model"),
        ("seconds", f"{summary['seconds']:,.1f}", "in all"),
        ("output", "", summary["output"]),
    ]
    if summary["topics_in_output"]:
        rows.append(("", "", describe_mixed_sources(summary["topics_in_output"], topics=False)))
    print_table(console, rows, right=[1])
    if example is not None:
        line = Text(f"PMID {example.pmid}: ")
        for text, kind in example.segments():
            line.append(f"[{text} {kind}]" if kind else text, style=_STYLES.get(kind or "", ""))
        console.print(line)


def _skipped_blocks(blocks: int) -> str:
    if not blocks:
        return ""
    return f"{blocks:,} block{'s' if blocks != 1 else ''} written already"
