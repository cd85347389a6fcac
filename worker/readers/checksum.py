"""Verification of files against NLM's `.md5` sidecar files."""

import hashlib
import re
from typing import BinaryIO

from schemas.errors import InputError

_READ_BYTES = 2**20
_DIGEST = rb"(?P<%s>[0-9A-Fa-f]{32})"
_SIDECAR = re.compile(
    rb"\s*(?:MD5\s*\([^)\r\n]*\)\s*=\s*" + _DIGEST % b"tagged"  # MD5(name)= digest
    + rb"|" + _DIGEST % b"listed" + rb"(?:[ \t]+\*?[^\r\n]+)?"  # digest  name
    + rb")\s*"
)  # fmt: skip


def expected_md5(sidecar: bytes) -> str:
    """Return the MD5 digest in a sidecar, as 32 lower-case hexadecimal digits.

    :raises InputError: if the sidecar is not of the form `MD5(name)= digest`, `digest  name` or
        `digest`.
    """
    match = _SIDECAR.fullmatch(sidecar)
    if match is None:
        raise InputError(
            f"the .md5 file holds {sidecar[:60]!r}; 'MD5(name)= digest' or 'digest  name' was"
            " expected: fetch it again, or remove it to read the file unchecked"
        )
    return (match["tagged"] or match["listed"]).decode("ascii").lower()


def md5_of(stream: BinaryIO) -> str:
    """Return the MD5 digest of the rest of `stream`, read in pieces, as hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := stream.read(_READ_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def verify_md5(stream: BinaryIO, sidecar: bytes) -> None:
    """Check the rest of `stream`, the bytes as published (compressed), against its sidecar.

    :raises InputError: if the digests differ, or if the sidecar cannot be read.
    """
    expected, found = expected_md5(sidecar), md5_of(stream)
    if found != expected:
        raise InputError(
            f"the file's MD5 is {found}, and its .md5 file says {expected}: the file is damaged or"
            " not the one that was published; fetch both again"
        )
