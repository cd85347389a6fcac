"""What is sent to workers means the same in their working folder."""

import pickle
from pathlib import Path

import pytest

from pipelines.blocks.keys import BlockKey
from pipelines.inference.checkpoints import check_checkpoints, choose_checkpoints
from pipelines.kafka.drain import DrainSignal
from pipelines.output.manifest import open_output
from pipelines.output.store import DiskStore, open_store
from pipelines.settings.annotate import CheckpointSettings
from pipelines.settings.kafka import KafkaSettings
from pipelines.sources.inputs import resolve_inputs
from schemas.errors import OutputError
from tests.support.checkpoints import tiny_checkpoint
from tests.support.registries import move, publish
from worker.registry.registry import open_registry


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command's working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def test_a_store_and_a_request_to_end(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "out").mkdir()
    signal = DrainSignal("out", "group")
    sent = pickle.dumps((open_store("out"), signal))
    signal.request()
    monkeypatch.chdir(tmp_path)
    store, known = pickle.loads(sent)
    assert store == DiskStore(here / "out")
    assert known.requested(0.0)
    assert open_store("~/out") == DiskStore(tmp_path / "out")
    assert open_store("file://here/out") == DiskStore(here / "out")


@pytest.mark.parametrize("given", ["a.jsonl", "./*.jsonl", ".", "~/here/a.jsonl", "file://a.jsonl"])
def test_inputs(here: Path, given: str) -> None:
    (here / "a.jsonl").write_text("{}\n")
    [file] = resolve_inputs([given], None)
    assert Path(file.path).is_absolute()
    assert Path(file.path).samefile(here / "a.jsonl")


def test_files_of_secrets_and_certificates(here: Path) -> None:
    settings = KafkaSettings(
        brokers=("localhost:9092",),
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="u",
        sasl_password_file="password",
        tls_ca_file="~/ca.pem",
        tls_certificate_file="file://client.pem",
        tls_key_file="client.key",
        tls_key_password_file="../key-password",
    )
    access = settings.access(remote=True)
    assert access.sasl_password_file == f"{here}/password"
    assert access.tls_ca_file == f"{here.parent}/ca.pem"
    assert access.tls_certificate_file == f"{here}/client.pem"
    assert access.tls_key_file == f"{here}/client.key"
    assert access.tls_key_password_file == f"{here}/../key-password"


def test_checkpoints_and_registries(here: Path) -> None:
    made = tiny_checkpoint(here / "tiny")
    for given in ("tiny", "./tiny", "~/here/tiny", "file://tiny"):
        [folder] = check_checkpoints([given]).folders
        assert (folder.is_absolute(), folder.samefile(made)) == (True, True)
    registry = open_registry("registry")
    move(registry, publish(registry, made))
    settings = CheckpointSettings(registry="registry", checkpoint_cache=Path("cache"))
    registered = choose_checkpoints(settings).registered
    assert registered is not None
    assert registered.registry == f"{here}/registry"
    assert registered.cache == f"{here}/cache"


def test_a_worker_that_sees_another_folder_writes_nothing(here: Path) -> None:
    with open_output("out", block_size=10) as store:
        sent = pickle.dumps(store)
        with store.replacing(BlockKey("a.xml", 0, 0)):
            pass
    (here / "out").rename(here / "elsewhere")  # as a container's own /out is another one
    elsewhere = pickle.loads(sent)
    with (
        pytest.raises(OutputError, match="does not see the command's folder"),
        elsewhere.replacing(BlockKey("a.xml", 0, 0)),
    ):
        pass
    assert [x.name for x in here.iterdir()] == ["elsewhere"]
