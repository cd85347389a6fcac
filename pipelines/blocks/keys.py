"""Blocks: the grid that positions are cut into, and the file names made from a block alone."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

from schemas.errors import InputError

SUFFIX = ".parquet"
_OFFSET_DIGITS = 12
_LONGEST_NAME = 240
"""Bytes of a file name; file systems allow 255, and a temporary name is a little longer."""


@dataclass(frozen=True, slots=True, order=True)
class BlockKey:
    """One block of the grid: its source, the partition, and the first offset it may hold."""

    source: str
    partition: int
    start: int


def block_start(offset: int, block_size: int) -> int:
    """Return the first offset of the block that `offset` lies in."""
    return offset - offset % block_size


def file_name(key: BlockKey) -> str:
    """Return the file name of a block, the same in every kind's folder; `parse_name` reverses it.

    :raises InputError: if the source's name is too long for a file name.
    """
    name = f"{name_prefix(key.source, key.partition)}{key.start:0{_OFFSET_DIGITS}d}{SUFFIX}"
    if len(name) > _LONGEST_NAME:
        raise InputError(
            f"the name {key.source!r} is too long to name output files by it "
            f"({len(name)} characters encoded, {_LONGEST_NAME} allowed); rename the input"
        )
    return name


def name_prefix(source: str, partition: int) -> str:
    """Return what the file names of all blocks of a source's partition begin with.

    Those of a source called `NAME-0` begin with the prefix of `NAME`, too: `parse_name` tells.
    """
    return f"{encode_source(source)}-{partition}-"


def parse_name(name: str) -> BlockKey | None:
    """Return the block that a file name stands for; None where it is no block's name."""
    parts = name.removesuffix(SUFFIX).rsplit("-", 2)
    if len(parts) != 3 or not name.endswith(SUFFIX) or name.startswith("."):
        return None
    source, partition, start = parts
    if not (partition.isdecimal() and start.isdecimal()):
        return None
    key = BlockKey(unquote(source), int(partition), int(start))
    return key if file_name(key) == name else None


def encode_source(source: str) -> str:
    """Return `source` as part of a file name: valid on every store, never a hidden file's.

    Letters and digits of ASCII, `.`, `_` and `-` stand for themselves, except that a leading `.` or
    `_` is written as its percent-encoding, as is every other character: readers of Parquet data
    sets skip names that begin with `.` or `_`.
    """
    encoded = quote(source, safe="").replace("~", "%7E")
    if encoded[:1] in (".", "_"):
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    return encoded
