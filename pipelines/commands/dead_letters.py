"""The commands `pubner dead-letters list`, `show` and `replay`."""

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.settings.dead_letters import ListSettings, ReplaySettings, ShowSettings
from pipelines.telemetry.library_logs import quiet
from schemas.errors import InputError
from worker.cli.command import (
    command,
    human_console,
    listing,
    print_figures,
    print_table,
    write_json,
)
from worker.cli.progress import Meter, show_loading, show_progress
from worker.cli.terminal import safe_text

if TYPE_CHECKING:
    from pipelines.dead_letters.display import DeadLetterList
    from pipelines.inference.checkpoints import Checkpoints
    from pipelines.telemetry.run_channel import RunChannel

_PROG = "pubner dead-letters"
_LONGEST_ERROR = 90
_MAX_REFUSED_SHOWN = 10


@command(ListSettings, prog=f"{_PROG} list", positional="output")
def list_dead_letters(settings: ListSettings) -> None:
    """List the dead letters of an output, newest first.

    Shown are position, stage, error and size of each record that could not be processed.
    """
    with show_loading():
        from pipelines.dead_letters import display
        from pipelines.dead_letters.ledger import Ledger
        from pipelines.output.manifest import open_existing

    with quiet():
        store = open_existing(settings.output)
        found = display.list_dead_letters(
            store,
            settings.selection,
            limit=settings.limit,
            replayed=Ledger(store).sent(None),
        )
    write_json(found.to_json(), settings.json_file)
    _print_list(settings, found)


@command(ShowSettings, prog=f"{_PROG} show", positional="letter")
def show(settings: ShowSettings) -> None:
    """Show one dead letter, given by two arguments, OUTPUT and SOURCE/PARTITION/OFFSET.

    Shown are the error, and the original key, headers and payload.
    """
    with show_loading():
        from pipelines.dead_letters.display import describe_dead_letter
        from pipelines.dead_letters.ledger import Ledger
        from pipelines.dead_letters.reading import dead_letter_digest, find_dead_letter
        from pipelines.dead_letters.selection import format_position
        from pipelines.output.manifest import open_existing

    with quiet():
        store = open_existing(settings.output)
        dead_letter = find_dead_letter(store, settings.position)
        if dead_letter is None:
            raise InputError(
                f"{settings.output!r} holds no dead letter at "
                f"{format_position(settings.position)}; `{_PROG} list` shows the dead letters"
            )
        dead_letter_id = (dead_letter.position, dead_letter_digest(dead_letter))
        replays = {x.topic for x in Ledger(store).replays() if dead_letter_id in x.dead_letters}
    if settings.raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(dead_letter.payload)
        sys.stdout.buffer.flush()
        return
    for line in describe_dead_letter(dead_letter, replays=replays):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


@command(ReplaySettings, prog=f"{_PROG} replay", positional="output")
def replay(settings: ReplaySettings) -> int:
    """Replay dead letters, each once: to a topic, or through the pipeline after a fix.

    A topic gets the original messages; in the pipeline the citation replaces the dead letter. A
    record of a file is sent to a topic as `pubner feed` would send it.
    """
    from pipelines.feed.stopping import StoppedError, stopping

    with quiet():
        if settings.pipeline:
            summary = _annotate(settings)
        else:
            with stopping() as request, show_progress(Meter()) as meter:
                try:
                    summary = _send(settings, request.check, meter)
                except StoppedError:
                    sys.stderr.write(
                        "pubner: stopped; run the same command again to send the rest: it finds in "
                        "the topic what was sent until now\n"
                    )
                    return request.exit_code
    write_json(summary, settings.json_file)
    _print_summary(settings, summary)
    return 0


def _send(settings: ReplaySettings, check: Callable[[], None], meter: Meter) -> dict[str, Any]:
    from pipelines.dead_letters.republish import SendPlan, send_dead_letters
    from pipelines.output.manifest import open_existing
    from worker.system.clock import utc_now

    report = send_dead_letters(
        SendPlan(
            store=open_existing(settings.output),
            access=settings.access(),
            topic=settings.topic or "",
            selection=settings.selection,
            limit=settings.limit,
            again=settings.again,
            clock=utc_now,
            check=check,
            meter=meter,
        )
    )
    return {
        "output": settings.output,
        "topic": settings.topic,
        "letters": report.selected,
        "sent": report.sent,
        "sent_before": report.sent_before,
        "recovered": report.recovered,
        "no_message": report.no_message,
        "refused": dict(sorted(report.refused.items())),
    }


def _annotate(settings: ReplaySettings) -> dict[str, Any]:
    import time

    from pipelines.inference.checkpoints import choose_checkpoints

    checkpoints = choose_checkpoints(settings)
    with show_progress(Meter()) as meter:
        from pipelines.runtime.batch import stopping
        from pipelines.telemetry.run_channel import open_run_channel

        with (
            open_run_channel(time.monotonic) as run_channel,
            stopping(run_channel, settings.output, in_process=True, show=meter.show),
        ):
            return _annotate_dead_letters(settings, checkpoints, run_channel, meter)


def _annotate_dead_letters(
    settings: ReplaySettings, checkpoints: "Checkpoints", run_channel: "RunChannel", meter: Meter
) -> dict[str, Any]:
    from pipelines.dead_letters.ledger import Ledger
    from pipelines.dead_letters.reading import choose, read_dead_letters
    from pipelines.dead_letters.reprocess import AnnotatePlan, AnnotateReport, annotate_dead_letters
    from pipelines.output.manifest import open_existing, open_output
    from pipelines.telemetry.progress import annotating_again
    from worker.system.clock import utc_now

    known = open_existing(settings.output)
    first = next(iter(read_dead_letters(known, settings.selection)), None)
    selected, before, report = 0, 0, AnnotateReport()
    if first is not None:
        with open_output(settings.output, block_size=first.footer.block_size) as store:
            dead_letters = choose(store, settings.selection, settings.limit)
            selected = len(dead_letters)
            if not settings.again:
                dead_letters -= Ledger(store).sent(None)
            before = selected - len(dead_letters)
            if dead_letters:
                meter.follow(partial(annotating_again, run_channel, citations=len(dead_letters)))
                report = annotate_dead_letters(
                    AnnotatePlan(
                        store=store,
                        selection=settings.selection,
                        dead_letters=dead_letters,
                        checkpoints=checkpoints,
                        device=settings.device,
                        threads=settings.threads,
                        clock=utc_now,
                        channel=run_channel.worker_side,
                    )
                )
    return {
        "output": settings.output,
        "checkpoint_id": checkpoints.id,
        "letters": selected,
        "annotated": report.annotated,
        "sent_before": before,
        "failing": report.failing.total(),
        "failing_by_stage": dict(sorted(report.failing.items())),
        "blocks_written": report.blocks,
    }


def _print_list(settings: ListSettings, found: "DeadLetterList") -> None:
    from pipelines.dead_letters.display import time_text

    console = human_console(settings.json_file)
    total = found.counts.total()
    if not total:
        console.print("No dead letters.")
        return
    columns = ["source", "partition", "offset", "stage", "error type", "error", "bytes", "seen at"]
    print_table(
        console,
        [
            (
                line.source,
                line.partition,
                line.offset,
                line.stage,
                line.error_type,
                _shortened(safe_text(line.error)),
                f"{line.size:,}",
                time_text(line.seen_at) + (" (replayed)" if line.replayed else ""),
            )
            for line in found.lines
        ],
        columns=columns,
        right=[1, 2, 6],
        whole=[0, 1, 2, 3, 4, 6, 7] if console.is_terminal else range(8),
        cut=[5] if console.is_terminal else (),
    )
    kinds = sorted(found.counts.items(), key=lambda item: (-item[1], item[0]))
    print_table(
        console,
        [(stage, kind, f"{count:,}") for (stage, kind), count in kinds],
        columns=["stage", "error type", "dead letters"],
        right=[2],
    )
    console.print(f"{len(found.lines):,} of {total:,} shown.")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 1] + "…"


def _print_summary(settings: ReplaySettings, summary: dict[str, Any]) -> None:
    rows: list[tuple[str, object, str]] = [("dead letters", summary["letters"], "")]
    if settings.pipeline:
        rows += [
            ("annotated", summary["annotated"], f"written to {settings.output}"),
            ("failing still", summary["failing"], listing(summary["failing_by_stage"])),
            ("sent before", summary["sent_before"], "to a topic, so skipped (--again)"),
        ]
    else:
        rows += [
            ("sent", summary["sent"], f"to topic {settings.topic}"),
            ("sent before", summary["sent_before"], "so skipped (--again)"),
            ("no message", summary["no_message"], "records that still cannot be parsed"),
            ("refused", len(summary["refused"]), "by the broker"),
        ]
        for position, reason in list(summary["refused"].items())[:_MAX_REFUSED_SHOWN]:
            rows.append(("", "", f"{position}: {reason}"))
    print_figures(human_console(settings.json_file), rows, alarming=())
