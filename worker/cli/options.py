"""Options of a settings class, derived from its fields: names, kinds, and the help text."""

import sys
import textwrap
import types
import typing

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

CONFIG = "config"
VERBOSE = "verbose"
OPTION_NAMES = {"json_file": "json"}
"""Fields that cannot have their option's name, because pydantic has a method of that name."""


VARIABLES = {"data": "corpora"}
"""Fields whose environment variable has another name: PUBNER_DATA already names the folder of real
data for development and tests, which holds more than corpora."""


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


def print_help(
    cls: type[BaseModel], *, prog: str, description: str, positional: str | None = None
) -> None:
    """Print the help of a command: its description, and every option with text and default."""
    lines = [f"usage: {prog} [OPTION...]{_usage(cls, positional)}", "", _wrap(description, 0), ""]
    if positional is not None:
        info = cls.model_fields[positional]
        lines += [*_entry(positional.upper(), info.description or ""), ""]
    lines.append("options:")
    for name, info in sorted(cls.model_fields.items(), key=lambda item: item[0] == VERBOSE):
        if name != positional:
            lines += _entry(_signature(name, info), _explain(info))
    lines += _entry("--config FILE", "a TOML file with settings; also PUBNER_CONFIG")
    lines += _entry("-h, --help", "print this and exit")
    exception = "; --data is PUBNER_CORPORA" if "data" in cls.model_fields else ""
    lines += ["", f"Every option is also an environment variable, PUBNER_<OPTION>{exception}."]
    sys.stdout.write("\n".join(lines) + "\n")


def _usage(cls: type[BaseModel], positional: str | None) -> str:
    if positional is None:
        return ""
    info = cls.model_fields[positional]
    placeholder = positional.upper() + ("..." if is_list(info) else "")
    return f" {placeholder}" if info.is_required() else f" [{placeholder}]"


def _signature(name: str, info: FieldInfo) -> str:
    option = option_name(name)
    if is_secret(info):
        return f"PUBNER_{name.upper()} (variable or settings file, no option)"
    if is_flag(info):
        return f"--{option} | --no-{option}"
    choices = _choices(plain_type(info))
    if choices:
        return f"--{option} {{{','.join(choices)}}}"
    placeholder = name.removeprefix("json_").upper()
    return f"--{option} {placeholder}{'[,...]' if is_list(info) else ''}"


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


def _wrap(text: str, indent: int) -> str:
    return textwrap.fill(text, 88, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _entry(head: str, text: str) -> list[str]:
    return [f"  {head}", *([_wrap(text, 6)] if text else [])]
