"""`pubner completion`: scripts that complete commands, options and their fixed values in a shell.

A script is static: it is made from the commands and their options when this command runs, so that
completing starts no Python, as click's own scripts do at each press of the key.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from worker.cli import command as cli
from worker.cli.command import Settings
from worker.cli.options import ConfigOption, FieldOption


class CompletionSettings(Settings):
    """Settings of `pubner completion`."""

    shell: Literal["bash", "zsh", "fish"] = Field(description="the shell: bash, zsh or fish")


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command: its name without dashes, its help, and what values it takes."""

    name: str
    help: str
    takes_value: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: its words, a line of help, its options, the values of its argument."""

    words: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    values: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The command's words as a shell script compares them."""
        return " ".join(self.words)


@cli.command(CompletionSettings, prog="pubner completion", positional="shell")
def run(settings: CompletionSettings) -> None:
    """Print a script that completes pubner's commands, options and their fixed values.

    In bash: eval "$(pubner completion bash)".
    """
    sys.stdout.write(_SCRIPTS[settings.shell](entries()))


def entries() -> list[Entry]:
    """Return every command with its options; those that have moved are left out."""
    from pubner.cli import COMMANDS

    return [
        Entry(row.words, row.summary, tuple(_options(found.options)), found.values)
        for row in COMMANDS
        if isinstance(found := row.load(), cli.Command)
    ]


def _options(options: Sequence[FieldOption | ConfigOption]) -> list[Option]:
    found = []
    for option in options:
        if not option.hidden:
            name = option.opts[0].removeprefix("--")
            values = tuple(option.values)
            found.append(Option(name, option.described, not option.is_flag, values))
        if option.secondary_opts:
            found.append(Option(f"no-{name}", f"not: {option.described}"))
    return [*found, Option("help", "print the help and exit")]


def _families(commands: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Return the commands of two words by their first one."""
    found: dict[str, list[Entry]] = {}
    for command in commands:
        if len(command.words) > 1:
            found.setdefault(command.words[0], []).append(command)
    return found


def _first_words(commands: Sequence[Entry]) -> dict[str, str]:
    """Return what can be the first word, each with a line of help."""
    families = _families(commands)
    return {
        command.words[0]: ", ".join(entry.words[1] for entry in families[command.words[0]])
        if command.words[0] in families
        else command.help
        for command in commands
    } | {"help": "show the help of a command"}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _bash(commands: Sequence[Entry]) -> str:
    second = [
        f"        {family}) second={_quoted(' '.join(entry.words[1] for entry in found))} ;;"
        for family, found in _families(commands).items()
    ]
    options = [
        f"        {_quoted(command.name)}) "
        f"options={_quoted(' '.join(f'--{option.name}' for option in command.options))} "
        f"values={_quoted(' '.join(command.values))} ;;"
        for command in commands
    ]
    values = [
        f"        {_quoted(f'{command.name} --{option.name}')}) "
        f"values={_quoted(' '.join(option.values))} given=1 ;;"
        for command in commands
        for option in command.options
        if option.values
    ]
    lines = [
        "# Completion of pubner in bash, made by `pubner completion bash`.",
        "_pubner() {",
        "    local current=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD-1]}",
        "    local command=${COMP_WORDS[1]-} second='' options='' values='' given=''",
        "    COMPREPLY=()",
        '    if [[ $current == "=" ]]; then',
        "        current=''",
        '    elif [[ $option == "=" ]]; then',
        "        option=${COMP_WORDS[COMP_CWORD-2]}",
        "    fi",
        "    if ((COMP_CWORD == 1)); then",
        f"        values={_quoted(' '.join([*_first_words(commands), '--help', '--version']))}",
        '        COMPREPLY=($(compgen -W "$values" -- "$current" || true))',
        "        return",
        "    fi",
        '    case "$command" in',
        *second,
        "    esac",
        '    if [[ -n "$second" ]]; then',
        "        if ((COMP_CWORD == 2)); then",
        '            COMPREPLY=($(compgen -W "$second --help" -- "$current" || true))',
        "            return",
        "        fi",
        '        command="$command ${COMP_WORDS[2]}"',
        "    fi",
        '    case "$command" in',
        *options,
        f"        help) values={_quoted(' '.join(_first_words(commands)))} ;;",
        "    esac",
        '    case "$command $option" in',
        *values,
        "    esac",
        '    if [[ -z "$given" && "$current" == -* ]]; then',
        "        values=$options",
        "    fi",
        '    COMPREPLY=($(compgen -W "$values" -- "$current" || true))',
        "}",
        "complete -o default -F _pubner pubner",
    ]
    return "\n".join(lines) + "\n"


def _zsh(commands: Sequence[Entry]) -> str:
    def described(pairs: Sequence[tuple[str, str]]) -> str:
        return " ".join(_quoted(f"{name}:{text}") for name, text in pairs)

    second: list[str] = []
    for family, found in _families(commands).items():
        pairs = [(entry.words[1], entry.help) for entry in found]
        second.append(f"        {family}) found=({described(pairs)}) ;;")
    options = [
        f"        {_quoted(command.name)}) found=("
        + described([(f"--{option.name}", option.help) for option in command.options])
        + f") values=({' '.join(map(_quoted, command.values))}) ;;"
        for command in commands
    ]
    values = [
        f"        {_quoted(f'{command.name} --{option.name}')}) "
        f"compadd -- {' '.join(map(_quoted, option.values))}; return ;;"
        for command in commands
        for option in command.options
        if option.values
    ]
    lines = [
        "#compdef pubner",
        "# Completion of pubner in zsh, made by `pubner completion zsh`.",
        "_pubner() {",
        "    local command=${words[2]} option=${words[CURRENT-1]}",
        "    local -a found values",
        "    if ((CURRENT == 2)); then",
        f"        found=({described(list(_first_words(commands).items()))})",
        "        _describe command found",
        "        return",
        "    fi",
        "    case $command in",
        *second,
        "    esac",
        "    if (($#found)); then",
        "        if ((CURRENT == 3)); then",
        "            _describe command found",
        "            return",
        "        fi",
        '        command="$command ${words[3]}"',
        "        found=()",
        "    fi",
        "    if [[ $PREFIX == --*=* ]]; then",
        "        option=${PREFIX%%=*}",
        "        compset -P '*='",
        "    fi",
        '    case "$command $option" in',
        *values,
        "    esac",
        "    case $command in",
        *options,
        f"        help) values=({' '.join(map(_quoted, _first_words(commands)))}) ;;",
        "    esac",
        "    if [[ $PREFIX == -* ]]; then",
        "        _describe -o option found",
        "    elif (($#values)); then",
        "        compadd -a values",
        "    else",
        "        _files",
        "    fi",
        "}",
        'if [[ ${funcstack[1]} == _pubner ]]; then _pubner "$@"; else compdef _pubner pubner; fi',
    ]
    return "\n".join(lines) + "\n"


def _fish(commands: Sequence[Entry]) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def at(name: str) -> str:
        return f"complete -c pubner -n \"__pubner_at '{name}'\""

    families = _families(commands)
    lines = [
        "# Completion of pubner in fish, made by `pubner completion fish`.",
        "function __pubner_at",
        "    set -l words (commandline -opc)",
        "    set -e words[1]",
        f'    if contains -- "$words[1]" {" ".join(families)}',
        "        set words $words[1..2]",
        "    else",
        "        set words $words[1]",
        "    end",
        '    test "$words" = "$argv[1]"',
        "end",
    ]
    for word, text in _first_words(commands).items():
        lines.append(f"{at('')} -f -a {quoted(word)} -d {quoted(text)}")
    for family, found in families.items():
        lines += [
            f"{at(family)} -f -a {quoted(entry.words[1])} -d {quoted(entry.help)}"
            for entry in found
        ]
    lines.append(f"{at('help')} -f -a {quoted(' '.join(_first_words(commands)))}")
    for command in commands:
        if command.values:
            lines.append(f"{at(command.name)} -f -a {quoted(' '.join(command.values))}")
        for option in command.options:
            value = " -r" if option.takes_value else ""
            value = f" -x -a {quoted(' '.join(option.values))}" if option.values else value
            lines.append(f"{at(command.name)} -l {option.name}{value} -d {quoted(option.help)}")
    return "\n".join(lines) + "\n"


_SCRIPTS: dict[str, Callable[[Sequence[Entry]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
