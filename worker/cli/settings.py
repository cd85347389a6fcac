"""Settings of a command: read from flags, environment variables, a TOML file and defaults.

Command-line flags win over `PUBNER_…` environment variables, those over a TOML file, that over
defaults. pydantic-settings reads the environment and validates.
"""

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from schemas.errors import SettingsError
from worker.cli.options import (
    CONFIG,
    OPTION_NAMES,
    VARIABLES,
    field_name,
    is_list,
    is_secret,
    option_name,
)
from worker.cli.paths import file_to_write
from worker.storage.locations import credentials_refusal, has_credentials

ENVIRONMENT_PREFIX = "PUBNER_"

Source = tuple[dict[str, Any], Callable[[str], str]]
"""Values by field, and a function that names where a field's value was given."""


class Settings(BaseSettings):
    """Base class of every command's settings: frozen, validated on creation, no unknown keys.

    Give each field a `Field(description=...)`: `--help` prints it. A tuple field is a list option,
    separated by commas or given by repeating the option; a bool field is a pair `--name` and
    `--no-name`; the field `json_file` is the option `--json`.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENVIRONMENT_PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,
        validate_default=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the values passed by `read_settings`, which reads the environment itself."""
        return (init_settings,)

    verbose: bool = Field(default=False, description="show the traceback of an unexpected error")

    @field_validator("json_file", check_fields=False)
    @classmethod
    def _check_json_file(cls, value: str | None) -> str | None:
        return value if value is None else file_to_write(value)

    alternatives: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of exclusive fields: a flag overrides the variable or file key of the other field."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_credentials(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Refuse a URL that contains a password, before a `Path` changes how the URL is written."""
        for name, value in values.items():
            if name in cls.model_fields and is_secret(cls.model_fields[name]):
                continue
            for item in value if isinstance(value, tuple | list) else (value,):
                if isinstance(item, str) and has_credentials(item):
                    raise ValueError(credentials_refusal(item))
        return values

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Split a list that was given as one string, as in an environment variable."""
        return {
            name: tuple(part.strip() for part in value.split(","))
            if isinstance(value, str)
            and name in cls.model_fields
            and is_list(cls.model_fields[name])
            else value
            for name, value in values.items()
        }


T = TypeVar("T", bound=Settings)


def read_settings(
    cls: type[T], given: Mapping[str, Any], *, prog: str, positional: str | None = None
) -> T:
    """Return the settings `given` on the command line, completed by the environment and a file.

    Flags win over `PUBNER_<OPTION>` variables, those over the file named by `--config` (or
    `PUBNER_CONFIG`), that over defaults. `positional` names the field that is given without option.

    :raises SettingsError: with one line that names the option and the value.
    """
    flags = {name: value for name, value in given.items() if name != CONFIG}
    config = given.get(CONFIG) or os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG") or None
    if config and has_credentials(config):
        raise SettingsError(credentials_refusal(config))
    file_values = _read_toml(cls, Path(config), prog) if config else {}
    environment = _read_environment(cls)
    for pair in cls.alternatives:
        _drop_alternatives(pair, flags, environment, file_values)
    sources: tuple[Source, ...] = (
        (flags, lambda name: name.upper() if name == positional else f"option {_option(name)}"),
        (environment, lambda name: f"environment variable {_variable(name)}"),
        (file_values, lambda name: f"key {option_name(name)!r} of {config}"),
    )
    try:
        return cls(**{**file_values, **environment, **flags})
    except ValidationError as error:
        lines = [_describe(cls, x, sources, positional) for x in error.errors(include_url=False)]
        raise SettingsError("; ".join(lines)) from None


def _drop_alternatives(
    pair: tuple[str, str], flags: Mapping[str, Any], *weaker: dict[str, Any]
) -> None:
    """If a source gives one of two alternatives, drop the other from all weaker sources."""
    for rank, stronger in enumerate([flags, *weaker]):
        for name, other in (pair, pair[::-1]):
            if name in stronger and other not in stronger:
                for values in weaker[rank:]:
                    values.pop(other, None)


def _describe(
    cls: type[Settings], detail: ErrorDetails, sources: tuple[Source, ...], positional: str | None
) -> str:
    """Return one clause that describes one of pydantic's errors, and where the value is from."""
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if not detail["loc"]:
        return message
    name = str(detail["loc"][0])
    if detail["type"] == "missing":
        if name == positional:
            return f"missing argument {name.upper()}"
        return f"missing required option {_option(name)}"
    value = detail["input"]
    if isinstance(value, tuple | list):
        value = ",".join(map(str, value))
    shown = repr(value) if isinstance(value, str | int | float | bool) else f"'{value}'"
    if is_secret(cls.model_fields[name]):
        shown = "'***'"
    named = next((named for values, named in sources if name in values), sources[0][1])
    return f"{named(name)} {shown}: {message[:1].lower()}{message[1:]}"


def _option(field: str) -> str:
    return f"--{option_name(field)}"


def _variable(field: str) -> str:
    name = VARIABLES.get(field) or OPTION_NAMES.get(field, field)
    return ENVIRONMENT_PREFIX + name.upper()


def _read_environment(cls: type[Settings]) -> dict[str, Any]:
    values = {name: x for name, x in EnvSettingsSource(cls)().items() if name not in VARIABLES}
    for field in (*OPTION_NAMES, *VARIABLES):
        if field in cls.model_fields and os.environ.get(_variable(field)):
            values[field] = os.environ[_variable(field)]
    return values


def _read_toml(cls: type[Settings], path: Path, prog: str) -> dict[str, Any]:
    """Return a TOML file's values: its top-level keys, then those of the command's own table.

    Tables of other commands are ignored, so that one file can serve all commands: `[annotate]`,
    `[train.mtl]`.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"settings file {str(path)!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {str(path)!r} is not TOML: {error}") from None
    table: Any = document
    for name in prog.removeprefix("pubner ").removeprefix("python -m ").split():
        table = table.get(name, {}) if isinstance(table, dict) else {}
    values: dict[str, Any] = {}
    for level in (document, table if isinstance(table, dict) else {}):
        for key, value in level.items():
            if isinstance(value, dict):
                continue
            name = field_name(key)
            if name not in cls.model_fields:
                near = difflib.get_close_matches(name, cls.model_fields, n=1)
                hint = f"; did you mean {option_name(near[0])!r}?" if near else ""
                raise SettingsError(f"settings file {str(path)!r}: unknown key {key!r}{hint}")
            values[name] = value
    return values
