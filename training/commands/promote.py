"""`pubner checkpoint promote`: makes a published checkpoint active, if it passes the gate."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from training.corpora.corpus import corpora_root
from training.gate.options import GateSettings
from training.reports.progress import show_work
from worker.cli.command import command, human_console, write_json
from worker.cli.common_options import REGISTRY, WhoOptions, json_option, reason
from worker.cli.paths import ExistingFolder
from worker.cli.progress import show_loading
from worker.registry.registry import open_registry
from worker.registry.who import default_who
from worker.system.clock import utc_now

PROG = "pubner checkpoint promote"


class PromoteSettings(GateSettings, WhoOptions):
    """The options of `pubner checkpoint promote`."""

    id: str = Field(description="the candidate's id in the registry, or the beginning of it")
    registry: ExistingFolder = Field(description=REGISTRY)
    why: Annotated[str, AfterValidator(reason)] = Field(
        min_length=1, description="reason, recorded in the history"
    )
    corpus: tuple[str, ...] = Field(
        (),
        description="corpora to score both checkpoints on (default: the existing ones of "
        "their heads; none if --documents is given)",
    )
    force: Annotated[str | None, AfterValidator(reason)] = Field(
        None,
        min_length=1,
        description="promote it even if the gate refuses, for this reason; a damaged checkpoint "
        "is never promoted",
    )
    dry_run: bool = Field(False, description="judge only: nothing in the registry changes")
    html: Path | None = Field(
        None, description="write the report's page here too, as with --dry-run"
    )
    json_file: str | None = json_option("the report")


def promote(settings: PromoteSettings, clock: Callable[[], float] = time.perf_counter) -> None:
    """Compare a published checkpoint with the active one, and make it active if it passes.

    It passes unless it is worse, slower or more different than is tolerated.

    :raises GateRefusedError: if a tolerance is broken (exit status 3); the report is kept.
    """
    with show_loading():
        from training.gate.page import render_page
        from training.gate.report import report_json
        from training.gate.running import Candidacy, go_live, keep_report, require_passed, run_gate
        from training.gate.tables import print_gate
        from training.reports.pages import require_writable, write_text

    registry = open_registry(settings.registry)
    if not settings.dry_run:
        registry.require_conditional("promote")
    if settings.html is not None:
        require_writable(settings.html)
    pointer = registry.pointer()
    candidate = registry.find(settings.id)
    console = human_console(settings.json_file)
    if pointer.active is not None and pointer.active.id == candidate:
        console.print(
            f"{candidate} is active already, since {pointer.active.when:%Y-%m-%d %H:%M} UTC; "
            "nothing was changed.",
            soft_wrap=True,
        )
        write_json({"id": candidate, "promoted": False, "verdict": None}, settings.json_file)
        return
    request = Candidacy(
        registry,
        pointer,
        candidate,
        who=settings.who or default_who(),
        why=settings.why,
        when=utc_now(),
        root=corpora_root(settings.data, os.environ),
        corpora=settings.corpus,
        force=settings.force,
    )
    with show_work(console) as work, work.stage("judging"), work.sequence("texts") as watch:
        report = run_gate(request, settings, clock=clock, watch=watch)
    print_gate(report, console)
    if settings.html is not None:
        write_text(settings.html, render_page(report))
    place = None if settings.dry_run else keep_report(registry, report)
    change = None
    try:
        where = "Nothing was kept (--dry-run)."
        if place is not None:
            where = f"The report is {registry.root}/{place} and the .html beside it."
        require_passed(report, where)
        if place is not None:
            forced = report.verdict == "forced"
            change = go_live(request, place, forced=forced, now=utc_now)
    finally:
        write_json(
            {
                "id": candidate,
                "promoted": change is not None,
                "report": place,
                **report_json(report),
            },
            settings.json_file,
        )
    if change is None:
        by_force = " by force" if report.breaches else ""
        console.print(
            f"{candidate} would be let through{by_force}; nothing was changed (--dry-run).",
            soft_wrap=True,
        )
    else:
        console.print(
            f"{candidate} is active{', by force' if change.forced else ''}; it "
            f"replaces {change.previous or 'none'}. {where}",
            soft_wrap=True,
        )


run = command(PromoteSettings, prog=PROG, positional="id")(promote)
