"""The one command, `pubner`: a table of sub-commands, each imported only when it is run."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas.errors import PubnerError


class Command(NamedTuple):
    """A sub-command: its words, the `module:function` that runs it, and one line of help."""

    words: tuple[str, ...]
    target: str
    usage: str
    summary: str


COMMANDS = (
    Command(
        ("annotate",),
        "pipelines.annotate_command:run",
        "annotate [INPUT...] --output DIR",
        "annotate PubMed XML, PubTator or JSONL files; write Parquet",
    ),
    Command(
        ("reannotate",),
        "pipelines.reannotate_command:run",
        "reannotate OUTPUT --where CONDITION",
        "annotate again from the stored text what another checkpoint made",
    ),
    Command(
        ("feed",),
        "pipelines.feed_command:run",
        "feed [INPUT...] --brokers HOST:PORT --topic NAME",
        "publish PubMed files as citation messages and tombstones",
    ),
    Command(
        ("stream",),
        "pipelines.stream_command:run",
        "stream --brokers HOST:PORT --topic NAME --group NAME --output DIR",
        "annotate Kafka topics as messages arrive; write Parquet",
    ),
    Command(
        ("dead-letters", "list"),
        "pipelines.dead_letters_command:list_letters",
        "dead-letters list OUTPUT",
        "list what could not be annotated, and why",
    ),
    Command(
        ("dead-letters", "show"),
        "pipelines.dead_letters_command:show",
        "dead-letters show OUTPUT SOURCE/PARTITION/OFFSET",
        "show one dead letter with its original bytes",
    ),
    Command(
        ("dead-letters", "replay"),
        "pipelines.dead_letters_command:replay",
        "dead-letters replay OUTPUT (--topic NAME --brokers HOST:PORT | --pipeline)",
        "send dead letters to a topic again, or through the pipeline, once",
    ),
    Command(
        ("checkpoint", "show"),
        "pipelines.checkpoint_command:run",
        "checkpoint show ID|default|DIR [--registry R]",
        "show what a checkpoint is: its tasks, recipe and scores",
    ),
    Command(
        ("checkpoint", "publish"),
        "pipelines.registry_command:publish",
        "checkpoint publish DIR --registry R",
        "copy a checkpoint to a registry, for good",
    ),
    Command(
        ("checkpoint", "list"),
        "pipelines.registry_command:list_checkpoints",
        "checkpoint list --registry R",
        "list the checkpoints of a registry, and which is active",
    ),
    Command(
        ("checkpoint", "verify"),
        "pipelines.registry_command:verify",
        "checkpoint verify ID|DIR [--registry R]",
        "compare every file of a checkpoint with its manifest",
    ),
    Command(
        ("checkpoint", "rollback"),
        "pipelines.registry_command:rollback",
        "checkpoint rollback --registry R --why TEXT",
        "make the checkpoint active again that was active before",
    ),
    Command(
        ("checkpoint", "history"),
        "pipelines.registry_command:history",
        "checkpoint history --registry R",
        "show what was active when, and who changed it why",
    ),
    Command(
        ("checkpoint", "reference"),
        "pipelines.reference_command:run",
        "checkpoint reference CHECKPOINT --texts FILE",
        "note what a checkpoint finds in texts, to tell drift by later",
    ),
    Command(
        ("checkpoint", "promote"),
        "training.promote_command:run",
        "checkpoint promote ID --registry R --why TEXT",
        "let a published checkpoint go live, if the gate lets it",
    ),
    Command(
        ("corpora", "fetch"),
        "training.corpora.command:fetch",
        "corpora fetch",
        "download the training corpora and verify them",
    ),
    Command(
        ("corpora", "check"),
        "training.corpora.command:check",
        "corpora check",
        "validate every corpus file; name file, line and reason",
    ),
    Command(
        ("train", "stl"),
        "training.train_command:stl",
        "train stl --corpus NAME --output DIR",
        "train a checkpoint with one head",
    ),
    Command(
        ("train", "mtl"),
        "training.train_command:mtl",
        "train mtl --corpus NAME,... --output DIR",
        "train a checkpoint with one head a corpus",
    ),
    Command(
        ("train", "dictionary"),
        "training.dictionary_command:run",
        "train dictionary --corpus NAME,... --output DIR",
        "learn a dictionary, the rule-based baseline",
    ),
    Command(
        ("train", "mlm"),
        "training.mlm_command:run",
        "train mlm --texts FILE --output DIR",
        "train an encoder on in-domain text, before it learns to tag",
    ),
    Command(
        ("tune",),
        "training.tune_command:run",
        "tune --corpus NAME,... --output DIR",
        "search for a recipe's best numbers on devel",
    ),
    Command(
        ("calibrate",),
        "training.calibrate_command:run",
        "calibrate CHECKPOINT --output DIR",
        "copy a checkpoint with scores calibrated on devel",
    ),
    Command(
        ("evaluate",),
        "training.evaluate_command:run",
        "evaluate CHECKPOINT --corpus NAME,...",
        "score a checkpoint's heads on a corpus split",
    ),
    Command(
        ("retrain",),
        "training.retrain_command:run",
        "retrain --registry R --output DIR [--promote]",
        "train, evaluate, publish and judge a new checkpoint, as one round",
    ),
    Command(
        ("drift",),
        "training.drift_command:run",
        "drift OUTPUT [--checkpoint CHECKPOINT] [--html FILE.html]",
        "tell whether what is found changes from day to day",
    ),
    Command(
        ("experiments",),
        "training.experiments.command:run",
        "experiments --output DIR [--gather FILE.json] [--page DIR]",
        "run the experiment table, and write it as data and as a page",
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names (the process's own words if None); return its exit code.

    0 is success, 2 a wrong option, path or checkpoint, 3 a checkpoint that the gate refuses (each
    one line on standard error), 130 an interrupt. An error that pubner does not raise on purpose
    keeps its traceback.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except PubnerError as error:
        _complain(" ".join(str(error).split()))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except SystemExit as request:
        return request.code if isinstance(request.code, int) else 0


def _dispatch(words: list[str]) -> int:
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
            return _load(command.target)(words[count:])
    family = [command for command in COMMANDS if command.words[0] == words[0]]
    if family and words[1:2] in (["-h"], ["--help"]):
        _print(_help(family))
        return 0
    _complain(_unknown(words, family))
    return 2


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
        return f"{words[0]!r} needs one of {known} behind it (see `pubner {words[0]} --help`)"
    return f"unknown command {' '.join(words[:2])!r}; known behind {words[0]!r} are {known}"


def _help(commands: Sequence[Command]) -> str:
    lines = ["usage: pubner COMMAND [OPTION...]", ""]
    lines += ["pubner annotates PubMed with biomedical entities.", ""]
    lines += ["commands:"]
    for command in commands:
        lines += [f"  {command.usage}", f"      {command.summary}"]
    lines += [
        "",
        "`pubner COMMAND --help` lists a command's options; `pubner --version` the version.",
    ]
    return "\n".join(lines) + "\n"


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _complain(line: str) -> None:
    from worker.places import masked

    sys.stderr.write(f"pubner: {masked(line)}\n")


if __name__ == "__main__":
    sys.exit(main())
