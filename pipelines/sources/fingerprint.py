"""The content of an input file: opening it, its digest, and its MD5 sidecar."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.blocks.elements import InputFile
from pipelines.sources.inputs import SIDECAR_SUFFIX, base_name
from schemas.errors import InputError
from worker.readers.checksum import expected_md5

_READ_BYTES = 2**20
UNREADABLE = "unreadable"
"""The digest of a file whose bytes could not be read."""


class RefusedFileError(Exception):
    """The refusal of a whole file: the reason, the payload of its dead letter, and a digest."""

    def __init__(self, reason: Exception, payload: bytes, digest: str) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.payload = payload
        self.digest = digest


def content_digest(file: InputFile, *, check: Callable[[int], None]) -> str:
    """Return the file's SHA-256, after checking its MD5 if it has a sidecar.

    `check` is called with the size of each chunk that was read, and may raise to stop.

    :raises RefusedFileError: if the file cannot be read, or its MD5 differs from the sidecar's.
    """
    if file.refusal:
        raise refusal_of(file)
    path = file.path
    sidecar = None
    sha256 = hashlib.sha256()
    md5 = hashlib.md5(usedforsecurity=False)
    try:
        sidecar = _read_sidecar(path)
        with closing(open_file(path)) as stream:
            while chunk := stream.read(_READ_BYTES):
                check(len(chunk))
                sha256.update(chunk)
                if sidecar is not None:
                    md5.update(chunk)
    except OSError as error:
        raise RefusedFileError(error, b"", UNREADABLE) from error
    if sidecar is not None:
        try:
            _compare(md5.hexdigest(), expected_md5(sidecar))
        except InputError as error:
            digest = hashlib.sha256(sha256.digest() + sidecar).hexdigest()
            raise RefusedFileError(error, sidecar, digest) from error
    return sha256.hexdigest()


def refusal_of(file: InputFile) -> RefusedFileError:
    """Return the refusal of a file that cannot be an input."""
    digest = hashlib.sha256(file.refusal.encode()).hexdigest()
    return RefusedFileError(InputError(file.refusal), b"", digest)


def open_file(path: str) -> BinaryIO:
    """Open a file of any file system that Beam supports, without decompression."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def reason_of(path: str, error: Exception) -> str:
    """Return the reason for a refusal, as the error of a dead letter."""
    if isinstance(error, OSError):
        return f"{base_name(path)} cannot be read: {error.strerror or error}"
    return str(error)


def _read_sidecar(path: str) -> bytes | None:
    sidecar = path + SIDECAR_SUFFIX
    if not FileSystems.exists(sidecar):
        return None
    with closing(open_file(sidecar)) as stream:
        return stream.read(_READ_BYTES)


def _compare(found: str, expected: str) -> None:
    if found != expected:
        raise InputError(
            f"the file's MD5 is {found}, and its {SIDECAR_SUFFIX} file says {expected}: the file "
            "is damaged or not the one that was published; fetch both again"
        )
