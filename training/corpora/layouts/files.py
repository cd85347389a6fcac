"""Files of corpora in memory: plain or gzip, at most so large."""

from pathlib import Path
from typing import Final

from schemas.errors import CorpusError, DamagedStreamError
from worker.readers.streams import open_decompressed

MAX_BYTES: Final = 2**29


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return the content of `path`, decompressed.

    :raises CorpusError: if it cannot be read, or has more than `limit` bytes.
    """
    content = bytearray()
    try:
        with path.open("rb") as stream:
            for chunk in open_decompressed(stream):
                content += chunk
                if len(content) > limit:
                    raise CorpusError(
                        f"{path}: has more than {limit:,} bytes; split the file into several"
                    )
    except (OSError, DamagedStreamError) as error:
        raise CorpusError(f"{path}: cannot be read: {error}") from error
    return bytes(content)
