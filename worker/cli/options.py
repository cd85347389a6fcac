"""Options of a settings class, derived from its fields: names, kinds, and the help text."""

import types
import typing
from inspect import get_annotations

import click
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

CONFIG = "config"
VERBOSE = "verbose"
CONFIG_FIELD = FieldInfo(
    annotation=str, default=None, description="a TOML file with settings; also PUBNER_CONFIG"
)
"""The option of every command that names a settings file, as a field."""
OPTION_NAMES = {"json_file": "json"}
"""Fields that cannot have their option's name, because pydantic has a method of that name."""
VARIABLES = {"data": "corpora"}
"""Fields whose environment variable has another name: PUBNER_DATA already names the folder of real
data for development and tests, which holds more than corpora."""


class FieldOption(click.Option):
    """The option of a field.

    A bool field is a pair `--name` and `--no-name`; a tuple field may be given several times. The
    option of a secret is hidden: it must not be given on a command line, which others can read.
    `values` are those that a shell can complete.
    """

    def __init__(self, field: str, info: FieldInfo) -> None:
        name = option_name(field)
        super().__init__(
            [field, f"--{name}/--no-{name}" if is_flag(info) else f"--{name}"],
            help=info.description,
            multiple=is_list(info),
            hidden=is_secret(info),
        )
        self.values = fixed_values(info)
        self.head = _head(field, info)
        self.text = _explain(info)


def options_of(settings: type[BaseModel], positional: str | None) -> list[FieldOption]:
    """Return the options of a command: the required ones first, then its own, then shared ones."""
    own = reversed(settings.__mro__)
    ranks = {name: -rank for rank, cls in enumerate(own) for name in get_annotations(cls)}
    ranks[VERBOSE] = 1
    fields = {name: x for name, x in settings.model_fields.items() if name != positional}
    ordered = sorted(fields, key=lambda name: (not fields[name].is_required(), ranks[name]))
    return [FieldOption(x, fields[x]) for x in ordered] + [FieldOption(CONFIG, CONFIG_FIELD)]


def option_name(field: str) -> str:
    """Return a field's option without leading dashes: `block_size` gives `block-size`."""
    return OPTION_NAMES.get(field, field).replace("_", "-")


def field_name(option: str) -> str:
    """Return the field of an option or TOML key, written with `-` or `_`."""
    name = option.replace("-", "_")
    return next((field for field, other in OPTION_NAMES.items() if other == name), name)


def plain_type(info: FieldInfo) -> object:
    """Return the type of a field's value, ignoring None in its annotation."""
    annotation: object = info.annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        types_given = [part for part in typing.get_args(annotation) if part is not type(None)]
        return types_given[0] if len(types_given) == 1 else annotation
    return annotation


def is_list(info: FieldInfo) -> bool:
    """Whether the option takes several values."""
    return typing.get_origin(plain_type(info)) in (list, tuple, set, frozenset)


def is_flag(info: FieldInfo) -> bool:
    """Whether the option is a pair `--name` and `--no-name` without a value."""
    return plain_type(info) is bool


def is_secret(info: FieldInfo) -> bool:
    """Whether the value must not be shown, nor given on a command line, which others can read."""
    return plain_type(info) is SecretStr


def fixed_values(info: FieldInfo) -> list[str]:
    """Return the values that can be completed: those that the type names, else the examples."""
    kind = plain_type(info)
    if is_list(info):
        kind = typing.get_args(kind)[0]
    return _choices(kind) or [str(example) for example in info.examples or ()]


def _head(field: str, info: FieldInfo) -> str:
    name = option_name(field)
    if is_secret(info):
        return f"PUBNER_{field.upper()} (variable or settings file, no option)"
    if is_flag(info):
        return f"--{name} | --no-{name}"
    if choices := _choices(plain_type(info)):
        return f"--{name} {{{','.join(choices)}}}"
    placeholder = "FILE" if field in ("json_file", CONFIG) else field.upper()
    return f"--{name} {placeholder}{'[,...]' if is_list(info) else ''}"


def _choices(kind: object) -> list[str]:
    if typing.get_origin(kind) is typing.Literal:
        return [str(value) for value in typing.get_args(kind)]
    if isinstance(kind, type) and hasattr(kind, "__members__"):
        return [str(member.value) for member in kind.__members__.values()]
    return []


def _explain(info: FieldInfo) -> str:
    text = info.description or ""
    if info.is_required():
        return f"{text} (required)".strip()
    default = info.get_default(call_default_factory=True, validated_data={})
    if default is None or default in ((), []):
        return text
    if isinstance(default, bool):
        shown = "yes" if default else "no"
    elif isinstance(default, list | tuple):
        shown = ",".join(str(part) for part in default)
    else:
        shown = str(default)
    return f"{text} (default: {shown})".strip()
