"""The one command, `pubner`: a table of sub-commands, each imported only when it is run."""

import contextlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import groupby, takewhile

import click
from click.exceptions import Exit

from schemas.errors import InputError, OutputError, PubnerError, SettingsError, UnexpectedError
from worker.cli.help import HelpPage
from worker.cli.terminal import one_line, prepare_streams, safe_text, watched_output

_WORD = re.compile(r"[a-z][a-z-]*")


class Command(click.Command):
    """A sub-command: its usage, the `module:function` that runs it, and one line of help.

    The function takes the arguments after the command's `words`, and returns the exit status.
    `needs` are the modules without which it can do nothing, and that a plain installation lacks.
    """

    def __init__(self, usage: str, target: str, summary: str, needs: tuple[str, ...] = ()) -> None:
        self.words = tuple(takewhile(_WORD.fullmatch, usage.split()))
        self.usage = usage
        self.target = target
        self.summary = summary
        self.needs = needs
        super().__init__(self.words[-1], add_help_option=False)

    def load(self) -> Callable[[Sequence[str]], int]:
        """Import the function that runs the command."""
        module, _, function = self.target.partition(":")
        run: Callable[[Sequence[str]], int] = getattr(importlib.import_module(module), function)
        return run

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the arguments to the function, as they are."""
        ctx.args = args
        return args

    def invoke(self, ctx: click.Context) -> int:
        """Run the command; a package that it lacks is an error that names the way to install it.

        :raises MissingPackageError: if a package that an extra brings is not installed.
        """
        from worker.system.extras import missing_package, require

        name = f"pubner {' '.join(self.words)}"
        if self.needs and not {"-h", "--help"} & set(ctx.args):
            require(*self.needs, purpose=name)
        try:
            return self.load()(ctx.args)
        except ImportError as error:
            known = missing_package(error, name)
            if known is None:
                raise
            raise known from error


class Commands(click.Group):
    """Commands that begin with the same words: all of `pubner`, or a family such as `train`."""

    def __init__(self, table: Sequence[Command], family: str = "") -> None:
        self.table = table
        self.family = family
        members: dict[str, click.Command] = {}
        depth = 1 if family else 0
        for word, rows in groupby(table, lambda row: row.words[depth]):
            found = list(rows)
            single = len(found[0].words) == depth + 1
            members[word] = found[0] if single else Commands(found, word)
        super().__init__(
            family or "pubner",
            members,
            context_settings={
                "help_option_names": ["-h", "--help"],
                "ignore_unknown_options": True,  # an unknown command, for `resolve_command`
            },
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the first word.

        :raises SettingsError: if there is none.
        """
        if not args:
            raise SettingsError(
                f"{self.family!r} needs one of {', '.join(self.commands)} after it "
                f"(see `pubner {self.family} --help`)"
            )
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of the first word, and the words after it.

        :raises SettingsError: if there is no such command.
        """
        command = self.get_command(ctx, args[0])
        if command is not None:
            return args[0], command, args[1:]
        near = get_close_matches(args[0], self.commands, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(self.commands)
        if self.family:
            words = " ".join((self.family, args[0]))
            raise SettingsError(f"unknown command {words!r}; {hint}{self.family!r} has {known}")
        raise SettingsError(
            f"unknown command {args[0]!r}; {hint}{'Known' if near else 'known'} are {known} "
            "(see `pubner --help`)"
        )

    def get_help(self, ctx: click.Context) -> str:
        """Return how every command is used, and what it is for."""
        page = HelpPage()
        page.write_usage(ctx.command_path, "COMMAND [OPTION...]", prefix="usage: ")
        if not self.family:
            page.write_paragraph()
            page.write_text("pubner annotates PubMed with biomedical entities.")
        page.write_paragraph()
        page.write("commands:\n")
        page.write_entries((command.usage, command.summary) for command in self.table)
        page.write_paragraph()
        page.write_text(
            f"`{ctx.command_path} COMMAND --help` lists a command's options, `pubner --version` "
            "says the version."
        )
        return page.getvalue().rstrip("\n")


COMMANDS = (
    Command("annotate [INPUT...] --output DIR", "pipelines.commands.annotate:run",
            "annotate PubMed XML, PubTator or JSONL files; write Parquet"),
    Command("reannotate OUTPUT --where CONDITION", "pipelines.commands.reannotate:run",
            "annotate again from the stored text what another checkpoint made"),
    Command("feed [INPUT...] --brokers HOST:PORT --topic NAME", "pipelines.commands.feed:run",
            "publish PubMed files as citation messages and tombstones"),
    Command("stream --brokers HOST:PORT --topic NAME --group NAME --output DIR",
            "pipelines.commands.stream:run",
            "annotate Kafka topics as messages arrive; write Parquet"),
    Command("dead-letters list OUTPUT", "pipelines.commands.dead_letters:list_dead_letters",
            "list what could not be annotated, and why"),
    Command("dead-letters show OUTPUT SOURCE/PARTITION/OFFSET",
            "pipelines.commands.dead_letters:show",
            "show one dead letter with its original bytes"),
    Command("dead-letters replay OUTPUT (--topic NAME --brokers HOST:PORT | --pipeline)",
            "pipelines.commands.dead_letters:replay",
            "send dead letters to a topic again, or through the pipeline, once"),
    Command("checkpoint show ID|default|DIR [--registry R]",
            "pipelines.commands.checkpoint_show:run",
            "show what a checkpoint is: its tasks, recipe and scores"),
    Command("checkpoint publish DIR --registry R", "pipelines.commands.registry:publish",
            "copy a checkpoint to a registry, for good"),
    Command("checkpoint list --registry R", "pipelines.commands.registry:list_checkpoints",
            "list the checkpoints of a registry, and which is active"),
    Command("checkpoint verify ID|DIR [--registry R]", "pipelines.commands.registry:verify",
            "compare every file of a checkpoint with its manifest"),
    Command("checkpoint rollback --registry R --why TEXT", "pipelines.commands.registry:rollback",
            "make the checkpoint active again that was active before"),
    Command("checkpoint history --registry R", "pipelines.commands.registry:history",
            "show what was active when, and who changed it why"),
    Command("checkpoint reference CHECKPOINT --texts FILE", "pipelines.commands.reference:run",
            "note what a checkpoint finds in texts, to tell drift by later"),
    Command("checkpoint promote ID --registry R --why TEXT", "training.commands.promote:run",
            "let a published checkpoint go live, if the gate lets it", ("seqeval",)),
    Command("corpora fetch", "training.commands.corpora:fetch",
            "download the training corpora and verify them"),
    Command("corpora check", "training.commands.corpora:check",
            "validate every corpus file; name file, line and reason"),
    Command("corpora split --corpus NAME --output FILE",
            "training.commands.corpora_documents:split", "draw documents of a corpus by a seed"),
    Command("corpora leaks NAME...", "training.commands.corpora_documents:leaks",
            "find documents and text that splits share"),
    Command("train stl --corpus NAME --output DIR", "training.commands.train:stl",
            "train a checkpoint with one head"),
    Command("train mtl --corpus NAME,... --output DIR", "training.commands.train:mtl",
            "train a checkpoint with one head a corpus"),
    Command("train dictionary --corpus NAME,... --output DIR", "training.commands.dictionary:run",
            "learn a dictionary, the rule-based baseline", ("seqeval",)),
    Command("train mlm --texts FILE --output DIR", "training.commands.mlm:run",
            "train an encoder on in-domain text, before it learns to tag"),
    Command("tune --corpus NAME,... --output DIR", "training.commands.tune:run",
            "search for a recipe's best numbers on devel", ("optuna", "matplotlib")),
    Command("calibrate CHECKPOINT --output DIR", "training.commands.calibrate:run",
            "copy a checkpoint with scores calibrated on devel"),
    Command("evaluate CHECKPOINT --corpus NAME,...", "training.commands.evaluate:run",
            "score a checkpoint's heads on a corpus split", ("seqeval", "sklearn")),
    Command("retrain --registry R --output DIR [--promote]", "training.commands.retrain:run",
            "train, evaluate, publish and judge a new checkpoint, as one round", ("seqeval",)),
    Command("drift OUTPUT [--checkpoint CHECKPOINT] [--html FILE.html]",
            "training.commands.drift:run",
            "tell whether what is found changes from day to day"),
    Command("completion bash|zsh|fish", "pubner.completion:run",
            "print a script that completes commands and options in a shell"),
    Command("experiments --output DIR [--gather FILE.json] [--page DIR]",
            "pubner.moved:experiments",
            "now `python -m experiments`, in a source tree"),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names (the process's own words if None); return its exit code.

    0 is success, 2 a wrong option, path or checkpoint, 3 a checkpoint that the gate refuses, 1 an
    error that pubner does not raise on purpose (each one line on standard error; `--verbose` shows
    the traceback), 130 an interrupt, 141 an output that nobody reads any more.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    prepare_streams()
    with watched_output() as output:
        try:
            code = _exit_code(words)
            sys.stdout.flush()
        except KeyboardInterrupt:
            _complain("interrupted")
            return 130
        except BaseException as error:  # a panic of a tokeniser is no Exception
            return _fail(error, lost=output.lost, verbose=_is_verbose(words))
        return code


def _exit_code(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    commands = click.version_option(package_name="pubner", message="pubner %(version)s")(
        Commands(COMMANDS)
    )
    try:
        with commands.make_context("pubner", [*words] or ["--help"]) as context:
            code: int = commands.invoke(context)
            return code
    except Exit as done:
        return done.exit_code if words else 2
    except SystemExit as request:
        return request.code if isinstance(request.code, int) else 0


def _fail(error: BaseException, *, lost: OSError | None, verbose: bool) -> int:
    """Complain of an error in one line; return the exit code.

    `lost` is why standard output could not be written, if it could not.
    """
    if isinstance(lost, BrokenPipeError):
        return 141
    if verbose:
        sys.stderr.write(safe_text("".join(traceback.format_exception(error)), lines=True))
    if lost is not None:
        error = OutputError(
            f"cannot write to standard output: {lost.strerror or lost}; make room, or send it "
            "somewhere else"
        )
    elif isinstance(error, click.ClickException):
        error = SettingsError(error.format_message())
    elif isinstance(error, OSError) and error.filename is not None:
        error = InputError(f"{os.fsdecode(error.filename)!r}: {error.strerror or error}")
    known = error if isinstance(error, PubnerError) else UnexpectedError(error)
    line = one_line(str(known))
    if isinstance(known, UnexpectedError) and not verbose:
        line += " (this was not expected; --verbose shows the traceback)"
    _complain(line)
    return known.exit_code


def _is_verbose(words: Sequence[str]) -> bool:
    options = words[: words.index("--")] if "--" in words else words
    given = os.environ.get("PUBNER_VERBOSE", "").lower() in ("1", "true", "t", "yes", "y", "on")
    return "--verbose" in options[1:] or (given and "--no-verbose" not in options)


def _complain(line: str) -> None:
    from worker.storage.locations import masked

    with contextlib.suppress(OSError):  # nobody reads standard error
        sys.stderr.write(f"pubner: {masked(line)}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
