"""Splitting of byte chunks into lines of bounded size."""

from collections.abc import Iterable, Iterator

from schemas.errors import DamagedStreamError
from worker.readers.failures import MAX_RECORD_BYTES, Failure, oversize_failure, read_failure

_BOM = b"\xef\xbb\xbf"


def split_lines(
    chunks: Iterable[bytes], *, max_line_bytes: int = MAX_RECORD_BYTES
) -> Iterator[bytes | Failure]:
    r"""Yield the lines of `chunks` without their line ends (`\n` or `\r\n`), in order.

    A UTF-8 byte order mark at the beginning of a line is dropped, because concatenated files have
    them in the middle. A line over `max_line_bytes` gives a failure with its first bytes, and so
    does the incomplete last line of a damaged stream.
    """
    for line in _lines(chunks, max_line_bytes):
        if isinstance(line, bytes):
            while line.startswith(_BOM):
                line = line.removeprefix(_BOM)
        yield line


def _lines(chunks: Iterable[bytes], limit: int) -> Iterator[bytes | Failure]:
    pieces: list[bytes] = []  # of the current, unfinished line, up to the limit
    held = 0
    source = iter(chunks)
    damage: DamagedStreamError | None = None
    while True:
        try:
            chunk = next(source)
        except StopIteration:
            break
        except DamagedStreamError as error:
            damage = error
            break
        *finished, rest = chunk.split(b"\n")
        for line in finished:
            if held <= limit:
                pieces.append(line)
            held += len(line)
            whole = b"".join(pieces)
            pieces.clear()
            yield (
                oversize_failure(whole, limit, held) if held > limit else whole.removesuffix(b"\r")
            )
            held = 0
        if rest:
            if held <= limit:
                pieces.append(rest)
            held += len(rest)
    last = b"".join(pieces)
    if damage is not None:
        yield read_failure(damage, last[:limit])
    elif held > limit:
        yield oversize_failure(last, limit, held)
    elif last:
        yield last.removesuffix(b"\r")
