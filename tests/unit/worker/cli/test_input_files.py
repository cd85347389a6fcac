"""Which words of the command line name files."""

import pytest

from schemas.errors import InputError
from worker.cli.input_files import regular_file


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("https://host/a.xml.gz", "https://host/a.xml.gz"),
        ("https:/host/a.xml.gz", "https://host/a.xml.gz"),
        ("HTTPS://hunter2@host/a.xml", "HTTPS://***@host/a.xml"),
        ("ftp://user@host/a.xml", "ftp://***@host/a.xml"),
        ("ftp:/user:hun/t@er2@host/a.xml", "ftp://***@host/a.xml"),
        ("https://host/a.xml?token=hunter2", "https://host/a.xml?token=***"),
    ],
)
def test_an_address_of_the_web_is_refused_without_its_credentials(word: str, shown: str) -> None:
    with pytest.raises(InputError) as refusal:
        regular_file(word)
    assert str(refusal.value).startswith(f"{shown!r} is a web address")
