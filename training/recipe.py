"""Recipes: every number that shapes a training run, under a name."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from schemas.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a checkpoint is trained.

    A batch is either `batch_windows` windows, or as many as fit `batch_pieces` word pieces with
    padding (when that is not 0). Windows are `min_sentences` to `max_sentences` consecutive
    sentences; a share `single_share` of them is single sentences. Corpora are drawn in proportion
    to size ** `sampling_exponent` (1 proportional, 0 uniform). The learning rate rises over
    `warmup` of the steps, then falls linearly to 0; the heads' is `head_rate_factor` times it.
    What is scored and exported is `blend_start` of the weights that training started from and the
    rest of the trained ones (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """

    name: str
    epochs: int = 3
    learning_rate: float = 5e-5
    head_rate_factor: float = 1.0
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip_norm: float = 1.0
    batch_windows: int = 8
    batch_pieces: int = 0
    dropout: float = 0.1
    attention_dropout: float = 0.1
    letter_case: bool = False
    min_sentences: int = 1
    max_sentences: int = 12
    single_share: float = 0.0
    max_pieces: int = 512
    sampling_exponent: float = 1.0
    blend_start: float = 0.0
    seed: int = 13

    def __post_init__(self) -> None:
        """Check the numbers against each other.

        :raises SettingsError: if one is out of its range.
        """
        rules = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "learning_rate": (0 < self.learning_rate < 1, "between 0 and 1"),
            "head_rate_factor": (self.head_rate_factor > 0, "more than 0"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "warmup": (0 <= self.warmup < 1, "from 0 up to 1"),
            "clip_norm": (self.clip_norm > 0, "more than 0"),
            "batch_windows": (self.batch_windows >= 1, "1 or more"),
            "batch_pieces": (
                self.batch_pieces == 0 or self.batch_pieces >= self.max_pieces,
                f"0, or at least max_pieces ({self.max_pieces})",
            ),
            "dropout": (0 <= self.dropout < 1, "from 0 up to 1"),
            "attention_dropout": (0 <= self.attention_dropout < 1, "from 0 up to 1"),
            "min_sentences": (
                1 <= self.min_sentences <= self.max_sentences,
                f"from 1 to max_sentences ({self.max_sentences})",
            ),
            "single_share": (0 <= self.single_share <= 1, "from 0 to 1"),
            "max_pieces": (self.max_pieces >= 16, "16 or more"),
            "sampling_exponent": (0 <= self.sampling_exponent <= 1, "from 0 to 1"),
            "blend_start": (0 <= self.blend_start < 1, "from 0 up to 1"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise SettingsError(
                    f"recipe {self.name!r}: {name} is {getattr(self, name)}, expected {expected}"
                )

    def values(self) -> dict[str, Any]:
        """Return every number of the recipe by name."""
        return asdict(self)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # What BioBERT v1.1 was fine-tuned with: sentences, eight a batch.
        Recipe("reference", max_sentences=1),
        # The default: windows of sentences, a rate that suits a small encoder.
        Recipe(
            "compact",
            epochs=3,
            learning_rate=3e-4,
            head_rate_factor=3.0,
            batch_pieces=2048,
            attention_dropout=0.0,
            letter_case=True,
            single_share=0.3,
        ),
        # What the shipped checkpoint was made with: this, then `shipped-finish` from its result.
        Recipe(
            "shipped",
            epochs=4,
            learning_rate=3e-4,
            head_rate_factor=3.0,
            batch_pieces=2048,
            attention_dropout=0.0,
            letter_case=True,
            single_share=0.3,
            sampling_exponent=0.5,
        ),
        # A second, lower rise and fall of the learning rate (a warm restart, Loshchilov and Hutter
        # 2017), with more single sentences, and a share of the first stage in the result.
        Recipe(
            "shipped-finish",
            epochs=2,
            learning_rate=2e-4,
            batch_pieces=2048,
            attention_dropout=0.0,
            letter_case=True,
            single_share=0.5,
            sampling_exponent=0.5,
            blend_start=0.3,
            seed=14,
        ),
    )
}


def find_recipe(name: str, **changes: float | bool | str | None) -> Recipe:
    """Return the recipe `name` with `changes`, those that are not None.

    :raises SettingsError: if there is no such recipe, or a change is out of range.
    """
    if name not in RECIPES:
        raise SettingsError(f"no recipe {name!r}: expected one of {', '.join(RECIPES)}")
    kept: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    return replace(RECIPES[name], **kept)
