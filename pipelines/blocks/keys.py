"""Block keys: the grid that divides offsets into blocks, and the file names of blocks."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

from schemas.errors import InputError

SUFFIX = ".parquet"
_OFFSET_DIGITS = 12
_LONGEST_NAME = 240
"""Maximum bytes of a file name: file systems allow 255, and temporary names are longer."""


@dataclass(frozen=True, slots=True, order=True)
class BlockKey:
    """The key of a block: its source, the partition, and the first offset of its range."""

    source: str
    partition: int
    start: int


def block_start(offset: int, block_size: int) -> int:
    """Return the first offset of the block that contains `offset`."""
    return offset - offset % block_size


def file_name(key: BlockKey) -> str:
    """Return the file name of a block, the same in every kind's folder; `parse_name` reverses it.

    :raises InputError: if the source's name is too long for a file name.
    """
    name = f"{name_prefix(key.source, key.partition)}{key.start:0{_OFFSET_DIGITS}d}{SUFFIX}"
    if len(name) > _LONGEST_NAME:
        raise InputError(
            f"the name {key.source!r} is too long for the name of an output file "
            f"({len(name)} characters encoded, {_LONGEST_NAME} allowed); rename the input"
        )
    return name


def name_prefix(source: str, partition: int) -> str:
    """Return the prefix of the file names of all blocks of a source's partition.

    The names of a source called `NAME-0` also begin with the prefix of `NAME`; `parse_name` tells
    them apart.
    """
    return f"{encode_source(source)}-{partition}-"


def parse_name(name: str) -> BlockKey | None:
    """Return the key of the block that a file name belongs to; None if it is not a block's name."""
    parts = name.removesuffix(SUFFIX).rsplit("-", 2)
    if len(parts) != 3 or not name.endswith(SUFFIX) or name.startswith("."):
        return None
    source, partition, start = parts
    if not (partition.isdecimal() and start.isdecimal()):
        return None
    key = BlockKey(unquote(source), int(partition), int(start))
    return key if file_name(key) == name else None


def encode_source(source: str) -> str:
    """Return `source` percent-encoded for a file name that is valid on every store and not hidden.

    ASCII letters and digits, `.`, `_` and `-` are kept; every other character is percent-encoded,
    and so is a leading `.` or `_`, since readers of Parquet data sets skip such names.
    """
    encoded = quote(source, safe="").replace("~", "%7E")
    if encoded[:1] in (".", "_"):
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    return encoded
