"""`pubner completion`: scripts that complete commands, options and their fixed values in a shell.

A script is static: it is made from the commands and their options when this command runs, so that
completing starts no Python, as click's own scripts do at each press of the key.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Literal, NamedTuple

from pydantic import Field

from worker.cli import command as cli
from worker.cli.command import Settings


class CompletionSettings(Settings):
    """Settings of `pubner completion`."""

    shell: Literal["bash", "zsh", "fish"] = Field(description="the shell: bash, zsh or fish")


class Option(NamedTuple):
    """An option of a command: its name without dashes, its help, and what values it takes."""

    name: str
    help: str
    takes_value: bool = False
    values: Sequence[str] = ()


class Entry(NamedTuple):
    """A command: its words, a line of help, its options, the values of its argument."""

    words: tuple[str, ...]
    help: str
    options: Sequence[Option]
    values: Sequence[str] = ()

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
        Entry(row.words, row.summary, _options(found), found.values)
        for row in COMMANDS
        if isinstance(found := row.load(), cli.Command)
    ]


def _options(command: cli.Command) -> list[Option]:
    found = []
    for option in command.options:
        if not option.hidden:
            name, text = option.opts[0].removeprefix("--"), option.help or ""
            found.append(Option(name, text, not option.is_flag, option.values))
            found += [Option(f"no-{name}", f"not: {text}")] if option.is_flag else []
    return [*found, Option("help", "print the help and exit")]


def _families(commands: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Return the commands of two words by their first one."""
    two = (command for command in commands if len(command.words) > 1)
    return {word: list(found) for word, found in groupby(two, lambda command: command.words[0])}


def _first_words(commands: Sequence[Entry]) -> dict[str, str]:
    """Return what can be the first word, each with a line of help."""
    single = {command.words[0]: command.help for command in commands}
    listed = {
        word: ", ".join(entry.words[1] for entry in found)
        for word, found in _families(commands).items()
    }
    return {**single, **listed, "help": "show the help of a command"}


def _option_values(commands: Sequence[Entry]) -> list[tuple[str, Sequence[str]]]:
    """Return the options with fixed values, each after its command's words."""
    return [
        (f"{command.name} --{option.name}", option.values)
        for command in commands
        for option in command.options
        if option.values
    ]


def _filled(shell: str, **parts: Iterable[str]) -> str:
    """Return the script of a shell, with lines in place of each `@NAME`."""
    template = files("pubner").joinpath("shells", f"completion.{shell}").read_text("utf-8")
    for name, lines in parts.items():
        template = template.replace(f"@{name}", "\n".join(lines))
    return template


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _bash(commands: Sequence[Entry]) -> str:
    def listed(words: Iterable[str]) -> str:
        return _quoted(" ".join(words))

    return _filled(
        "bash",
        first=[listed(_first_words(commands))],
        second=(
            f"        {family}) second={listed(entry.words[1] for entry in found)} ;;"
            for family, found in _families(commands).items()
        ),
        options=(
            f"        {_quoted(command.name)}) "
            f"options={listed(f'--{option.name}' for option in command.options)} "
            f"values={listed(command.values)} ;;"
            for command in commands
        ),
        values=(
            f"        {_quoted(name)}) values={listed(values)} given=1 ;;"
            for name, values in _option_values(commands)
        ),
    )


def _zsh(commands: Sequence[Entry]) -> str:
    def listed(words: Iterable[str]) -> str:
        return " ".join(map(_quoted, words))

    def described(pairs: Iterable[tuple[str, str]]) -> str:
        return listed(f"{name}:{text}" for name, text in pairs)

    return _filled(
        "zsh",
        first=[described(_first_words(commands).items())],
        words=[listed(_first_words(commands))],
        second=(
            f"        {family}) "
            f"found=({described((entry.words[1], entry.help) for entry in found)}) ;;"
            for family, found in _families(commands).items()
        ),
        options=(
            f"        {_quoted(command.name)}) "
            f"found=({described((f'--{x.name}', x.help) for x in command.options)}) "
            f"values=({listed(command.values)}) ;;"
            for command in commands
        ),
        values=(
            f"        {_quoted(name)}) compadd -- {listed(values)}; return ;;"
            for name, values in _option_values(commands)
        ),
    )


def _fish(commands: Sequence[Entry]) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def at(name: str, *rest: str) -> str:
        return " ".join([f"complete -c pubner -n \"__pubner_at '{name}'\"", *rest])

    first, families = _first_words(commands), _families(commands)
    lines = [at("", "-f -a", quoted(word), "-d", quoted(text)) for word, text in first.items()]
    for family, found in families.items():
        lines += [at(family, "-f -a", quoted(x.words[1]), "-d", quoted(x.help)) for x in found]
    lines.append(at("help", "-f -a", quoted(" ".join(first))))
    for command in commands:
        if command.values:
            lines.append(at(command.name, "-f -a", quoted(" ".join(command.values))))
        for option in command.options:
            takes = ["-r"] if option.takes_value else []
            takes = ["-x -a", quoted(" ".join(option.values))] if option.values else takes
            text = quoted(option.help)
            lines.append(at(command.name, "-l", option.name, *takes, "-d", text))
    return _filled("fish", families=[" ".join(families)], lines=lines)


_SCRIPTS: dict[str, Callable[[Sequence[Entry]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
