"""The search space: which numbers of a recipe a search may change, and between which bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from schemas.errors import SettingsError
from training.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Dimension:
    """One number of the recipe, drawn from `low` to `high`, both of them included.

    `name` is the recipe's field. `log` draws evenly over magnitudes, `whole` whole numbers alone.
    """

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def option(self) -> str:
        """The name as the command line has it."""
        return self.name.replace("_", "-")

    def distribution(self) -> BaseDistribution:
        """Return what Optuna draws from."""
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


SPACE: tuple[Dimension, ...] = (
    # BERT-base is fine-tuned at 2e-5 to 5e-5 (Devlin et al. 2019), a small encoder at ten times it.
    Dimension("learning_rate", 1e-5, 1e-3, log=True),
    # Heads start from random weights, so theirs is higher; 1 is one rate for all.
    Dimension("head_rate_factor", 1.0, 30.0, log=True),
    # Word pieces a batch, padding included.
    Dimension("batch_pieces", 1024, 8192, log=True, whole=True),
    # 0 draws every corpus equally often, 1 in proportion to its size.
    Dimension("sampling_exponent", 0.0, 1.0),
    Dimension("dropout", 0.0, 0.3),
    Dimension("epochs", 2, 8, whole=True),
)
"""What `pubner tune` may change, and the bounds that it keeps to unless told otherwise."""


def choose_space(
    words: Sequence[str], recipe: Recipe, *, corpora: int, fixed: Sequence[str] = ()
) -> tuple[Dimension, ...]:
    """Return the dimensions that `words` ask for, in the table's order; all where there are none.

    A word is `name` or `name=LOW:HIGH`. Left out unless asked for are those in `fixed`, and the
    sampling exponent where there is one corpus.

    :param corpora: how many corpora are trained on
    :param fixed: fields of the recipe that the user has set
    :raises SettingsError: if a word names no dimension, one twice, or bounds that the recipe
        cannot have.
    """
    chosen: dict[str, Dimension] = {}
    for word in words:
        dimension = _parse(word)
        if dimension.name in chosen:
            raise SettingsError(f"--tune {word!r}: {dimension.option} is named twice")
        if dimension.name in fixed:
            raise SettingsError(
                f"--tune {word!r}: --{dimension.option} gives it one value already; leave one out"
            )
        if dimension.name == "sampling_exponent" and corpora == 1:
            raise SettingsError(f"--tune {word!r}: it shapes nothing where there is one corpus")
        chosen[dimension.name] = dimension
    if not words:
        chosen = {
            dimension.name: dimension
            for dimension in SPACE
            if dimension.name not in fixed
            and (dimension.name != "sampling_exponent" or corpora > 1)
        }
    for dimension in chosen.values():
        _check(dimension, recipe)
    return tuple(chosen[known.name] for known in SPACE if known.name in chosen)


def _parse(word: str) -> Dimension:
    name, equals, bounds = word.partition("=")
    known = {dimension.option: dimension for dimension in SPACE}
    dimension = known.get(name.strip().replace("_", "-"))
    if dimension is None:
        raise SettingsError(
            f"--tune {word!r}: expected one of {', '.join(known)}, bare or with =LOW:HIGH behind it"
        )
    if not equals:
        return dimension
    kind = int if dimension.whole else float
    try:
        low, high = (kind(bound) for bound in bounds.split(":"))
    except ValueError:
        raise SettingsError(
            f"--tune {word!r}: expected two {'whole numbers' if dimension.whole else 'numbers'}, "
            f"such as {dimension.option}={dimension.low:g}:{dimension.high:g}"
        ) from None
    if not low < high:
        raise SettingsError(f"--tune {word!r}: expected a lower bound below the upper one")
    if dimension.log and low <= 0:
        raise SettingsError(f"--tune {word!r}: expected bounds above 0, since magnitudes are drawn")
    return replace(dimension, low=low, high=high)


def _check(dimension: Dimension, recipe: Recipe) -> None:
    for bound in (dimension.low, dimension.high):
        try:
            replace(recipe, **_value(dimension, bound))
        except SettingsError as error:
            raise SettingsError(
                f"--tune {dimension.option}={dimension.low:g}:{dimension.high:g}: {error}"
            ) from None


def _value(dimension: Dimension, value: float) -> dict[str, Any]:
    return {dimension.name: int(value) if dimension.whole else value}


def distributions(space: Sequence[Dimension]) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions by field of the recipe."""
    return {dimension.name: dimension.distribution() for dimension in space}


def starting_values(space: Sequence[Dimension], recipe: Recipe) -> dict[str, float]:
    """Return the recipe's own values, those that lie within the space."""
    own = {dimension: getattr(recipe, dimension.name) for dimension in space}
    return {
        dimension.name: value
        for dimension, value in own.items()
        if dimension.low <= value <= dimension.high
    }


def apply_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Return `recipe` with the values that a trial drew."""
    return replace(recipe, **values)


def show_values(values: Mapping[str, Any]) -> str:
    """Return values as a person reads them: `learning-rate 0.00031, epochs 3`."""
    return ", ".join(
        f"{name.replace('_', '-')} {show_value(value)}" for name, value in values.items()
    )


def show_value(value: Any) -> str:  # noqa: ANN401 (a recipe's number of any kind)
    """Return one value to three digits, whole numbers whole."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
