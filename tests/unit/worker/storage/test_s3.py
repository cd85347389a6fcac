"""Objects in S3: what is said where they cannot be had at all."""

import pickle

import pytest

from schemas.errors import OutputError
from worker.storage.s3 import S3Objects


def test_a_url_names_a_bucket() -> None:
    with pytest.raises(OutputError, match=r"'s3:///a' names no bucket; expected s3://BUCKET/PREF"):
        S3Objects("s3:///a")


def test_the_url_alone_is_pickled() -> None:
    found = pickle.loads(pickle.dumps(S3Objects("s3://bucket/a/b/")))
    assert (found.root, found.bucket, found.prefix) == ("s3://bucket/a/b", "bucket", "a/b")


@pytest.mark.parametrize("endpoint", ["nonsense", "http://[nonsense", "http://"])
def test_an_endpoint_that_is_no_url_is_one_error(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(OutputError, match=r"cannot read 's3://bucket/x': .*AWS_ENDPOINT_URL"):
        S3Objects("s3://bucket").get("x")
