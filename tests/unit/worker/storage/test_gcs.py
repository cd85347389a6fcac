"""Objects in Google Cloud Storage: what is said where they cannot be had at all."""

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


def test_a_url_names_a_bucket() -> None:
    with pytest.raises(OutputError, match=r"'gs:///a' names no bucket; expected gs://BUCKET/PREF"):
        GcsObjects("gs:///a")


def test_the_url_alone_is_pickled() -> None:
    objects = GcsObjects("gs://bucket/a/b/")
    found = pickle.loads(pickle.dumps(objects))
    assert (found.root, found.bucket, found.prefix) == ("gs://bucket/a/b", "bucket", "a/b")


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "google.cloud":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingPackageError, match=r"google.cloud, which is not installed: pip ins"):
        GcsObjects("gs://bucket")


def test_without_credentials_it_says_where_they_are_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(
        OutputError, match=r"cannot read 'gs://bucket/x': .*none\.json.*GOOGLE_APPLICATION_CREDEN"
    ):
        GcsObjects("gs://bucket").get("x")


def test_a_host_that_is_no_url_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://[nonsense")
    with pytest.raises(OutputError, match=r"cannot read 'gs://bucket/x': .*STORAGE_EMULATOR_HOST"):
        GcsObjects("gs://bucket", retry_seconds=0.1).get("x")


@pytest.mark.parametrize("kind", [DataCorruption, ValueError])
def test_what_the_libraries_raise_by_themselves_is_one_error(kind: type[Exception]) -> None:
    objects = GcsObjects("gs://bucket")
    with (
        pytest.raises(OutputError, match="cannot read 'gs://bucket/x': bad digest; check"),
        objects._reporting("read", "x"),
    ):
        raise kind("bad digest") if kind is ValueError else kind(None, "bad digest")


def test_a_server_that_does_not_answer_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = GcsObjects("gs://bucket/a", retry_seconds=0.1)
    attempts: dict[str, Callable[[], object]] = {
        "read": lambda: objects.get("x"),
        "write": lambda: objects.put("x", b"", over=None),
        "list": lambda: objects.names("x"),
        "remove": lambda: objects.remove("x"),
    }
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and it does not listen, so nobody else does either
        port = silent.getsockname()[1]
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        for action, attempt in attempts.items():
            said = rf"cannot {action} 'gs://bucket/a/x': .*check the bucket"
            with pytest.raises(OutputError, match=said):
                attempt()
