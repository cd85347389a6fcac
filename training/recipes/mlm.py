"""The hyperparameters of masked-language-model training."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic.dataclasses import dataclass

from training.recipes.values import (
    Amount,
    BelowOne,
    Checked,
    Count,
    Inside,
    Length,
    Positive,
    Whole,
)


@dataclass(frozen=True)
class MlmRecipe(Checked):
    """The hyperparameters of MLM training.

    Windows have at most `max_pieces` word pieces, and a fraction `mask_share` of their words is
    masked; a batch has as many windows as fit `batch_pieces` with padding. The learning
    rate rises over `warmup` of the steps, then falls linearly to 0. `max_steps` ends the run (and
    the fall of the rate) earlier than `epochs`, unless it is 0. A fraction `held_out` of the
    documents is used for evaluation only.
    """

    TITLE: ClassVar[str] = "masked-language-model training"

    epochs: Count = 10
    learning_rate: Inside = 3e-4
    weight_decay: Amount = 0.01
    warmup: BelowOne = 0.06
    clip_norm: Positive = 1.0
    mask_share: Inside = 0.15
    max_pieces: Length = 256
    batch_pieces: int = 8192
    max_steps: Whole = 0
    dropout: BelowOne = 0.1
    attention_dropout: BelowOne = 0.1
    letter_case: bool = True
    held_out: Inside = 0.01
    seed: Whole = 13

    def rules(self) -> Iterable[tuple[str, bool, str]]:
        """Return the rules over several values."""
        fits = self.batch_pieces >= self.max_pieces
        yield "batch_pieces", fits, f"at least max_pieces ({self.max_pieces})"
