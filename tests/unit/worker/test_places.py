"""Places mean the same whatever folder a process works in."""

from pathlib import Path

import pytest

from schemas.errors import SettingsError
from worker.places import absolute, is_local


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("out", "{here}/out"),
        ("./out/", "{here}/./out/"),
        ("../out", "{here}/../out"),
        ("in/*.xml.gz", "{here}/in/*.xml.gz"),
        ("/data/out", "/data/out"),
        ("~/out", "{home}/out"),
        ("~", "{home}"),
        ("file:///data/a.xml", "/data/a.xml"),
        ("file://localhost/data/a.xml", "/data/a.xml"),
        ("file://data/a.xml", "{here}/data/a.xml"),
        ("file://~/a.xml", "{home}/a.xml"),
        ("", "{here}/"),
        ("s3://bucket/out", "s3://bucket/out"),
        ("gs://bucket/~/out", "gs://bucket/~/out"),
    ],
)
def test_what_a_place_is_elsewhere(
    given: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert absolute(given) == expected.format(here=tmp_path, home="/home/someone")
    assert is_local(given) == ("bucket" not in given)


def test_a_home_that_is_not_there_is_one_line() -> None:
    with pytest.raises(SettingsError, match=r"'~no-such-user/out'.*\./~no-such-user/out"):
        absolute("~no-such-user/out")
