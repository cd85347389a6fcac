"""Named sets of fine-tuning hyperparameters."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from schemas.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Recipe:
    """The hyperparameters of a fine-tuning run.

    A batch is either `batch_windows` windows, or as many as fit `batch_pieces` word pieces with
    padding (when that is not 0). Windows are `min_sentences` to `max_sentences` consecutive
    sentences; a fraction `single_share` of them are single sentences. Corpora are drawn in
    proportion to size ** `sampling_exponent` (1 proportional, 0 uniform). The learning rate rises
    over `warmup` of the steps, then falls linearly to 0; the heads' rate is `head_rate_factor`
    times it. The scored and exported weights are the interpolation `blend_start` * initial weights
    + (1 - `blend_start`) * trained weights (Wortsman et al. 2022, "Robust fine-tuning of zero-shot
    models").

    Sampling: if `sampling_exponent_end` is given, the exponent moves linearly to it by the last
    epoch (annealed sampling, Stickland and Murray 2019). `uncertainty_weighting` learns a loss
    weight per head (Kendall et al. 2018).

    Augmentation, each the fraction of sentences it is applied to (Dai and Adel 2020):
    `mention_replacement`, `token_replacement`, `segment_shuffle`.

    Regularisation: `fgm` is the norm of the adversarial perturbation of the word embeddings (Miyato
    et al. 2017), `layer_decay` the factor between the learning rates of a layer and the one above
    it (Howard and Ruder 2018), `ema` the decay per step of the averaged weights that are scored and
    exported (Polyak and Juditsky 1992).

    Soft labels from teachers (Hinton et al. 2015): `distil_weight` is their weight in the loss of a
    corpus's own head, against gold; `pseudo_weight` the weight of the loss of the other heads, and
    of all heads on texts without gold, at pieces where the teachers' best tag has a probability of
    at least `pseudo_threshold`. `text_share` is the fraction of the texts in an epoch.
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
    sampling_exponent_end: float | None = None
    uncertainty_weighting: bool = False
    mention_replacement: float = 0.0
    token_replacement: float = 0.0
    segment_shuffle: float = 0.0
    fgm: float = 0.0
    layer_decay: float = 1.0
    ema: float = 0.0
    distil_weight: float = 0.0
    pseudo_weight: float = 0.0
    pseudo_threshold: float = 0.0
    text_share: float = 1.0
    blend_start: float = 0.0
    seed: int = 13

    def __post_init__(self) -> None:
        """Check the range of each value.

        :raises SettingsError: if a value is out of range.
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
            "sampling_exponent_end": (
                self.sampling_exponent_end is None or 0 <= self.sampling_exponent_end <= 1,
                "from 0 to 1",
            ),
            "mention_replacement": (0 <= self.mention_replacement <= 1, "from 0 to 1"),
            "token_replacement": (0 <= self.token_replacement <= 1, "from 0 to 1"),
            "segment_shuffle": (0 <= self.segment_shuffle <= 1, "from 0 to 1"),
            "fgm": (self.fgm >= 0, "0 or more"),
            "layer_decay": (0 < self.layer_decay <= 1, "more than 0, 1 at most"),
            "ema": (0 <= self.ema < 1, "from 0 up to 1"),
            "distil_weight": (0 <= self.distil_weight <= 1, "from 0 to 1"),
            "pseudo_weight": (self.pseudo_weight >= 0, "0 or more"),
            "pseudo_threshold": (0 <= self.pseudo_threshold <= 1, "from 0 to 1"),
            "text_share": (0 <= self.text_share <= 1, "from 0 to 1"),
            "blend_start": (0 <= self.blend_start < 1, "from 0 up to 1"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise SettingsError(
                    f"recipe {self.name!r}: {name} is {getattr(self, name)}, expected {expected}"
                )

    @property
    def augments(self) -> bool:
        """Whether any sentence is augmented."""
        return bool(self.mention_replacement or self.token_replacement or self.segment_shuffle)

    @property
    def learns_from_teachers(self) -> bool:
        """Whether training uses soft labels."""
        return self.distil_weight > 0 or self.pseudo_weight > 0

    def values(self) -> dict[str, Any]:
        """Return all values of the recipe by name."""
        return asdict(self)


_COMPACT = Recipe(
    "compact",
    epochs=3,
    learning_rate=3e-4,
    head_rate_factor=3.0,
    batch_pieces=2048,
    attention_dropout=0.0,
    letter_case=True,
    single_share=0.3,
)
_SHORT_TEACHER = replace(_COMPACT, name="short-teacher", sampling_exponent=0.5, ema=0.998)
WITH_TEACHERS: dict[str, Any] = {"distil_weight": 0.5, "pseudo_weight": 1.0}
"""The values that recipes with teachers change."""

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # The fine-tuning settings of BioBERT v1.1: single sentences, eight per batch.
        Recipe("reference", max_sentences=1),
        # The default: windows of sentences, a learning rate for a small encoder.
        _COMPACT,
        # The teachers of the shipped checkpoint, several seeds, on an encoder adapted by masked
        # language modelling.
        replace(
            _SHORT_TEACHER,
            name="shipped-teacher",
            epochs=8,
            learning_rate=4e-4,
            batch_pieces=4096,
        ),
        # The shipped checkpoint: the best teacher on devel is trained further with adversarial
        # perturbation (FGM) and soft labels from all teachers on all text.
        replace(
            _SHORT_TEACHER,
            name="shipped",
            epochs=1,
            learning_rate=2e-4,
            head_rate_factor=1.0,
            single_share=0.4,
            fgm=0.5,
            ema=0.99,
            layer_decay=0.9,
            seed=14,
            **WITH_TEACHERS,
        ),
        # A cheaper variant, three hours on two cores: fewer epochs, one stage less.
        _SHORT_TEACHER,
        replace(_SHORT_TEACHER, name="short", epochs=4, text_share=0.2, **WITH_TEACHERS),
    )
}


def find_recipe(name: str, **changes: float | bool | str | None) -> Recipe:
    """Return the recipe `name` with `changes`, those that are not None.

    :param name: one of `RECIPES`, or a JSON file with a recipe's values, alone or under the key
        `recipe` (as a checkpoint's manifest and a search's `best.json` have them)
    :raises SettingsError: if there is no such recipe, or a change is out of range.
    """
    kept: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    if name in RECIPES:
        return replace(RECIPES[name], **kept)
    if not name.endswith(".json"):
        raise SettingsError(
            f"no recipe {name!r}: expected one of {', '.join(RECIPES)}, or a .json file"
        )
    return replace(read_recipe(Path(name)), **kept)


def read_recipe(path: Path) -> Recipe:
    """Return the recipe in a JSON file.

    :raises SettingsError: if it cannot be read, or a value is unknown or of the wrong kind.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"the recipe {str(path)!r} cannot be read: {error}") from error
    if isinstance(values, dict) and isinstance(values.get("recipe"), dict):
        values = values["recipe"]
    if not isinstance(values, dict):
        raise SettingsError(f"the recipe {str(path)!r} is no JSON object of a recipe's values")
    return Recipe(**check_values({"name": path.stem, **values}, str(path)))


def changes_of(assignments: Sequence[str]) -> dict[str, Any]:
    """Parse assignments such as `dropout=0.2`.

    :raises SettingsError: if one has another form, or its name or value does not fit a recipe.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set {assignment!r}: expected NAME=VALUE, such as dropout=0.2")
        name = name.strip().replace("-", "_")
        try:
            values[name] = json.loads(text)
        except ValueError:
            raise SettingsError(
                f"--set {assignment!r}: expected a number, true, false or null"
            ) from None
    return check_values(values, "--set")


def check_values(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return `values` if all are fields of a recipe, with the right type.

    :raises SettingsError: if not.
    """
    kinds = {
        field.name: field.type.__name__ if isinstance(field.type, type) else str(field.type)
        for field in fields(Recipe)
    }
    for name, value in values.items():
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(f"{where}: a recipe has no {name!r}{hint}")
        kind = kinds[name]
        fits = {
            "str": isinstance(value, str),
            "bool": isinstance(value, bool),
            "int": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, int | float) and not isinstance(value, bool),
        }[kind.partition(" | ")[0]]
        if not fits and not (value is None and kind.endswith("None")):
            raise SettingsError(f"{where}: {name} is {json.dumps(value)}, expected {kind}")
    return dict(values)
