"""The search space: the hyperparameters of a recipe to search, and their bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from schemas.errors import SettingsError
from training.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Dimension:
    """One hyperparameter of the recipe, drawn from `low` to `high`, both included.

    `name` is the recipe's field. `log` draws log-uniformly, `whole` draws integers.
    """

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def option(self) -> str:
        """The name on the command line."""
        return self.name.replace("_", "-")

    def distribution(self) -> BaseDistribution:
        """Return the Optuna distribution."""
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


SPACE: tuple[Dimension, ...] = (
    # BERT-base is fine-tuned at 2e-5 to 5e-5 (Devlin et al. 2019), a small encoder at ten times
    # that.
    Dimension("learning_rate", 1e-5, 1e-3, log=True),
    # Heads start from random weights, so their rate is higher; at 1 all have the same rate.
    Dimension("head_rate_factor", 1.0, 30.0, log=True),
    # Word pieces a batch, padding included.
    Dimension("batch_pieces", 1024, 8192, log=True, whole=True),
    # 0 draws every corpus equally often, 1 in proportion to its size.
    Dimension("sampling_exponent", 0.0, 1.0),
    Dimension("dropout", 0.0, 0.3),
    Dimension("epochs", 2, 8, whole=True),
)
"""The dimensions of `pubner tune`, with their default bounds."""


def choose_space(
    selections: Sequence[str], recipe: Recipe, *, corpora: int, fixed: Sequence[str] = ()
) -> tuple[Dimension, ...]:
    """Return the dimensions in `selections`, in the order of `SPACE`; all if there are none.

    Each choice is `name` or `name=LOW:HIGH`. Unless selected, dimensions in `fixed` are omitted,
    and the sampling exponent if there is one corpus.

    :param corpora: the number of training corpora
    :param fixed: fields of the recipe that the user has set on the command line
    :raises SettingsError: if one names no dimension, one is repeated, or bounds are invalid for
        the recipe.
    """
    chosen: dict[str, Dimension] = {}
    for choice in selections:
        dimension = _parse(choice)
        if dimension.name in chosen:
            raise SettingsError(f"--tune {choice!r}: {dimension.option} is named twice")
        if dimension.name in fixed:
            raise SettingsError(
                f"--tune {choice!r}: --{dimension.option} gives it one value already; leave one out"
            )
        if dimension.name == "sampling_exponent" and corpora == 1:
            raise SettingsError(f"--tune {choice!r}: it has no effect with one corpus")
        chosen[dimension.name] = dimension
    if not selections:
        chosen = {
            dimension.name: dimension
            for dimension in SPACE
            if dimension.name not in fixed
            and (dimension.name != "sampling_exponent" or corpora > 1)
        }
    for dimension in chosen.values():
        _check(dimension, recipe)
    return tuple(chosen[known.name] for known in SPACE if known.name in chosen)


def _parse(choice: str) -> Dimension:
    name, equals, bounds = choice.partition("=")
    known = {dimension.option: dimension for dimension in SPACE}
    dimension = known.get(name.strip().replace("_", "-"))
    if dimension is None:
        raise SettingsError(
            f"--tune {choice!r}: expected one of {', '.join(known)}, alone or followed by =LOW:HIGH"
        )
    if not equals:
        return dimension
    kind = int if dimension.whole else float
    try:
        low, high = (kind(bound) for bound in bounds.split(":"))
    except ValueError:
        raise SettingsError(
            f"--tune {choice!r}: expected two {'whole numbers' if dimension.whole else 'numbers'}, "
            f"such as {dimension.option}={dimension.low:g}:{dimension.high:g}"
        ) from None
    if not low < high:
        raise SettingsError(f"--tune {choice!r}: expected a lower bound below the upper one")
    if dimension.log and low <= 0:
        raise SettingsError(
            f"--tune {choice!r}: expected bounds above 0, since it is drawn log-uniformly"
        )
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
    """Return the recipe's own values that lie within the space."""
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
    """Return values as text, such as `learning-rate 0.00031, epochs 3`."""
    return ", ".join(
        f"{name.replace('_', '-')} {show_value(value)}" for name, value in values.items()
    )


def show_value(value: Any) -> str:  # noqa: ANN401 (a recipe's number of any kind)
    """Return one value as text, with three significant digits unless it is an integer."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
