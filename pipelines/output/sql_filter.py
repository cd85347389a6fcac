"""SQL conditions over the columns of `citations`, evaluated by DuckDB in a sandboxed process.

A condition comes from a command line, so it can access nothing but the rows it is given: no file,
no network, no extension, no Python variable, and no setting that would give access to them. It is
evaluated in a process of its own, which is killed on a timeout, and whose memory is limited.
"""

import io
import json
import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, BinaryIO, cast

import pyarrow as pa

from pipelines.output.sql_process import memory_limit, receive, send
from schemas.arrow import CITATIONS
from schemas.errors import SettingsError

SECONDS = 60.0
"""Timeout of a condition for the rows of one block."""
_POLL_SECONDS = 0.2
_COMMAND = (sys.executable, "-P", "-m", "pipelines.output.sql_process")
_TEXT = "text"
_BOOLEAN = "BOOLEAN"

Evaluate = Callable[[pa.Table], pa.BooleanArray]
"""A function that evaluates the condition for each row of a table, which has its columns."""


def _no_check() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that `parse_condition` has checked, and the columns that it needs.

    `text`, which is most of a block, is left out of the columns if the condition does not need it.
    """

    sql: str
    columns: tuple[str, ...]
    _idle: list["_Evaluator"] = field(default_factory=list, compare=False, repr=False)

    def __reduce__(self) -> tuple[type["Condition"], tuple[str, tuple[str, ...]]]:
        """Pickle the SQL and the columns; each process starts its own evaluators."""
        return Condition, (self.sql, self.columns)

    @contextmanager
    def evaluating(
        self, *, seconds: float = SECONDS, check: Callable[[], None] = _no_check
    ) -> Iterator[Evaluate]:
        """Open an evaluator of the condition, for one thread at a time.

        A row for which the condition is null does not match. The offsets of a table must be
        unique, like those of a block. During the evaluation `check` is called and may raise.

        :raises SettingsError: (the function) if a value cannot be evaluated, such as a wrong cast,
            or if it takes more than `seconds`, or too much memory.
        """
        try:
            evaluator = self._idle.pop()
        except IndexError:
            evaluator = _Evaluator(self.sql)

        def evaluate(table: pa.Table) -> pa.BooleanArray:
            found = evaluator.ask(b"M", table.select(self.columns), seconds, check)
            return pa.array(list(map(bool, found)), pa.bool_())

        try:
            yield evaluate
        finally:
            if evaluator.is_alive:
                self._idle.append(evaluator)


def parse_condition(sql: str, *, seconds: float = SECONDS) -> Condition:
    """Return the checked condition of `sql`.

    :raises SettingsError: if it is not exactly one boolean expression, or names something that is
        not a column of `citations`, or if its constant parts take more than `seconds` or too much
        memory.
    """
    whole = CITATIONS.empty_table()
    without_text = whole.drop_columns([_TEXT])
    evaluator = _Evaluator(sql)
    try:
        types = evaluator.types(whole, seconds)
    except SettingsError:
        evaluator.kill()
        raise
    wrong = [kind for kind in types if kind != _BOOLEAN]
    if wrong:
        evaluator.kill()
        raise SettingsError(
            f"--where {sql!r} is of type {wrong[0].strip(chr(34))}, expected a condition that "
            "is true or false, such as \"checkpoint_id != 'ID'\""
        )
    try:
        needs_text = evaluator.types(without_text, seconds) != types
    except SettingsError:
        needs_text = True
    table = whole if needs_text else without_text
    return Condition(sql, tuple(table.column_names), [evaluator] if evaluator.is_alive else [])


class _Evaluator:
    """A subprocess that evaluates `sql`; it ends with this object, and with this process."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._process = subprocess.Popen(  # noqa: S603
            [*_COMMAND, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C goes to this process, which then kills it
        )
        self.kill = weakref.finalize(self, _end, self._process)
        self._send(json.dumps(sql).encode())

    @property
    def is_alive(self) -> bool:
        """Whether the process can take requests."""
        return self._process.poll() is None

    def types(self, table: pa.Table, seconds: float) -> list[str]:
        """Return the types of the condition's results on an empty table."""
        found: list[str] = json.loads(self.ask(b"T", table, seconds, _no_check))
        return found

    def ask(self, what: bytes, table: pa.Table, seconds: float, check: Callable[[], None]) -> bytes:
        """Return the answer to a request; any error or interrupt ends the process.

        :raises SettingsError: as `Condition.evaluating`.
        """
        sink = io.BytesIO()
        sink.write(what)
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        request = sink.getvalue()
        try:
            self._send(request)
            answer = self._receive(seconds, check)
        except BaseException:
            self.kill()
            raise
        if answer is None or answer[:1] == b"#":
            status = self._process.wait() if answer is None else 0
            self.kill()
            if status > 0:
                raise SettingsError(
                    f"--where {self.sql!r}: the process that evaluates it ended with status "
                    f"{status}; check that `{' '.join(_COMMAND)}` can be started here"
                )
            raise SettingsError(
                f"--where {self.sql!r} needs more than the "
                f"{memory_limit(len(request)) // 2**20:,} MiB of memory that are allowed; "
                "write a simpler condition"
            )
        if answer[:1] == b"!":
            raise _refusal(self.sql, answer[1:].decode("utf-8", "replace"))
        return answer[1:]

    def _send(self, data: bytes) -> None:
        try:
            send(cast("BinaryIO", self._process.stdin), data)
        except BrokenPipeError:
            return  # the process ended; there will be no answer either

    def _receive(self, seconds: float, check: Callable[[], None]) -> bytes | None:
        stream = cast("BinaryIO", self._process.stdout)
        deadline = time.monotonic() + seconds
        while not select.select([stream], [], [], _POLL_SECONDS)[0]:
            check()
            if time.monotonic() >= deadline:
                raise SettingsError(
                    f"--where {self.sql!r} takes more than {seconds:g} s for the citations of one "
                    "block; write a simpler condition"
                )
        return receive(stream)


def _refusal(sql: str, line: str) -> SettingsError:
    """Return DuckDB's error about a condition, in one line."""
    names = ", ".join(f'"{name}"' if name == "offset" else name for name in CITATIONS.names)
    return SettingsError(
        f"--where {sql!r}: {line.rstrip('.!: ')}; expected one SQL condition over the columns of "
        f"citations ({names})"
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        _close(stream)


def _close(stream: IO[bytes] | None) -> None:
    try:
        if stream is not None:
            stream.close()
    except OSError:
        return  # unsent data that the process no longer reads
