"""`pubner retrain`: a retraining round, from corpora to a checkpoint that may be promoted."""

import sys
import time
from contextlib import ExitStack, redirect_stdout

from training.encoders.files import check_encoder
from training.retraining.record import open_round
from training.settings.retrain import ACTIVE, RetrainSettings
from worker.checkpoint.folder import resolve_checkpoint
from worker.cli.command import command, human_console, write_json
from worker.cli.progress import show_loading
from worker.registry.registry import open_registry
from worker.system.clock import utc_now

PROG = "pubner retrain"


@command(RetrainSettings, prog=PROG)
def run(settings: RetrainSettings) -> int:
    """Check the corpora, train, evaluate, publish, and ask the gate; with --promote go live.

    Run again, the same command resumes an interrupted round.

    :raises GateRefusedError: if the gate refuses the checkpoint (exit status 3).
    """
    if settings.encoder is not None and settings.encoder != ACTIVE:
        check_encoder(settings.encoder)
    for name in settings.teacher:
        if name != ACTIVE:
            resolve_checkpoint(name)
    with show_loading():
        from training.retraining.steps import Job, run_round

    registry = open_registry(settings.registry)
    registry.require_conditional("publish")
    with ExitStack() as stack:
        if settings.json_file == "-":
            stack.enter_context(redirect_stdout(sys.stderr))
        opened = open_round(settings.output, settings.frozen_options(), restart=settings.restart)
        job = Job(
            stack.enter_context(opened),
            registry,
            settings,
            human_console(settings.json_file),
            now=utc_now,
            clock=time.perf_counter,
        )
        outcome = run_round(job)
    if settings.json_file is not None and outcome.result is not None:
        write_json(outcome.result, settings.json_file)
    if outcome.refusal is not None:
        raise outcome.refusal
    return outcome.code
