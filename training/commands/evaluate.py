"""`pubner evaluate`: the scores of a checkpoint on corpora and documents."""

import os
from collections.abc import Sequence

from training.corpora.corpus import corpora_root, require_corpora
from training.settings.evaluate import EvaluateSettings
from worker.cli.command import parse_settings
from worker.cli.progress import show_loading


def run(argv: Sequence[str]) -> int:
    """Run `pubner evaluate`; return the exit status."""
    settings = parse_settings(
        EvaluateSettings,
        argv,
        prog="pubner evaluate",
        description="Score a checkpoint's heads on a corpus split and on raw documents.",
        positional="checkpoint",
    )
    require_corpora(corpora_root(settings.data, os.environ), settings.corpus, (settings.split,))
    with show_loading():
        from training.jobs.evaluate import evaluate

    return evaluate(settings)
