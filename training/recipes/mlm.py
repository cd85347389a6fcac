"""The hyperparameters of masked-language-model training."""

from dataclasses import asdict, dataclass
from typing import Any

from schemas.errors import SettingsError


@dataclass(frozen=True, slots=True)
class MlmRecipe:
    """The hyperparameters of MLM training.

    Windows have at most `max_pieces` word pieces, and a fraction `mask_share` of their words is
    masked; a batch has as many windows as fit `batch_pieces` with padding. The learning
    rate rises over `warmup` of the steps, then falls linearly to 0. `max_steps` ends the run (and
    the fall of the rate) earlier than `epochs`, unless it is 0. A fraction `held_out` of the
    documents is used for evaluation only.
    """

    epochs: int = 10
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    warmup: float = 0.06
    clip_norm: float = 1.0
    mask_share: float = 0.15
    max_pieces: int = 256
    batch_pieces: int = 8192
    max_steps: int = 0
    dropout: float = 0.1
    attention_dropout: float = 0.1
    letter_case: bool = True
    held_out: float = 0.01
    seed: int = 13

    def __post_init__(self) -> None:
        """Check the range of each value.

        :raises SettingsError: if a value is out of range.
        """
        rules = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "learning_rate": (0 < self.learning_rate < 1, "between 0 and 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "warmup": (0 <= self.warmup < 1, "from 0 up to 1"),
            "clip_norm": (self.clip_norm > 0, "more than 0"),
            "mask_share": (0 < self.mask_share < 1, "between 0 and 1"),
            "max_pieces": (self.max_pieces >= 16, "16 or more"),
            "batch_pieces": (
                self.batch_pieces >= self.max_pieces,
                f"at least max_pieces ({self.max_pieces})",
            ),
            "max_steps": (self.max_steps >= 0, "0 or more"),
            "dropout": (0 <= self.dropout < 1, "from 0 up to 1"),
            "attention_dropout": (0 <= self.attention_dropout < 1, "from 0 up to 1"),
            "held_out": (0 < self.held_out < 1, "between 0 and 1"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise SettingsError(
                    f"masked-language-model training: {name} is {getattr(self, name)}, expected "
                    f"{expected}"
                )

    def values(self) -> dict[str, Any]:
        """Return all values of the recipe by name."""
        return asdict(self)
