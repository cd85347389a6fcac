"""The git blob id of a file: SHA-1 of `blob`, a space, the size, a zero byte, and the content."""

import hashlib
from pathlib import Path

_CHUNK = 1 << 20


def blob_id(content: bytes) -> str:
    """Return the git blob id of `content`, as hex."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def file_blob_id(path: Path) -> str:
    """Return the git blob id of the file at `path`, as hex, reading it in chunks."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
