"""Places mean the same whatever folder a process works in."""

from pathlib import Path

import pytest

from schemas.errors import SettingsError
from worker.storage.locations import (
    absolute,
    credentials_refusal,
    has_credentials,
    is_local,
    masked,
)


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


@pytest.mark.parametrize(
    ("url", "shown", "bare"),
    [
        ("s3://AKIA:hunter2@bucket/out", "s3://***@bucket/out", "s3://bucket/out"),
        ("s3://AKIA:hun/t+er2@bucket/out", "s3://***@bucket/out", "s3://bucket/out"),
        ("s3://AKIA:hunt@er2@bucket/out", "s3://***@bucket/out", "s3://bucket/out"),
        ("https://hunter2@host/registry", "https://***@host/registry", "https://host/registry"),
        ("http://user:hunter2@host:80/x", "http://***@host:80/x", "http://host:80/x"),
        ("ftp://user:hunter2@host", "ftp://***@host", "ftp://host"),
        ("s3://:hunter2@bucket", "s3://***@bucket", "s3://bucket"),
        ("S3://AKIA:hunter2@bucket", "S3://***@bucket", "S3://bucket"),
        ("HTTPS://hunter2@host/registry", "HTTPS://***@host/registry", "HTTPS://host/registry"),
        ("ftp://hunter2@host/a", "ftp://***@host/a", "ftp://host/a"),
        ("FTPS://hunter2@host/a", "FTPS://***@host/a", "FTPS://host/a"),
    ],
)
def test_credentials_of_a_url_are_not_shown(url: str, shown: str, bare: str) -> None:
    assert has_credentials(url)
    assert masked(f"cannot open {url!r}: no such host; see {url}, or not") == (
        f"cannot open {shown!r}: no such host; see {shown}, or not"
    )
    assert f"the URL {bare!r} " in credentials_refusal(url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a:b@c",
        "http://host:8081/a@b",
        "hdfs://user@namenode:8020/out",
        "abfs://container@account.dfs.core.windows.net/out",
        "file:///a:b@c",
        "kafka://host:9092",
        "sftp://user@host/a",
        "a:b@c",
        "out",
    ],
)
def test_a_url_credentials_refusal_is_shown_as_it_is(url: str) -> None:
    assert not has_credentials(url)
    assert masked(f"at {url}, mail to a@b.org") == f"at {url}, mail to a@b.org"


def test_tokens_behind_a_url_are_not_shown() -> None:
    url = "https://host/a?X-Amz-Signature=hunter2&part=1&token=hunter2#top"
    assert masked(f"at {url!r}") == ("at 'https://host/a?X-Amz-Signature=***&part=1&token=***#top'")
