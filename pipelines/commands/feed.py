"""The command `pubner feed`."""

import sys
from typing import TYPE_CHECKING, Any

from pipelines.settings.feed import FeedSettings
from pipelines.telemetry.library_logs import quiet
from worker.cli.command import command, human_console, listing, print_figures, write_json
from worker.cli.progress import Meter, show_loading, show_progress

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.feed.run import FeedReport


@command(FeedSettings, prog="pubner feed", positional="inputs")
def run(settings: FeedSettings) -> int:
    """Publish PubMed files to a Kafka topic: a message for each citation, with the PMID as key.

    Each deletion is a tombstone. Records that cannot be parsed or sent go to a Parquet data set of
    dead letters. An interrupted run resumes where it stopped when the same command is run again; a
    run that has ended sends everything again.
    """
    with quiet():
        return _feed(settings)


def _feed(settings: FeedSettings) -> int:
    with show_loading():
        from pipelines.sample import sample_path
        from pipelines.sources.inputs import resolve_inputs, warn_of_refused

    files = resolve_inputs(settings.inputs or (str(sample_path()),), settings.input_format)
    warn_of_refused(files)
    with show_loading():
        from pipelines.feed.dead_letters import BLOCK_SIZE
        from pipelines.feed.run import FeedPlan, run_feed
        from pipelines.feed.stopping import stopping
        from pipelines.kafka.topics import create_topic, describe
        from pipelines.output.manifest import open_output

    console = human_console(settings.json_file)
    if not settings.inputs:
        console.print(f"No input given: feeding the bundled sample, {sample_path().name}.")
    with show_progress(Meter()) as meter:
        access = settings.access()
        meter.begin("connecting to the broker")
        created = settings.create_topic and create_topic(
            access, settings.topic, partitions=settings.partitions, replication=settings.replication
        )
        cluster = describe(access, [settings.topic])
        with (
            open_output(settings.dead_letter_root, block_size=BLOCK_SIZE) as store,
            stopping() as request,
        ):
            report = run_feed(
                FeedPlan(
                    files=files,
                    format=settings.input_format,
                    access=access,
                    cluster=cluster,
                    topic=settings.topic,
                    store=store,
                    state_file=settings.state_file,
                    again=settings.again,
                    check=request.check,
                    meter=meter,
                )
            )
    if report.stopped:
        sys.stderr.write(
            f"pubner: stopped after {_sent(report):,} messages; run the same command again to "
            f"resume (progress is in {settings.state_file})\n"
        )
        return request.exit_code
    partitions = len(cluster.topics[settings.topic].partitions)
    summary = _summary(settings, report, partitions=partitions, created=created)
    write_json(summary, settings.json_file)
    _print_summary(console, summary)
    return 0


def _sent(report: "FeedReport") -> int:
    return report.citations + report.tombstones


def _summary(
    settings: FeedSettings, report: "FeedReport", *, partitions: int, created: bool
) -> dict[str, Any]:
    rate = _sent(report) / report.seconds if report.seconds > 0 else 0.0
    return {
        "citations": report.citations,
        "tombstones": report.tombstones,
        "dead_letters": sum(report.dead_letters.values()),
        "dead_letters_by_stage": dict(sorted(report.dead_letters.items())),
        "bytes": report.bytes,
        "seconds": round(report.seconds, 3),
        "messages_per_second": round(rate, 3),
        "files": report.files,
        "refused_files": report.refused_files,
        "skipped_files": report.skipped_files,
        "skipped_records": report.skipped_records,
        "topic": settings.topic,
        "topic_created": created,
        "partitions": partitions,
        "dead_letters_output": settings.dead_letter_root,
    }


def _print_summary(console: "Console", summary: dict[str, Any]) -> None:
    dead_letters = summary["dead_letters"]
    remark = f"{listing(summary['dead_letters_by_stage'])}; in {summary['dead_letters_output']}"
    rows: list[tuple[str, object, str]] = [
        ("citations", summary["citations"], f"{summary['bytes'] / 2**20:,.1f} MiB"),
        ("tombstones", summary["tombstones"], ""),
        ("dead letters", dead_letters, remark if dead_letters else ""),
    ]
    if summary["refused_files"]:
        remark = "refused: unreadable, or not matching their .md5 files"
        rows.append(("files", summary["refused_files"], remark))
    if summary["skipped_files"] or summary["skipped_records"]:
        remark = f"records, and {summary['skipped_files']:,} files: sent by the interrupted run"
        rows.append(("sent before", summary["skipped_records"], remark))
    rows += [
        ("messages/s", round(summary["messages_per_second"]), ""),
        ("seconds", summary["seconds"], ""),
        ("topic", "", f"{summary['topic']}, {summary['partitions']} partitions"),
    ]
    print_figures(console, rows, alarming=("dead letters", "files"))
