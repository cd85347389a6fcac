"""`pubner evaluate`: the scores of a checkpoint on corpora and documents."""

import os

from training.corpora.corpus import corpora_root, require_corpora
from training.settings.evaluate import EvaluateSettings
from worker.cli.command import command
from worker.cli.progress import show_loading


@command(EvaluateSettings, prog="pubner evaluate", positional="checkpoint")
def run(settings: EvaluateSettings) -> int:
    """Score a checkpoint's heads on a corpus split and on raw documents."""
    require_corpora(corpora_root(settings.data, os.environ), settings.corpus, (settings.split,))
    with show_loading():
        from training.jobs.evaluate import evaluate

    return evaluate(settings)
