"""The blocks of code in the documents: found, listed, parsed."""

import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from pubner import cli
from tests.support.root import ROOT
from worker.cli.command import Settings

LIST = ROOT / "tests" / "documents" / "not_run.toml"
LANGUAGES = ("sh", "python", "sql", "toml", "json")

_FENCE = re.compile(r"^```(\w*)\s*$")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: its document, the line that it begins in, its language and its text."""

    document: str
    line: int
    language: str
    text: str

    @property
    def begins(self) -> str:
        """The first line that is no comment, by which the list names a block."""
        lines = [line.split("  #")[0].split(" # ")[0].strip() for line in self.text.splitlines()]
        return next((line for line in lines if line and not line.startswith("#")), "")

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.document}:{self.line}"


@dataclass(frozen=True, slots=True)
class NotRun:
    """A block that no test of the suite runs as it stands, and why.

    `how` is `long` where `make test-docs` runs it, else `parse`: only its options are read.
    """

    document: str
    begins: str
    how: Literal["long", "parse"]
    reason: str


class Parsed(BaseException):
    """What ends a command once its options are read."""


def documents() -> list[str]:
    """Return the documents whose code users copy, by their paths in the repository."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("[!.]*/README.md")]
    return sorted({str(path.relative_to(ROOT)) for path in found})


def blocks() -> list[Block]:
    """Return every block of code of every document, in order."""
    return [block for name in documents() for block in _blocks_of(name)]


def _blocks_of(document: str) -> Iterator[Block]:
    language, begin, lines = None, 0, list[str]()
    for number, line in enumerate((ROOT / document).read_text("utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if language is None and fence is not None:
            language, begin, lines = fence[1], number + 1, []
        elif fence is not None and not fence[1]:
            if language in LANGUAGES:
                yield Block(document, begin, str(language), "\n".join(lines) + "\n")
            language = None
        else:
            lines.append(line)


def exceptions() -> list[NotRun]:
    """Return the list of the blocks that the suite does not run as they stand."""
    return [NotRun(**entry) for entry in tomllib.loads(LIST.read_text("utf-8"))["block"]]


def exception_for(block: Block) -> NotRun | None:
    """Return the list's entry for a block; None where the suite runs it."""
    return next(
        (x for x in exceptions() if (x.document, x.begins) == (block.document, block.begins)), None
    )


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a shell script of one simple command a line.

    A sign of omission stands for options that another command prints, and is left out.
    """
    line = ""
    for part in text.replace("\\\n", " ").splitlines():
        line = f"{line}\n{part}" if line else part
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a quotation goes on in the next line
            continue
        line = ""
        words = [word for word in words if word != "…"]
        while words and _ASSIGNMENT.fullmatch(words[0]):
            words.pop(0)
        if words:
            yield words
    assert not line, f"a quotation without end: {line!r}"


def parse_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Settings | None:
    """Read the options of a command of pubner, and do nothing of what it says.

    :raises PubnerError: if it would be refused.
    """
    made = Settings.__init__

    def stop(self: Settings, **values: Any) -> None:
        made(self, **values)
        raise Parsed(self)

    command = next(
        (x for x in cli.COMMANDS if tuple(words[: len(x.words)]) == x.words),
        None,
    )
    assert command is not None, f"there is no command {' '.join(words)!r}"
    module, _, function = command.target.partition(":")
    run = getattr(importlib.import_module(module), function)
    with monkeypatch.context() as patch:
        patch.setattr(Settings, "__init__", stop)
        try:
            run(words[len(command.words) :])
        except Parsed as parsed:
            [settings] = parsed.args
            assert isinstance(settings, Settings)
            return settings
    raise AssertionError(f"{' '.join(words)!r} read no options")


def script(found: list[Block], python: Mapping[str, str]) -> str:
    """Return one shell script that runs blocks in turn, each after a line that says where it is."""
    lines = ["set -euo pipefail"]
    for block in found:
        lines.append(f"echo '@@ {block.place}' >&2")
        if block.language == "sh":
            lines.append(block.text)
        else:
            lines.append(f"{python[block.language]} <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK")
    return "\n".join(lines) + "\n"
