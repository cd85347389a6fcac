"""`pubner train mlm`: its options, checked before anything is loaded."""

from pathlib import Path

from pydantic import Field

from training.encoders.names import MINILM
from training.recipes.mlm import MlmRecipe
from worker.cli.command import Settings
from worker.cli.devices import DeviceHere
from worker.cli.paths import FilesToRead, OutputPath

_DEFAULT = MlmRecipe()


class MlmSettings(Settings):
    """Options of `pubner train mlm`."""

    texts: FilesToRead = Field(
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
