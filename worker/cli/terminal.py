"""Safe terminal output: control characters escaped, every character encodable."""

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO, cast

_CONTROL: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_HIDING: Final = r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
"""Characters that change the direction of text, end lines, or are invisible."""
_SURROGATES: Final = r"\ud800-\udfff"
_UNSAFE: Final = re.compile(f"[{_CONTROL}\t\n{_HIDING}{_SURROGATES}]")
_UNSAFE_IN_LINES: Final = re.compile(f"[{_CONTROL}{_HIDING}{_SURROGATES}]")
_UNSAFE_IN_JSON: Final = re.compile(rf"[\x7f-\x9f{_HIDING}{_SURROGATES}]")
_LONG_WORD: Final = re.compile(r"\S{400,}")
_HEAD, _TAIL = 160, 80


def safe_text(text: str, *, lines: bool = False) -> str:
    r"""Return `text` with every character that could control a terminal escaped.

    Those are control characters, characters that change the direction of text, and lone
    surrogates, which stand for undecodable bytes of a file name. Line feeds and tabs are escaped
    too unless `lines` is true.
    """
    return (_UNSAFE_IN_LINES if lines else _UNSAFE).sub(_escape, text)


def one_line(text: str) -> str:
    """Return `text` escaped and on one line; the middle of a very long word is left out.

    The word's length is shown instead.
    """
    return _LONG_WORD.sub(_shorten, safe_text(" ".join(text.split())))


def safe_json(
    value: object,
    *,
    indent: int | None = None,
    default: Callable[[Any], object] | None = None,
    encoding: str = "utf-8",
) -> str:
    """Return `value` as JSON that cannot control a terminal and that `encoding` can encode.

    Parsing it gives the same value: unsafe characters are written as JSON escapes. `default`
    converts an object that JSON cannot represent.
    """
    ascii_only = not encoding.lower().replace("_", "-").startswith("utf")
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only, default=default)
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def prepare_streams() -> None:
    """Let standard output and error accept any text: unencodable characters become escapes.

    A closed one is replaced by a stream that discards its input.
    """
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")


class WatchedOutput:
    """A wrapper of a stream that keeps the error of a failed write in `lost`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write to the stream."""
        with self._watching():
            return self._stream.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        with self._watching():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of a stream
        return getattr(self._stream, name)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost = error
            raise


@contextmanager
def watched_output() -> Iterator[WatchedOutput]:
    """Replace standard output, while the block runs, by a `WatchedOutput` of it."""
    before = sys.stdout
    watched = WatchedOutput(before)
    sys.stdout = cast("TextIO", watched)
    try:
        yield watched
    finally:
        sys.stdout = before
        if watched.lost is not None:
            # Otherwise Python would fail again when it flushes at exit.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), before.fileno())


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _shorten(found: re.Match[str]) -> str:
    word = found[0]
    return f"{word[:_HEAD]}…[{len(word):,} characters]…{word[-_TAIL:]}"
