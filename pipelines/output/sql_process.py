"""The process that evaluates a condition: `python -P -m pipelines.output.sql_process PARENT_PID`.

A condition may need unlimited time and memory, and a running function of DuckDB can be neither
interrupted nor limited. So it is evaluated here, in a process that can be killed, whose memory the
system limits, and which can access nothing but the rows that it is sent.

Requests and answers are a length of eight bytes, followed by the data. The first request is the
SQL, as a JSON string. Every other request is a type byte and a table as an Arrow stream: `T` asks
for the types of the SQL's results, `M` for the matching rows, as one byte for each row. An answer
begins with `.`, followed by the result as JSON or bytes; or `!`, followed by an error message of
one line; or `#`, which means out of memory.
"""

import json
import resource
import struct
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from worker.system.children import end_with_parent

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DUCKDB_BYTES = 512 * 2**20
_OWN_BYTES = 2**30
_LENGTH = struct.Struct("<Q")


def memory_limit(table_bytes: int) -> int:
    """Return the memory limit in bytes for evaluating a condition on a table."""
    return _OWN_BYTES + 4 * table_bytes


def send(stream: BinaryIO, data: bytes) -> None:
    """Write one request or answer."""
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> bytes | None:
    """Read one request or answer; None at the stream's end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    data = stream.read(size)
    return data if len(data) == size else None


def main() -> None:
    """Answer requests until standard input ends."""
    end_with_parent(int(sys.argv[1]))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    first = receive(requests)
    if first is None:
        return
    sql: str = json.loads(first)
    connection = _sealed()
    while (request := receive(requests)) is not None:
        _limit(len(request))
        try:
            send(answers, b"." + b"".join(_answer(connection, sql, request)))
        except (MemoryError, duckdb.OutOfMemoryException):
            send(answers, b"#")
        except (duckdb.Error, UnicodeError) as error:
            line = str(error).partition("\n")[0]
            out_of_memory = "bad_alloc" in line
            send(answers, b"#" if out_of_memory else b"!" + line.encode("utf-8", "replace"))


def _answer(connection: "DuckDBPyConnection", sql: str, request: bytes) -> Iterator[bytes]:
    table = pa.ipc.open_stream(memoryview(request)[1:]).read_all()
    rows = connection.from_arrow(table).filter(sql)
    if request[:1] == b"T":
        # `filter` accepts exactly one expression, and refuses aggregates; `project` returns the
        # types: one, or several if the condition uses COLUMNS.
        rows.fetchall()
        types = connection.from_arrow(table).project(sql).types
        yield json.dumps([str(kind) for kind in types]).encode()
        return
    found = rows.select('"offset"').to_arrow_table()
    yield bytes(pc.is_in(table["offset"], found["offset"]).to_pylist())


def _limit(table_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_limit(table_bytes), hard))


def _sealed() -> "DuckDBPyConnection":
    """Open an in-memory DuckDB that can access nothing but the tables that it is given."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "allow_community_extensions": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "max_temp_directory_size": "0KB",
            "memory_limit": f"{DUCKDB_BYTES}B",
            "python_enable_replacements": "false",
            "temp_directory": "",
            "threads": "1",
        },
    )
    connection.execute("SET enable_external_access = false")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET lock_configuration = true")
    return connection


if __name__ == "__main__":
    main()
