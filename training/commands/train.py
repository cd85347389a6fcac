"""`pubner train stl` and `pubner train mtl`: fine-tune an encoder on one or several corpora."""

import os

from schemas.errors import SettingsError
from training.corpora.catalogue import Split
from training.corpora.corpus import corpora_root, require_corpora
from training.encoders.files import check_encoder
from training.settings.train import TrainSettings, recipe_of
from worker.checkpoint.folder import resolve_checkpoint
from worker.cli.command import command
from worker.cli.progress import show_loading


@command(TrainSettings, prog="pubner train stl")
def stl(settings: TrainSettings) -> int:
    """Fine-tune an encoder on one corpus (single-task)."""
    if len(settings.corpus) != 1:
        raise SettingsError(
            f"--corpus names {len(settings.corpus)} corpora, expected one (such as ncbi-disease); "
            "for several use: pubner train mtl"
        )
    return _train(settings)


@command(TrainSettings, prog="pubner train mtl")
def mtl(settings: TrainSettings) -> int:
    """Fine-tune a shared encoder on several corpora, one head each (multi-task)."""
    names = settings.corpus or ("ncbi-disease", "bc5cdr", "bc2gm", "jnlpba")
    if len(set(names)) != len(names):
        raise SettingsError(f"--corpus names a corpus twice: {', '.join(names)}")
    return _train(settings.model_copy(update={"corpus": names}))


def _train(settings: TrainSettings) -> int:
    """Validate as much as possible before heavy imports, then train."""
    recipe_of(settings)
    check_encoder(settings.encoder)
    for name in settings.teacher:
        resolve_checkpoint(name)
    root = corpora_root(settings.data, os.environ)
    require_corpora(root, settings.corpus, (Split.TRAIN, Split.DEVEL), training=True)
    with show_loading():
        from training.jobs.train import train

    return train(settings)
