"""Digests of corpora: SHA-256, and git blob ids.

A git blob id is the SHA-1 of `blob`, a space, the size, a zero byte, and the content.
"""

import hashlib
from pathlib import Path

_CHUNK = 1 << 20


def blob_id(content: bytes) -> str:
    """Return the git blob id of `content`, as hex."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def file_blob_id(path: Path) -> str:
    """Return the git blob id of the file at `path`, as hex, reading it in chunks.

    For a folder it is that of the names and SHA-256 digests of its files.
    """
    if path.is_dir():
        return blob_id(_listing(path))
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of the file at `path`, as hex; of a folder, that of its listing."""
    if path.is_dir():
        return hashlib.sha256(_listing(path)).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _listing(folder: Path) -> bytes:
    """Return a line for each file in `folder`, by name: its SHA-256 and its name."""
    return "".join(
        f"{content_sha256(file)}  {file.name}\n"
        for file in sorted(folder.iterdir())
        if file.is_file()
    ).encode("utf-8", "surrogateescape")
