"""`pubner tune`: a hyperparameter search on devel."""

import os

from schemas.errors import SettingsError
from training.corpora.catalogue import Split
from training.corpora.corpus import corpora_root, require_corpora
from training.encoders.files import check_encoder
from training.settings.tune import TuneSettings, recipe_of
from worker.cli.command import command
from worker.cli.progress import show_loading


@command(TuneSettings, prog="pubner tune")
def run(settings: TuneSettings) -> int:
    """Search for the best hyperparameters of a recipe on devel.

    Run again, the same command resumes; several processes may share one study.
    """
    if not settings.corpus:
        raise SettingsError("--corpus is missing; name one or several, such as ncbi-disease,bc5cdr")
    if len(set(settings.corpus)) != len(settings.corpus):
        raise SettingsError(f"--corpus names a corpus twice: {', '.join(settings.corpus)}")
    recipe_of(settings)
    check_encoder(settings.encoder)
    root = corpora_root(settings.data, os.environ)
    require_corpora(root, settings.corpus, (Split.TRAIN, Split.DEVEL), training=True)
    with show_loading():
        from training.jobs.tune import tune

    return tune(settings)
