"""Refuses words that the project no longer uses: `python -m tests.wording`, part of `make check`.

The list, with what to write instead, is `tests/documents/retired_words.toml`. What is checked is
every tracked text file but the list and the change log.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests" / "documents" / "retired_words.toml"
_KINDS = {".py", ".md", ".j2", ".toml", ".yml", ".css"}


def load_words(path: Path = LIST) -> dict[str, str]:
    """Return the retired words, as regular expressions, and what to write instead."""
    found: dict[str, str] = tomllib.loads(path.read_text(encoding="utf-8"))["words"]
    return found


def tracked_files() -> Iterator[Path]:
    """Yield the text files that are checked."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, done.stdout.split("\0")):
        path = ROOT / name
        generated = name.startswith("docs/experiments")
        left_out = generated or path in (LIST, ROOT / "CHANGELOG.md")
        if path.suffix in _KINDS and path.is_file() and not left_out:
            yield path


def problems(paths: Iterable[Path], words: dict[str, str]) -> Iterator[str]:
    """Yield a line for each use of a retired word: file, line, word, and what to write."""
    pattern = re.compile("|".join(f"(?P<w{n}>{word})" for n, word in enumerate(words)), re.I)
    instead = list(words.values())
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for match in pattern.finditer(line):
                which = next(int(name[1:]) for name, text in match.groupdict().items() if text)
                yield f"{path}:{number}: {match[0]!r}: write {instead[which]!r}"


if __name__ == "__main__":
    lines = list(problems(tracked_files(), load_words()))
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.exit(bool(lines))
