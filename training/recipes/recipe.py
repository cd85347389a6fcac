"""Named sets of fine-tuning hyperparameters."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from schemas.errors import SettingsError
from training.recipes.values import (
    Amount,
    BelowOne,
    Checked,
    Count,
    Factor,
    Fraction,
    Inside,
    Length,
    OptionalFraction,
    Positive,
    Whole,
)


@dataclass(frozen=True)
class Recipe(Checked):
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
    epochs: Count = 3
    learning_rate: Inside = 5e-5
    head_rate_factor: Positive = 1.0
    weight_decay: Amount = 0.01
    warmup: BelowOne = 0.1
    clip_norm: Positive = 1.0
    batch_windows: Count = 8
    batch_pieces: int = 0
    dropout: BelowOne = 0.1
    attention_dropout: BelowOne = 0.1
    letter_case: bool = False
    min_sentences: int = 1
    max_sentences: int = 12
    single_share: Fraction = 0.0
    max_pieces: Length = 512
    sampling_exponent: Fraction = 1.0
    sampling_exponent_end: OptionalFraction = None
    uncertainty_weighting: bool = False
    mention_replacement: Fraction = 0.0
    token_replacement: Fraction = 0.0
    segment_shuffle: Fraction = 0.0
    fgm: Amount = 0.0
    layer_decay: Factor = 1.0
    ema: BelowOne = 0.0
    distil_weight: Fraction = 0.0
    pseudo_weight: Amount = 0.0
    pseudo_threshold: Fraction = 0.0
    text_share: Fraction = 1.0
    blend_start: BelowOne = 0.0
    seed: Whole = 13

    def rules(self) -> Iterable[tuple[str, bool, str]]:
        """Return the rules over several values."""
        fits = self.batch_pieces == 0 or self.batch_pieces >= self.max_pieces
        yield "batch_pieces", fits, f"0, or at least max_pieces ({self.max_pieces})"
        fits = 1 <= self.min_sentences <= self.max_sentences
        yield "min_sentences", fits, f"from 1 to max_sentences ({self.max_sentences})"

    @property
    def augments(self) -> bool:
        """Whether any sentence is augmented."""
        return bool(self.mention_replacement or self.token_replacement or self.segment_shuffle)

    @property
    def learns_from_teachers(self) -> bool:
        """Whether training uses soft labels."""
        return self.distil_weight > 0 or self.pseudo_weight > 0


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
        name: field.annotation.__name__
        if isinstance(field.annotation, type)
        else str(field.annotation)
        for name, field in Recipe.__pydantic_fields__.items()  # type: ignore[attr-defined]
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
