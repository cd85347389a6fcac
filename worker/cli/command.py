"""A command: a function of settings, and the click command that reads them from its arguments.

click finds the command and lays out its help; which words are options is decided here, because
file names must arrive exactly as they were typed, `--option` is never taken for another option's
value, and `--help` answers whatever else is wrong.
"""

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import click
from click.exceptions import Exit

from schemas.errors import SettingsError
from worker.cli.console import human_console, listing, print_figures, print_table, write_json
from worker.cli.help import HelpPage
from worker.cli.options import fixed_values, is_list, options_of
from worker.cli.settings import Settings, read_settings

__all__ = [
    "Arguments",
    "Command",
    "Settings",
    "command",
    "human_console",
    "listing",
    "print_figures",
    "print_table",
    "write_json",
]

_HELP = ("-h", "--help")


class Arguments(NamedTuple):
    """The arguments of a command: its own, and those after `--`."""

    own: tuple[str, ...]
    rest: tuple[str, ...]


def command(
    settings: type[Settings], *, prog: str, positional: str | None = None, beam: bool = False
) -> Callable[[Callable[..., int | None]], "Command"]:
    """Declare that a function of `settings` is the command `prog`.

    Its docstring is the command's description, without `:raises:`; it returns the exit status, or
    None for 0. `positional` names the field that receives the positional arguments, unparsed;
    everything after a bare `--` is positional. With `beam`, that is handed on to Beam instead, and
    the function gets the `Arguments` too.
    """
    return partial(Command, settings, prog, positional, beam)


class Command(click.Command):
    """A command with the options of a settings class."""

    def __init__(
        self,
        settings: type[Settings],
        prog: str,
        positional: str | None,
        beam: bool,
        function: Callable[..., int | None],
    ) -> None:
        fields = settings.model_fields
        self.settings = settings
        self.function = function
        self.prog = prog
        self.positional = positional
        self.beam = beam
        self.options = options_of(settings, positional)
        self.values = () if positional is None else tuple(fixed_values(fields[positional]))
        description = inspect.cleandoc(function.__doc__ or "").partition("\n\n:raises")[0]
        super().__init__(prog, params=list(self.options), help=description)

    def __call__(self, argv: Sequence[str], **injected: Any) -> int:  # noqa: ANN401
        """Run the command with `argv`; return its exit status. `injected` goes to the function.

        :raises PubnerError: with a one-line message for the user.
        """
        try:
            settings = self.read(argv)
        except Exit as done:
            return done.exit_code
        given = (settings, split_arguments(argv)) if self.beam else (settings,)
        return self.function(*given, **injected) or 0

    def read(self, argv: Sequence[str]) -> Any:  # noqa: ANN401 - an instance of `settings`
        """Return the settings of `argv`, the environment and a TOML file.

        :raises SettingsError: with one line that names the option and the value.
        :raises Exit: after `-h` or `--help`, which prints the help.
        """
        with self.make_context(self.prog, list(argv)) as context:
            return context.obj

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the settings from the arguments, into `ctx.obj`."""
        own, rest = split_arguments(args)
        if set(_HELP) & set(own):
            sys.stdout.write(f"{self.get_help(ctx)}\n")
            ctx.exit()
        try:
            given = self._read_words(own, () if self.beam else rest)
            ctx.obj = read_settings(
                self.settings, given, prog=self.prog, positional=self.positional
            )
        except SettingsError as error:
            raise SettingsError(f"{error} (see `{self.prog} --help`)") from None
        return []

    def get_help(self, ctx: click.Context) -> str:
        """Return the usage, the description, the argument and every option."""
        page = HelpPage()
        fields = self.settings.model_fields
        usage = ["[OPTION...]"]
        if self.positional is not None:
            info = fields[self.positional]
            argument = self.positional.upper() + ("..." if is_list(info) else "")
            usage.append(argument if info.is_required() else f"[{argument}]")
        usage += ["[-- BEAM_OPTION...]"] if self.beam else []
        page.write_usage(ctx.command_path, " ".join(usage), prefix="usage: ")
        page.write_paragraph()
        page.write_text(self.help or "")
        if self.positional is not None:
            page.write_paragraph()
            text = fields[self.positional].description or ""
            page.write_entries([(self.positional.upper(), text)])
        if self.beam:
            page.write_paragraph()
            page.write_text("Beam's own pipeline options may follow after `--`.")
        page.write_paragraph()
        page.write("options:\n")
        page.write_entries((option.head, option.text) for option in self.options)
        page.write_entries([("-h, --help", "print this and exit")])
        page.write_paragraph()
        exception = "; --data is PUBNER_CORPORA" if "data" in fields else ""
        page.write_text(
            f"Every option is also an environment variable, PUBNER_<OPTION>{exception}."
        )
        return page.getvalue().rstrip("\n")

    def _read_words(self, words: Sequence[str], positionals: Sequence[str]) -> dict[str, Any]:
        """Return the values by field: lists as tuples, flags as bools, everything else as text."""
        options = {name: x for x in self.options for name in (*x.opts, *x.secondary_opts)}
        values: dict[str, Any] = {}
        found: list[str] = []
        waiting = list(words)
        while waiting:
            word = waiting.pop(0)
            if not word.startswith("-") or word == "-":
                found.append(word)
                continue
            name, equals, value = word.partition("=")
            option = options.get(name)
            if option is None or option.name is None:
                raise self._unknown(name, options)
            if option.hidden:
                raise SettingsError(
                    f"option {name} would show its value to everyone on this machine; set "
                    f"{option.head.split()[0]}, or put it in a settings file"
                )
            if name in option.secondary_opts and equals:
                raise SettingsError(f"option {name} takes no value; {value!r} was given")
            if option.is_flag and not equals:
                values[option.name] = name in option.opts
                continue
            if not equals:
                if not waiting or waiting[0].startswith("--"):
                    raise SettingsError(f"option {name} needs a value")
                value = waiting.pop(0)
            if option.multiple:
                items = tuple(item.strip() for item in value.split(","))
                if not all(items):
                    raise SettingsError(f"option {name} {value!r}: an item is empty")
                values[option.name] = (*values.get(option.name, ()), *items)
            else:
                values[option.name] = value
        return values | self._positional_values([*found, *positionals])

    def _positional_values(self, given: Sequence[str]) -> dict[str, Any]:
        if not given:
            return {}
        if self.positional is None:
            raise SettingsError(
                f"unexpected argument {given[0]!r}: this command takes options only"
            )
        if is_list(self.settings.model_fields[self.positional]):
            return {self.positional: tuple(given)}
        if len(given) > 1:
            raise SettingsError(
                f"unexpected argument {given[1]!r}: one {self.positional.upper()} is expected, "
                f"and {given[0]!r} was given"
            )
        return {self.positional: given[0]}

    def _unknown(self, name: str, options: Mapping[str, click.Option]) -> SettingsError:
        shown = [known for known, option in options.items() if not option.hidden]
        near = difflib.get_close_matches(name, shown, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return SettingsError(f"unknown option {name}{hint}")


def split_arguments(argv: Sequence[str]) -> Arguments:
    """Split arguments at the first `--`, which is left out."""
    split = list(argv).index("--") if "--" in argv else len(argv)
    return Arguments(tuple(argv[:split]), tuple(argv[split + 1 :]))
