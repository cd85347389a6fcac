"""NLM's .md5 sidecars."""

import hashlib
import io
from pathlib import Path

import pytest

from schemas.errors import InputError
from worker.readers.checksum import expected_md5, md5_of, verify_md5

DIGEST = hashlib.md5(b"content", usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    "sidecar",
    [
        f"MD5(pubmed26n1334.xml.gz)= {DIGEST}\n",
        f"MD5 (pubmed 26.xml.gz) = {DIGEST}",
        f"{DIGEST}  pubmed26n1334.xml.gz\n",
        f"{DIGEST} *pubmed26n1334.xml.gz\r\n",
        f"{DIGEST.upper()}\n",
    ],
)
def test_sidecars_that_are_read(sidecar: str) -> None:
    assert expected_md5(sidecar.encode()) == DIGEST
    verify_md5(io.BytesIO(b"content"), sidecar.encode())


@pytest.mark.parametrize(
    "sidecar",
    [
        b"",
        b"<html>404</html>",
        DIGEST[:-1].encode(),
        f"{DIGEST}0".encode(),
        f"{DIGEST} a\n{DIGEST} b".encode(),
        f"SHA1(x)= {DIGEST}".encode(),
    ],
)
def test_sidecars_that_are_refused(sidecar: bytes) -> None:
    with pytest.raises(InputError, match="was expected"):
        expected_md5(sidecar)


def test_a_mismatch_names_both_values_and_what_to_do() -> None:
    found = hashlib.md5(b"other", usedforsecurity=False).hexdigest()
    with pytest.raises(InputError, match="fetch both again") as caught:
        verify_md5(io.BytesIO(b"other"), DIGEST.encode())
    assert DIGEST in str(caught.value)
    assert found in str(caught.value)


def test_large_streams_are_read_in_pieces() -> None:
    content = b"0123456789" * 300_000
    assert md5_of(io.BytesIO(content)) == hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("name", ["baseline/pubmed26n1334", "updatefiles/pubmed26n1335"])
def test_the_real_sidecars(data: Path, name: str) -> None:
    path = data / "pubmed" / f"{name}.xml.gz"
    sidecar = path.with_name(path.name + ".md5").read_bytes()
    with path.open("rb") as file:
        verify_md5(file, sidecar)
    damaged = io.BytesIO(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="MD5"):
        verify_md5(damaged, sidecar)
