"""Objects in S3 and Google Cloud Storage: what is said where they cannot be had at all."""

import builtins
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.resumable_media.common import DataCorruption

from schemas.errors import MissingPackageError, OutputError
from worker.storage.gcs import GcsObjects
from worker.storage.s3 import S3Objects

Kind = type[S3Objects] | type[GcsObjects]
both = pytest.mark.parametrize("kind", [S3Objects, GcsObjects])


@both
def test_a_url_names_a_bucket(kind: Kind) -> None:
    scheme = kind.scheme
    with pytest.raises(
        OutputError, match=rf"'{scheme}:///a' names no bucket; expected {scheme}://BUCKET/PREF"
    ):
        kind(f"{scheme}:///a")


@both
def test_the_url_alone_is_pickled(kind: Kind) -> None:
    found = pickle.loads(pickle.dumps(kind(f"{kind.scheme}://bucket/a/b/")))
    assert type(found) is kind
    assert (found.root, found.bucket, found.prefix) == (
        f"{kind.scheme}://bucket/a/b",
        "bucket",
        "a/b",
    )


@pytest.mark.parametrize(("kind", "module"), [(S3Objects, "boto3"), (GcsObjects, "google.cloud")])
def test_without_the_library_it_says_what_to_install(
    kind: Kind, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == module:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingPackageError, match=rf"{module}, which is not installed: pip ins"):
        kind(f"{kind.scheme}://bucket")


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


def test_a_host_that_is_no_url_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://[nonsense")
    with pytest.raises(OutputError, match=r"cannot read 'gs://bucket/x': .*STORAGE_EMULATOR_HOST"):
        GcsObjects("gs://bucket", retry_seconds=0.1).get("x")


def test_without_credentials_it_says_where_they_are_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(
        OutputError, match=r"cannot read 'gs://bucket/x': .*none\.json.*GOOGLE_APPLICATION_CREDEN"
    ):
        GcsObjects("gs://bucket").get("x")


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (S3Objects, ValueError("bad digest")),
        (GcsObjects, ValueError("bad digest")),
        (GcsObjects, DataCorruption(None, "bad digest")),  # type: ignore[no-untyped-call]
    ],
)
def test_what_the_libraries_raise_by_themselves_is_one_error(kind: Kind, error: Exception) -> None:
    objects = kind(f"{kind.scheme}://bucket")
    with (
        pytest.raises(
            OutputError, match=rf"cannot read '{kind.scheme}://bucket/x': bad digest; check"
        ),
        objects._reporting("read", "x"),
    ):
        raise error


def test_a_server_that_does_not_answer_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and it does not listen, so nobody else does either
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for name, value in {
            "STORAGE_EMULATOR_HOST": url,
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            monkeypatch.setenv(name, value)
        gcs = GcsObjects("gs://bucket/a", retry_seconds=0.1)
        for objects in (S3Objects("s3://bucket/a"), gcs):
            assert_unreachable(objects)


def assert_unreachable(objects: S3Objects | GcsObjects) -> None:
    attempts: dict[str, Callable[[], object]] = {
        "read": lambda: objects.get("x"),
        "write": lambda: objects.put("x", b"", over=None),
        "list": lambda: objects.names("x"),
        "remove": lambda: objects.remove("x"),
    }
    for action, attempt in attempts.items():
        said = rf"cannot {action} '{objects.scheme}://bucket/a/x': .*check the bucket"
        with pytest.raises(OutputError, match=said):
            attempt()
