"""The command `pubner annotate`."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.sample import sample_path
from pipelines.telemetry.library_logs import quiet
from schemas.errors import SettingsError
from worker.cli.command import human_console, parse_settings, print_table, write_json
from worker.cli.progress import Meter, show_progress

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.commands.example import Example
    from pipelines.inference.checkpoints import Checkpoints
    from pipelines.output.summary import Counts
    from pipelines.runtime.batch import RunReport
    from pipelines.settings.annotate import AnnotateSettings, ModelSettings

PROG = "pubner annotate"
DESCRIPTION = (
    "Annotate PubMed citations with biomedical entities and write three Parquet data sets: "
    "mentions, citations and dead letters. An interrupted run resumes where it stopped "
    "when the same command is run again."
)
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


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments after `pubner annotate`; return its exit code.

    :raises PubnerError: with a one-line message for the user.
    """
    arguments = list(argv)
    split = arguments.index("--") if "--" in arguments else len(arguments)
    from pipelines.settings.annotate import AnnotateSettings

    settings = parse_settings(
        AnnotateSettings,
        arguments[:split],
        prog=PROG,
        description=DESCRIPTION,
        positional="inputs",
    )
    check_runner_and_device(settings, arguments[split + 1 :])
    with beam_logging(verbose=settings.verbose):
        return _annotate(settings, arguments[split + 1 :])


def check_runner_and_device(settings: "ModelSettings", beam_arguments: Sequence[str]) -> str:
    """Check the runner and the device before slow imports; return the runner's full name.

    :raises SettingsError: if the runner, or the device of a run in this process, is unavailable.
    """
    from pipelines.runners.names import check_runner, find_runner
    from worker.cli.devices import check_here

    runner = check_runner(settings.runner, beam_arguments)
    if find_runner(runner).in_process:
        try:
            check_here(settings.device)
        except ValueError as error:
            raise SettingsError(f"option --device {settings.device!r}: {error}") from None
    return runner


@contextmanager
def beam_logging(*, verbose: bool) -> Iterator[None]:
    """Show Beam's log on standard error, or silence it so that errors stay one line."""
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
        yield
        return
    with quiet():
        yield


def _annotate(settings: "AnnotateSettings", beam_arguments: Sequence[str]) -> int:
    from pipelines.inference.checkpoints import choose_checkpoints

    checkpoints = choose_checkpoints(settings)  # before slow imports
    console = human_console(settings.json_file)
    if not settings.inputs:
        console.print(f"No input given: annotating the bundled sample, {sample_path().name}.")
    with show_progress(Meter()) as meter:
        summary, counts, example = annotate_inputs(settings, beam_arguments, checkpoints, meter)
    if settings.json_file is not None:
        write_json(summary, settings.json_file)
    _print_summary(console, summary, counts, example)
    return 0


def annotate_inputs(
    settings: "AnnotateSettings",
    beam_arguments: Sequence[str],
    checkpoints: "Checkpoints",
    meter: Meter,
    *,
    owns_process: bool = True,
) -> tuple[dict[str, Any], "Counts", "Example | None"]:
    """Annotate; return the summary, the counts of the output, and an example sentence.

    `owns_process` is false where another program calls this, which is never ended by a signal.
    """
    from pipelines.sources.inputs import resolve_inputs, warn_of_refused

    meter.begin("listing the inputs")
    files = resolve_inputs(settings.inputs or (str(sample_path()),), settings.input_format)
    from pipelines.blocks.known import KnownBlocks
    from pipelines.commands.example import find_example
    from pipelines.output.index import read_index
    from pipelines.output.manifest import open_output, other_sources
    from pipelines.runners.options import choose_runner
    from pipelines.runtime.batch import run_pipeline
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
    settings: "AnnotateSettings",
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
        rows.append((f"mentions, {head}", f"{summary['mentions'][head]:,}", _listing(kinds)))
    dead_letters = summary["dead_letters"]
    style = "bold red" if dead_letters else ""
    rows.append(
        (
            Text("dead letters", style),
            Text(f"{dead_letters:,}", style),
            Text(_listing(summary["dead_letters_by_stage"]), style),
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


def _listing(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _skipped_blocks(blocks: int) -> str:
    if not blocks:
        return ""
    return f"{blocks:,} block{'s' if blocks != 1 else ''} written already"
