"""`pubner train mlm`: adapts an encoder to in-domain text, before fine-tuning."""

import os

from schemas.errors import SettingsError
from training.corpora.catalogue import Split
from training.corpora.corpus import corpora_root, require_corpora
from training.encoders.files import check_encoder
from training.recipes.mlm import MlmRecipe
from training.settings.mlm import MlmSettings
from worker.cli.command import command
from worker.cli.progress import show_loading


@command(MlmSettings, prog="pubner train mlm")
def run(settings: MlmSettings) -> int:
    """Train an encoder on in-domain text as a masked language model, before it learns to tag.

    Then: `pubner train stl|mtl --encoder OUTPUT`.


    :raises PubnerError: if an option, a text, the encoder or the output folder is unusable.
    """
    if not settings.texts and not settings.corpus:
        raise SettingsError("there is nothing to train on; name text with --texts or --corpus")
    for option, names in (("texts", settings.texts), ("corpus", settings.corpus)):
        if len(set(names)) != len(names):
            raise SettingsError(f"--{option} has a duplicate: {', '.join(names)}")
    recipe = MlmRecipe(
        epochs=settings.epochs,
        max_steps=settings.max_steps,
        learning_rate=settings.learning_rate,
        mask_share=settings.mask_share,
        max_pieces=settings.max_pieces,
        batch_pieces=settings.batch_pieces,
        letter_case=settings.letter_case,
        held_out=settings.held_out,
        seed=settings.seed,
    )
    check_encoder(settings.encoder)
    root = corpora_root(settings.data, os.environ)
    require_corpora(root, settings.corpus, (Split.TRAIN,), training=True)
    with show_loading():
        from training.jobs.mlm import train

    return train(settings, recipe)
