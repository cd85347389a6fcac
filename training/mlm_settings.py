"""`pubner train mlm`: its options, checked before anything is loaded."""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from schemas.errors import SettingsError
from training.corpora.catalogue import Split
from training.corpora.corpus import corpora_root, require_corpora
from training.encoder_names import MINILM, encoder_folder
from training.mlm.recipe import MlmRecipe
from worker.command import Settings, parse_settings
from worker.devices import DeviceHere
from worker.paths import OutputPath, file_to_read
from worker.progress import show_loading

_DEFAULT = MlmRecipe()


class MlmSettings(Settings):
    """Options of `pubner train mlm`."""

    texts: tuple[str, ...] = Field(
        (), description="JSONL files, plain or gzip: an object a line with title and abstract"
    )
    corpus: tuple[str, ...] = Field(
        (), description="corpora whose training splits are text too, without their tags"
    )
    output: OutputPath = Field(description="folder for the encoder; a broken run goes on in it")
    data: Path | None = Field(None, description="folder of the corpora")
    encoder: str = Field(MINILM, description="minilm, a folder, or a hub id")
    letter_case: bool = Field(
        True, description="the encoder reads letter-case classes as token types"
    )
    epochs: int = Field(_DEFAULT.epochs, description="times that all text is read")
    max_steps: int = Field(0, description="end earlier, after so many steps; 0: do not")
    learning_rate: float = Field(_DEFAULT.learning_rate, description="highest learning rate")
    mask_share: float = Field(_DEFAULT.mask_share, description="share of words to guess")
    max_pieces: int = Field(_DEFAULT.max_pieces, description="longest window in word pieces")
    batch_pieces: int = Field(_DEFAULT.batch_pieces, description="word pieces of a batch")
    held_out: float = Field(
        _DEFAULT.held_out, description="share of documents to measure with, not to train on"
    )
    seed: int = Field(_DEFAULT.seed, description="seed of every random choice")
    half: bool = Field(False, description="write the encoder's weights as fp16, not fp32")
    device: DeviceHere = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int | None = Field(
        None, ge=1, description="CPU threads; default: the library's choice"
    )
    save_seconds: float = Field(300.0, ge=0, description="seconds between two saved states")
    restart: bool = Field(False, description="throw away what the output folder holds")
    json_file: str | None = Field(
        None, description="write held-out figures and cost as JSON; - for stdout"
    )


def run(argv: Sequence[str]) -> int:
    """Run `pubner train mlm`; return the exit code.

    :raises PubnerError: if an option, a text, the encoder or the output folder will not do.
    """
    settings = parse_settings(
        MlmSettings,
        argv,
        prog="pubner train mlm",
        description="Train an encoder on in-domain text as a masked language model, before it "
        "learns to tag: `pubner train stl|mtl --encoder OUTPUT`.",
    )
    if not settings.texts and not settings.corpus:
        raise SettingsError("there is nothing to train on; name text with --texts or --corpus")
    for option, names in (("texts", settings.texts), ("corpus", settings.corpus)):
        if len(set(names)) != len(names):
            raise SettingsError(f"--{option} names one twice: {', '.join(names)}")
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
    encoder_folder(settings.encoder)
    for name in settings.texts:
        try:
            file_to_read(Path(name))
        except ValueError as error:
            raise SettingsError(f"option --texts {name!r}: {error}") from None
    require_corpora(corpora_root(settings.data, os.environ), settings.corpus, (Split.TRAIN,))
    with show_loading():
        from training.mlm_command import train

    return train(settings, recipe)
