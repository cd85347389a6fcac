"""Command settings: read from flags, environment variables, a TOML file and defaults.

Command-line flags win over `PUBNER_…` environment variables, those over a TOML file, that over
defaults. pydantic-settings reads the environment, merges and validates; the command-line arguments
are parsed here, because file names must arrive exactly as they were typed.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
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
from worker.cli.console import human_console, print_table, write_json
from worker.cli.options import (
    CONFIG,
    OPTION_NAMES,
    VARIABLES,
    field_name,
    is_flag,
    is_list,
    is_secret,
    option_name,
    print_help,
)
from worker.cli.paths import file_to_write
from worker.storage.locations import credentials_refusal, has_credentials

__all__ = ["Settings", "human_console", "parse_settings", "print_table", "write_json"]

ENVIRONMENT_PREFIX = "PUBNER_"
DESCRIBE = "\0describe"
"""The one argument that asks a command for its options; no shell can pass it."""


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
        """Use only the values passed by `parse_settings`, which reads the environment itself."""
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


class Described(Exception):  # noqa: N818 - an answer, not an error
    """The answer to `DESCRIBE`: a command's settings class, and its positional field, if any."""

    def __init__(self, settings: type[Settings], positional: str | None) -> None:
        super().__init__(settings, positional)
        self.settings = settings
        self.positional = positional


T = TypeVar("T", bound=Settings)


def parse_settings(
    cls: type[T],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    positional: str | None = None,
) -> T:
    """Return the settings given by `argv`, the environment and a TOML file.

    Flags win over `PUBNER_<OPTION>` variables, those over the file named by `--config` (or
    `PUBNER_CONFIG`), that over defaults. `positional` names the field that receives the positional
    arguments, unparsed; everything after a bare `--` is positional. `-h` or `--help` prints the
    help and raises `SystemExit(0)`.

    :raises SettingsError: with one line that names the option and the value.
    :raises Described: if `argv` is `DESCRIBE` alone.
    """
    if list(argv) == [DESCRIBE]:
        raise Described(cls, positional)
    options = argv[: argv.index("--")] if "--" in argv else argv
    if "-h" in options or "--help" in options:
        print_help(cls, prog=prog, description=description, positional=positional)
        raise SystemExit(0)
    flags = _ArgumentParser(cls, prog, positional).parse(argv)
    config = flags.pop(CONFIG, None) or os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG") or None
    if config and has_credentials(config):
        raise SettingsError(f"{credentials_refusal(config)} (see `{prog} --help`)")
    file_values = _read_toml(cls, Path(config), prog) if config else {}
    environment = _read_environment(cls)
    for pair in cls.alternatives:
        _drop_alternatives(pair, flags, environment, file_values)
    try:
        return cls(**{**file_values, **environment, **flags})
    except ValidationError as error:
        origin = _Origin(cls, flags, environment, file_values, config, positional)
        lines = [origin.describe(detail) for detail in error.errors(include_url=False)]
        raise SettingsError(f"{'; '.join(lines)} (see `{prog} --help`)") from None


def _drop_alternatives(
    pair: tuple[str, str], flags: Mapping[str, Any], *weaker: dict[str, Any]
) -> None:
    """If a source gives one of two alternatives, drop the other from all weaker sources."""
    for rank, stronger in enumerate([flags, *weaker]):
        for name, other in (pair, pair[::-1]):
            if name in stronger and other not in stronger:
                for values in weaker[rank:]:
                    values.pop(other, None)


class _ArgumentParser:
    """Parses command-line arguments into values by field name."""

    def __init__(self, cls: type[Settings], prog: str, positional: str | None) -> None:
        self.fields = {name: info for name, info in cls.model_fields.items() if name != positional}
        self.flags = {name for name, info in self.fields.items() if is_flag(info)}
        self.lists = {name for name, info in self.fields.items() if is_list(info)}
        self.secrets = {name for name, info in self.fields.items() if is_secret(info)}
        self.prog = prog
        self.positional = positional
        self.takes_many = positional is not None and is_list(cls.model_fields[positional])

    def parse(self, argv: Sequence[str]) -> dict[str, Any]:
        """Return the values: list fields as tuples, flags as bools, everything else as strings."""
        values: dict[str, Any] = {}
        positionals: list[str] = []
        arguments = list(argv)
        while arguments:
            argument = arguments.pop(0)
            if argument == "--":
                positionals += arguments
                break
            if not argument.startswith("-") or argument == "-":
                positionals.append(argument)
                continue
            name, value = self._option_value(argument, arguments)
            if name in self.lists and isinstance(value, str):
                values[name] = (*values.get(name, ()), *self._list_items(name, value))
            else:
                values[name] = value
        if positionals:
            values.update(self._positional_values(positionals))
        return values

    def _positional_values(self, given: Sequence[str]) -> dict[str, Any]:
        if self.positional is None:
            raise self._error(f"unexpected argument {given[0]!r}: this command takes options only")
        if self.takes_many:
            return {self.positional: tuple(given)}
        if len(given) > 1:
            raise self._error(
                f"unexpected argument {given[1]!r}: one {self.positional.upper()} is expected, "
                f"and {given[0]!r} was given"
            )
        return {self.positional: given[0]}

    def _list_items(self, name: str, value: str) -> tuple[str, ...]:
        items = tuple(item.strip() for item in value.split(","))
        if not all(items):
            raise self._error(f"option --{option_name(name)} {value!r}: an item is empty")
        return items

    def _option_value(self, argument: str, rest: list[str]) -> tuple[str, str | bool]:
        """Return an option's field and value; a separate value is removed from `rest`."""
        option, equals, value = argument.partition("=")
        name = field_name(option.removeprefix("--")) if option.startswith("--") else ""
        negated = name.removeprefix("no_")
        if negated != name and negated in self.flags:
            if equals:
                raise self._error(f"option {option} takes no value; {value!r} was given")
            return negated, False
        if name != CONFIG and (name not in self.fields or option != f"--{option_name(name)}"):
            raise self._unknown(option)
        if name in self.secrets:
            raise self._error(
                f"option {option} would show its value to everyone on this machine; set "
                f"{_variable(name)}, or put it in a settings file"
            )
        if equals:
            return name, value
        if name in self.flags:
            return name, True
        if not rest or rest[0].startswith("--"):
            raise self._error(f"option {option} needs a value")
        return name, rest.pop(0)

    def _unknown(self, option: str) -> SettingsError:
        known = [f"--{option_name(name)}" for name in (*self.fields, CONFIG)]
        known = [option for option in known if field_name(option[2:]) not in self.secrets]
        known += [f"--no-{option_name(name)}" for name in self.flags]
        near = difflib.get_close_matches(option, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return self._error(f"unknown option {option}{hint}")

    def _error(self, message: str) -> SettingsError:
        return SettingsError(f"{message} (see `{self.prog} --help`)")


class _Origin:
    """Describes rejected values by the source that they came from."""

    def __init__(
        self,
        cls: type[Settings],
        flags: Mapping[str, Any],
        environment: Mapping[str, Any],
        file_values: Mapping[str, Any],
        config: str | None,
        positional: str | None,
    ) -> None:
        self.secrets = {name for name, info in cls.model_fields.items() if is_secret(info)}
        self.flags = flags
        self.environment = environment
        self.file_values = file_values
        self.config = config
        self.positional = positional

    def describe(self, detail: ErrorDetails) -> str:
        """Return one clause that describes one of pydantic's errors."""
        message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if not detail["loc"]:
            return message
        name = str(detail["loc"][0])
        if detail["type"] == "missing":
            if name == self.positional:
                return f"missing argument {name.upper()}"
            return f"missing required option --{option_name(name)}"
        value = detail["input"]
        shown = _quoted(",".join(map(str, value)) if isinstance(value, tuple | list) else value)
        if name in self.secrets:
            shown = "'***'"
        return f"{self._source(name)} {shown}: {message[:1].lower()}{message[1:]}"

    def _source(self, name: str) -> str:
        if name in self.flags:
            return name.upper() if name == self.positional else f"option --{option_name(name)}"
        if name in self.environment:
            return f"environment variable {_variable(name)}"
        if name in self.file_values:
            return f"key {option_name(name)!r} of {self.config}"
        return f"option --{option_name(name)}"


def _quoted(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float | bool) else f"'{value}'"


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
