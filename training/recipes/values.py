"""The types of hyperparameters: numbers with a range, and the error for one that is out of it."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from schemas.errors import SettingsError

# The description says what is expected, in errors.
Count = Annotated[int, Field(ge=1, description="1 or more")]
Whole = Annotated[int, Field(ge=0, description="0 or more")]
Length = Annotated[int, Field(ge=16, description="16 or more")]
Positive = Annotated[float, Field(gt=0, description="more than 0")]
Amount = Annotated[float, Field(ge=0, description="0 or more")]
Fraction = Annotated[float, Field(ge=0, le=1, description="from 0 to 1")]
OptionalFraction = Annotated[float | None, Field(ge=0, le=1, description="from 0 to 1")]
BelowOne = Annotated[float, Field(ge=0, lt=1, description="from 0 up to 1")]
Inside = Annotated[float, Field(gt=0, lt=1, description="between 0 and 1")]
Factor = Annotated[float, Field(gt=0, le=1, description="more than 0, 1 at most")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Checked:
    """Hyperparameters that are checked when they are made; a SettingsError says what is wrong."""

    TITLE: ClassVar[str] = "recipe {name!r}"

    def rules(self) -> Iterable[tuple[str, bool, str]]:
        """Return rules over several values: the name of one, whether it fits, what is expected."""
        return ()

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, given: ArgsKwargs, make: Callable[[ArgsKwargs], Self]) -> Self:
        wrong: tuple[str, Any, str] | None
        try:
            made = make(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            expected = cls.__pydantic_fields__[name].description  # type: ignore[attr-defined]
            wrong = name, first["input"], expected or first["msg"]
        else:
            broken = (
                (name, getattr(made, name), e) for name, holds, e in made.rules() if not holds
            )
            wrong = next(broken, None)
        if wrong is None:
            return made
        named = [*given.args[:1], (given.kwargs or {}).get("name")]
        title = cls.TITLE.format(name=named[0])
        raise SettingsError(f"{title}: {wrong[0]} is {wrong[1]}, expected {wrong[2]}")

    def values(self) -> dict[str, Any]:
        """Return all values by name."""
        return asdict(self)
