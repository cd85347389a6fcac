"""`pubner train mlm`: its options, validated before heavy imports."""

from pydantic import Field

from training.encoders.names import MINILM
from training.recipes.mlm import MlmRecipe
from training.settings.train import RunOptions
from worker.cli.common_options import ComputeOptions, CorporaOptions, json_option
from worker.cli.paths import FilesToRead, OutputPath

_DEFAULT = MlmRecipe()


class MlmSettings(ComputeOptions, CorporaOptions, RunOptions):
    """Options of `pubner train mlm`."""

    texts: FilesToRead = Field(
        (), description="JSONL files, plain or gzip: one object per line with title and abstract"
    )
    corpus: tuple[str, ...] = Field(
        (), description="corpora whose training splits are added as text, without tags"
    )
    output: OutputPath = Field(
        description="folder for the encoder; an interrupted run resumes in it"
    )
    encoder: str = Field(MINILM, description="minilm, a folder, or a hub id")
    letter_case: bool = Field(
        True, description="the encoder reads letter-case classes as token types"
    )
    epochs: int = Field(_DEFAULT.epochs, description="passes over the text")
    max_steps: int = Field(0, description="maximum number of steps; 0: no limit")
    learning_rate: float = Field(_DEFAULT.learning_rate, description="peak learning rate")
    mask_share: float = Field(_DEFAULT.mask_share, description="fraction of words to mask")
    max_pieces: int = Field(_DEFAULT.max_pieces, description="longest window in word pieces")
    batch_pieces: int = Field(_DEFAULT.batch_pieces, description="word pieces of a batch")
    held_out: float = Field(
        _DEFAULT.held_out, description="fraction of documents held out for evaluation"
    )
    seed: int = Field(_DEFAULT.seed, description="seed of every random choice")
    half: bool = Field(False, description="write the encoder's weights as fp16, not fp32")
    json_file: str | None = json_option("held-out figures and cost")
