"""The command `pubner annotate`."""

from typing import TYPE_CHECKING, Any
from zlib import crc32

from pipelines.runners.preflight import check_runner_and_device
from pipelines.sample import sample_path
from pipelines.settings.annotate import AnnotateSettings
from pipelines.telemetry.library_logs import beam_logging
from worker.cli.command import (
    Arguments,
    command,
    human_console,
    listing,
    print_figures,
    write_json,
)
from worker.cli.progress import Meter, show_progress

if TYPE_CHECKING:
    from rich.console import Console

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
_OTHER_STYLES = ("bold bright_green", "bold bright_cyan", "bold bright_magenta", "bold bright_red")


def _style(entity_type: str | None) -> str:
    """Return the style of an entity type, always the same one; that of plain text for None."""
    if entity_type is None:
        return ""
    other = _OTHER_STYLES[crc32(entity_type.encode()) % len(_OTHER_STYLES)]
    return _STYLES.get(entity_type, other)


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
            summary, _, example = annotate_inputs(settings, arguments.rest, checkpoints, meter)
        write_json(summary, settings.json_file)
        _print_summary(console, summary, example)


def _print_summary(console: "Console", summary: dict[str, Any], example: "Example | None") -> None:
    from rich.text import Text

    from pipelines.output.manifest import describe_mixed_sources

    already = summary["blocks"] - summary["blocks_written_now"]
    rows: list[tuple[str, object, str]] = [
        ("citations", summary["citations"], listing(summary["citations_by_status"]))
    ]
    for head, kinds in summary["mentions_by_type"].items():
        rows.append((f"mentions, {head}", summary["mentions"][head], listing(kinds)))
    rows.append(
        ("dead letters", summary["dead_letters"], listing(summary["dead_letters_by_stage"]))
    )
    if summary["unreadable_inputs"]:
        remark = "inputs could not be read; their earlier output is kept"
        rows.append(("unreadable", summary["unreadable_inputs"], remark))
    if older := summary["blocks_of_older_reader"]:
        remark = "blocks were read by an older pubner, which may have read less; --reread-older"
        rows.append(("older reader", older, f"{remark} reads them again"))
    skipped = f"{already:,} block{'s' if already != 1 else ''} written already" if already else ""
    rows += [
        ("annotated now", summary["citations_annotated_now"], skipped),
        ("citations/s", summary["citations_per_second"], "without loading the model"),
        ("seconds", summary["seconds"], "in all"),
        ("output", "", summary["output"]),
    ]
    if summary["topics_in_output"]:
        rows.append(("", "", describe_mixed_sources(summary["topics_in_output"], topics=False)))
    print_figures(console, rows, alarming=("dead letters", "unreadable"))
    if example is not None:
        line = Text(f"PMID {example.pmid}: ")
        for text, kind in example.segments():
            line.append(f"[{text} {kind}]" if kind else text, style=_style(kind))
        console.print(line)
