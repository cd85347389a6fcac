"""The one command, `pubner`: a table of sub-commands, each imported only when it is run."""

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas.errors import InputError, OutputError, PubnerError, UnexpectedError
from worker.cli.terminal import one_line, prepare_streams, safe_text, watched_output


class Command(NamedTuple):
    """A sub-command: its words, the `module:function` that runs it, and one line of help.

    `needs` are the modules without which it can do nothing, and that a plain installation lacks.
    """

    words: tuple[str, ...]
    target: str
    usage: str
    summary: str
    needs: tuple[str, ...] = ()


COMMANDS = (
    Command(
        ("annotate",),
        "pipelines.commands.annotate:run",
        "annotate [INPUT...] --output DIR",
        "annotate PubMed XML, PubTator or JSONL files; write Parquet",
    ),
    Command(
        ("reannotate",),
        "pipelines.commands.reannotate:run",
        "reannotate OUTPUT --where CONDITION",
        "annotate again from the stored text what another checkpoint made",
    ),
    Command(
        ("feed",),
        "pipelines.commands.feed:run",
        "feed [INPUT...] --brokers HOST:PORT --topic NAME",
        "publish PubMed files as citation messages and tombstones",
    ),
    Command(
        ("stream",),
        "pipelines.commands.stream:run",
        "stream --brokers HOST:PORT --topic NAME --group NAME --output DIR",
        "annotate Kafka topics as messages arrive; write Parquet",
    ),
    Command(
        ("dead-letters", "list"),
        "pipelines.commands.dead_letters:list_dead_letters",
        "dead-letters list OUTPUT",
        "list what could not be annotated, and why",
    ),
    Command(
        ("dead-letters", "show"),
        "pipelines.commands.dead_letters:show",
        "dead-letters show OUTPUT SOURCE/PARTITION/OFFSET",
        "show one dead letter with its original bytes",
    ),
    Command(
        ("dead-letters", "replay"),
        "pipelines.commands.dead_letters:replay",
        "dead-letters replay OUTPUT (--topic NAME --brokers HOST:PORT | --pipeline)",
        "send dead letters to a topic again, or through the pipeline, once",
    ),
    Command(
        ("checkpoint", "show"),
        "pipelines.commands.checkpoint_show:run",
        "checkpoint show ID|default|DIR [--registry R]",
        "show what a checkpoint is: its tasks, recipe and scores",
    ),
    Command(
        ("checkpoint", "publish"),
        "pipelines.commands.registry:publish",
        "checkpoint publish DIR --registry R",
        "copy a checkpoint to a registry, for good",
    ),
    Command(
        ("checkpoint", "list"),
        "pipelines.commands.registry:list_checkpoints",
        "checkpoint list --registry R",
        "list the checkpoints of a registry, and which is active",
    ),
    Command(
        ("checkpoint", "verify"),
        "pipelines.commands.registry:verify",
        "checkpoint verify ID|DIR [--registry R]",
        "compare every file of a checkpoint with its manifest",
    ),
    Command(
        ("checkpoint", "rollback"),
        "pipelines.commands.registry:rollback",
        "checkpoint rollback --registry R --why TEXT",
        "make the checkpoint active again that was active before",
    ),
    Command(
        ("checkpoint", "history"),
        "pipelines.commands.registry:history",
        "checkpoint history --registry R",
        "show what was active when, and who changed it why",
    ),
    Command(
        ("checkpoint", "reference"),
        "pipelines.commands.reference:run",
        "checkpoint reference CHECKPOINT --texts FILE",
        "note what a checkpoint finds in texts, to tell drift by later",
    ),
    Command(
        ("checkpoint", "promote"),
        "training.commands.promote:run",
        "checkpoint promote ID --registry R --why TEXT",
        "let a published checkpoint go live, if the gate lets it",
        ("seqeval",),
    ),
    Command(
        ("corpora", "fetch"),
        "training.commands.corpora:fetch",
        "corpora fetch",
        "download the training corpora and verify them",
    ),
    Command(
        ("corpora", "check"),
        "training.commands.corpora:check",
        "corpora check",
        "validate every corpus file; name file, line and reason",
    ),
    Command(
        ("train", "stl"),
        "training.commands.train:stl",
        "train stl --corpus NAME --output DIR",
        "train a checkpoint with one head",
    ),
    Command(
        ("train", "mtl"),
        "training.commands.train:mtl",
        "train mtl --corpus NAME,... --output DIR",
        "train a checkpoint with one head a corpus",
    ),
    Command(
        ("train", "dictionary"),
        "training.commands.dictionary:run",
        "train dictionary --corpus NAME,... --output DIR",
        "learn a dictionary, the rule-based baseline",
        ("seqeval",),
    ),
    Command(
        ("train", "mlm"),
        "training.commands.mlm:run",
        "train mlm --texts FILE --output DIR",
        "train an encoder on in-domain text, before it learns to tag",
    ),
    Command(
        ("tune",),
        "training.commands.tune:run",
        "tune --corpus NAME,... --output DIR",
        "search for a recipe's best numbers on devel",
        ("optuna", "matplotlib"),
    ),
    Command(
        ("calibrate",),
        "training.commands.calibrate:run",
        "calibrate CHECKPOINT --output DIR",
        "copy a checkpoint with scores calibrated on devel",
    ),
    Command(
        ("evaluate",),
        "training.commands.evaluate:run",
        "evaluate CHECKPOINT --corpus NAME,...",
        "score a checkpoint's heads on a corpus split",
        ("seqeval", "sklearn"),
    ),
    Command(
        ("retrain",),
        "training.commands.retrain:run",
        "retrain --registry R --output DIR [--promote]",
        "train, evaluate, publish and judge a new checkpoint, as one round",
        ("seqeval",),
    ),
    Command(
        ("drift",),
        "training.commands.drift:run",
        "drift OUTPUT [--checkpoint CHECKPOINT] [--html FILE.html]",
        "tell whether what is found changes from day to day",
    ),
    Command(
        ("completion",),
        "pubner.completion:run",
        "completion bash|zsh|fish",
        "print a script that completes commands and options in a shell",
    ),
    Command(
        ("experiments",),
        "pubner.moved:experiments",
        "experiments --output DIR [--gather FILE.json] [--page DIR]",
        "now `python -m experiments`, in a source tree",
    ),
)


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
    try:
        return _dispatch(words)
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
    return "--verbose" in options or (given and "--no-verbose" not in options)


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"] and len(words) > 1:
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        _print(_help(COMMANDS))
        return 0 if words else 2
    if words[0] == "--version":
        from importlib.metadata import version

        _print(f"pubner {version('pubner')}\n")
        return 0
    for command in COMMANDS:
        count = len(command.words)
        if tuple(words[:count]) == command.words:
            return _run(command, words[count:])
    family = [command for command in COMMANDS if command.words[0] == words[0]]
    if family and words[1:2] in (["-h"], ["--help"]):
        _print(_help(family, f"{words[0]} "))
        return 0
    _complain(_unknown(words, family))
    return 2


def _run(command: Command, words: Sequence[str]) -> int:
    """Run a command; a package that it lacks is an error that names the way to install it.

    :raises MissingPackageError: if a package that an extra brings is not installed.
    """
    from worker.system.extras import missing_package, require

    name = f"pubner {' '.join(command.words)}"
    if command.needs and not {"-h", "--help"} & set(words):
        require(*command.needs, purpose=name)
    try:
        return _load(command.target)(words)
    except ImportError as error:
        known = missing_package(error, name)
        if known is None:
            raise
        raise known from error


def _load(target: str) -> Callable[[Sequence[str]], int]:
    module, _, function = target.partition(":")
    run: Callable[[Sequence[str]], int] = getattr(importlib.import_module(module), function)
    return run


def _unknown(words: list[str], family: Sequence[Command]) -> str:
    if not family:
        known = ", ".join(dict.fromkeys(command.words[0] for command in COMMANDS))
        return f"unknown command {words[0]!r}; known are {known} (see `pubner --help`)"
    known = ", ".join(command.words[1] for command in family)
    if len(words) == 1:
        return f"{words[0]!r} needs one of {known} after it (see `pubner {words[0]} --help`)"
    return f"unknown command {' '.join(words[:2])!r}; {words[0]!r} has {known}"


def _help(commands: Sequence[Command], family: str = "") -> str:
    """Return the help of commands, which share the first word `family`, if any."""
    lines = [f"usage: pubner {family}COMMAND [OPTION...]", ""]
    lines += ["pubner annotates PubMed with biomedical entities.", ""] if not family else []
    lines += ["commands:"]
    for command in commands:
        lines += [f"  {command.usage}", f"      {command.summary}"]
    lines += [
        "",
        f"`pubner {family}COMMAND --help` lists a command's options, "
        "`pubner --version` says the version.",
    ]
    return "\n".join(lines) + "\n"


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _complain(line: str) -> None:
    from worker.storage.locations import masked

    with contextlib.suppress(OSError):  # nobody reads standard error
        sys.stderr.write(f"pubner: {masked(line)}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
