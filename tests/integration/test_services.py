"""deploy/local brings up a real Kafka and a real Flink, and takes them away again."""

import base64
import importlib
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import yaml
from apache_beam.io.iobase import Read
from apache_beam.io.unbounded_source import UnboundedCountingSource
from apache_beam.options.pipeline_options import PipelineOptions
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError
from kafka.net.sasl.oauth import AbstractTokenProvider

from tests.support.root import ROOT
from tests.support.services import (
    LOCAL,
    Flink,
    Kafka,
    Security,
    get,
    is_alive,
    local,
    processes_of,
    run_local,
)


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker of these tests alone."""
    kafka = Kafka(tmp_path_factory.mktemp("own-kafka"))
    yield kafka
    kafka.down()


@pytest.fixture
def broker(own_broker: Kafka) -> Kafka:
    """A broker that runs, and that a test may kill and stop."""
    own_broker.up()
    return own_broker


class Token(AbstractTokenProvider):  # type: ignore[misc]
    """A token that nobody signed, which the local broker takes."""

    def token(self) -> str:
        now = int(time.time())
        parts = ({"alg": "none"}, {"sub": "pubner", "iat": now, "exp": now + 3600})
        texts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
        return ".".join([*(text.rstrip("=") for text in texts), ""])


def test_up_is_idempotent(broker: Kafka) -> None:
    address, pid = broker.bootstrap, broker.pid
    broker.up()
    assert (broker.bootstrap, broker.pid) == (address, pid)
    assert local("kafka", "status", f"--folder={broker.folder}").strip() == address


def test_a_killed_broker_comes_back_with_its_data(broker: Kafka) -> None:
    address, messages = broker.bootstrap, [b"%d" % number for number in range(100)]
    with administrating(address) as admin:
        admin.create_topics([NewTopic("t", 1, 1)])
        identity = admin.describe_cluster()["cluster_id"]
    producer = KafkaProducer(bootstrap_servers=address, acks="all")
    for message in messages:
        producer.send("t", message)
    producer.close()
    broker.kill()
    assert run_local("kafka", "status", f"--folder={broker.folder}").returncode == 3
    broker.restart()
    assert broker.bootstrap == address
    assert read_values(address, "t", len(messages)) == messages
    with administrating(address) as admin:
        assert admin.describe_cluster()["cluster_id"] == identity


def test_down_leaves_no_process(broker: Kafka) -> None:
    pid = broker.pid
    assert processes_of(broker.folder) == [pid]
    broker.down()
    assert not is_alive(pid)
    assert processes_of(broker.folder) == []
    broker.down()


def test_no_topic_is_created_unasked(kafka: Kafka) -> None:
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap)
    assert not consumer.partitions_for_topic("never-made")
    consumer.close()
    with administrating(kafka.bootstrap) as admin:
        assert "never-made" not in admin.list_topics()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"])
def test_the_secure_listener_knows(secure_kafka: Security, mechanism: str) -> None:
    assert mechanism in secure_kafka.mechanisms
    consumer = KafkaConsumer(**secure(secure_kafka, mechanism, secure_kafka.password))
    consumer.topics()
    consumer.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_wrong_password_is_refused(secure_kafka: Security, mechanism: str) -> None:
    with pytest.raises(KafkaError):
        KafkaConsumer(**secure(secure_kafka, mechanism, "wrong"))


def test_another_ca_is_refused(secure_kafka: Security) -> None:
    options = secure(secure_kafka, "PLAIN", secure_kafka.password)
    with pytest.raises(KafkaError):  # its certificate was not signed by that one
        KafkaConsumer(**{**options, "ssl_cafile": secure_kafka.certificate_file})


def test_the_other_secure_listener_asks_for_a_certificate(secure_kafka: Security) -> None:
    options: dict[str, Any] = {
        "bootstrap_servers": secure_kafka.mtls_bootstrap,
        "security_protocol": "SSL",
        "ssl_cafile": secure_kafka.ca_file,
        "bootstrap_timeout_ms": 5_000,
    }
    with pytest.raises(KafkaError):
        KafkaConsumer(**options)
    consumer = KafkaConsumer(
        **options,
        ssl_certfile=secure_kafka.certificate_file,
        ssl_keyfile=secure_kafka.key_file,
    )
    consumer.topics()
    consumer.close()


def test_secrets_are_for_their_owner_alone(kafka: Kafka) -> None:
    secret = ("secure/password", "secure/ca.key", "secure/client.key", "secure/broker.pem")
    for name in (*secret, "server.properties"):
        assert (kafka.folder / name).stat().st_mode & 0o077 == 0, name
    assert kafka.security.password not in (kafka.folder / "secure.json").read_text("utf-8")


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_local("kafka", "up", f"--folder={tmp_path / 'kafka'}", f"--port={port}")
    assert done.returncode == 2
    assert (len(done.stderr.splitlines()), str(port) in done.stderr) == (1, True)
    assert processes_of(tmp_path / "kafka") == []


def test_free_ports_are_none_that_an_outgoing_connection_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(LOCAL))
    machine = importlib.import_module("machine")
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()
    found: list[int] = []
    for _ in range(200):
        found.append(machine.free_port(found))
    assert max(found) < int(ephemeral[0])
    assert len(set(found)) == len(found)


def test_without_java_there_is_one_line(tmp_path: Path) -> None:
    for program in ("kafka", "flink"):
        folder = tmp_path / program
        done = run_local(
            program,
            "up",
            f"--folder={folder}",
            *(["--port=0"] if program == "kafka" else ["--rest-port=0", "--jobserver-port=0"]),
            *(["--workerpool-port=0"] if program == "flink" else []),
            environment={"JAVA_HOME": str(tmp_path)},
        )
        assert done.returncode == 2
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"deploy/local/{program}: Java is not found")
        assert "Traceback" not in done.stderr
        assert processes_of(folder) == []


def test_without_java_no_jar_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LOCAL))
    jars = importlib.import_module("jars")
    trouble = importlib.import_module("trouble")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(trouble.LocalError, match="Java is not found"):
        jars.fetch_jars(LOCAL / "flink.xml", tmp_path / "jars")
    assert list(tmp_path.iterdir()) == []


def test_a_jar_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(LOCAL))
    jars = importlib.import_module("jars")
    trouble = importlib.import_module("trouble")
    (tmp_path / "a.jar").write_bytes(b"good")
    pins = {"a.jar": jars.sha256(tmp_path / "a.jar")}
    jars.check_pins(tmp_path, pins)
    with pytest.raises(trouble.LocalError, match=r"c\.jar"):
        jars.check_pins(tmp_path, {**pins, "c.jar": "0"})
    (tmp_path / "b.jar").touch()
    with pytest.raises(trouble.LocalError, match=r"b\.jar"):
        jars.check_pins(tmp_path, pins)
    (tmp_path / "b.jar").unlink()
    (tmp_path / "a.jar").write_bytes(b"bad")
    with pytest.raises(trouble.LocalError, match=r"a\.jar"):
        jars.check_pins(tmp_path, pins)


def test_a_process_that_is_still_being_loaded_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(LOCAL))
    processes = importlib.import_module("processes")
    look, looks = processes._has_mark, []

    def has_mark(pid: int, mark: str) -> bool:
        looks.append(pid)
        found: bool = look(pid, mark)
        return found and len(looks) > 1  # the first look comes too early

    monkeypatch.setattr(processes, "_has_mark", has_mark)
    service = processes.Service(tmp_path, "sleeper")
    service.start(["sleep", "60"])
    try:
        assert service.pid() == looks[0]
    finally:
        service.stop()
    assert not is_alive(looks[0])


def test_flink_up_is_idempotent(flink: Flink) -> None:
    names = ("workerpool", "jobmanager", "taskmanager-1", "jobserver")
    pids = [flink.pid(name) for name in names]
    line = flink.up()
    assert [flink.pid(name) for name in names] == pids
    assert line == " ".join(["--runner", "FlinkRunner", "--", *flink.options])
    assert json.loads(get(f"{flink.rest}/overview"))["slots-total"] == 2


@pytest.mark.parametrize("name", ["taskmanager-1", "jobmanager", "jobserver", "workerpool"])
def test_a_killed_process_of_flink_is_started_again(flink: Flink, name: str) -> None:
    pid = flink.pid(name)
    flink.kill(name)
    said = local("flink", "status", f"--folder={flink.folder}", statuses=(3,))
    assert f"{name} down" in said.splitlines()
    flink.start(name)
    assert flink.pid(name) != pid
    assert json.loads(get(f"{flink.rest}/overview"))["taskmanagers"] == 1
    assert run_local("flink", "status", f"--folder={flink.folder}").returncode == 0


def test_an_unknown_process_of_flink_is_one_line(flink: Flink) -> None:
    done = run_local("flink", "start", "taskmanager-9", f"--folder={flink.folder}")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "taskmanager-1" in done.stderr


def test_down_ends_the_python_workers_too(tmp_path: Path) -> None:
    flink = Flink(tmp_path / "flink")
    try:
        flink.up("--embedded", environment={"PYTHONPATH": str(ROOT)})
        options = [*flink.options, "--streaming", "--finish_bundle_before_checkpointing"]
        pipeline = beam.Pipeline(
            "FlinkRunner", PipelineOptions([*options, "--checkpointing_interval=1000"])
        )
        _ = pipeline | Read(UnboundedCountingSource(10)) | beam.Map(touch, str(tmp_path))
        pipeline.run()
        deadline = time.monotonic() + 120
        while not (tmp_path / "9").exists():
            assert time.monotonic() < deadline, flink.folder
            time.sleep(0.1)
        workers = flink.workers()
        assert workers
    finally:
        flink.down()
    assert not any(is_alive(pid) for pid in workers)
    assert processes_of(flink.folder) == []


def test_the_compose_file_names_what_is_pinned() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))
    services = compose["services"]
    kafka_version = (LOCAL / "kafka.xml").read_text("utf-8").partition("<version>4")[2][:4]
    assert services["kafka"]["image"] == f"apache/kafka:4{kafka_version}"
    beam_version = "2.62.0"
    assert f"<version>{beam_version}</version>" in (LOCAL / "flink.xml").read_text("utf-8")
    assert services["jobserver"]["image"].endswith(f":{beam_version}")
    for name, service in services.items():
        assert ("image" in service) or ("build" in service), name
        for other in service.get("depends_on", ()):
            assert other in services
    build = services["workerpool"]["build"]
    assert (ROOT / "deploy" / build["context"] / build["dockerfile"]).is_file()


@contextmanager
def administrating(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """Give an administrating client, and close it."""
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        yield client
    finally:
        client.close()


def touch(number: int, folder: str) -> int:
    """Leave a file named as `number`."""
    (Path(folder) / str(number)).touch()
    return number


def secure(security: Security, mechanism: str, password: str) -> dict[str, Any]:
    """Return a client's options for the listener with passwords."""
    options: dict[str, Any] = {
        "bootstrap_servers": security.bootstrap,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "ssl_cafile": security.ca_file,
        "bootstrap_timeout_ms": 5_000,
    }
    if mechanism == "OAUTHBEARER":
        return {**options, "sasl_oauth_token_provider": Token()}
    return {
        **options,
        "sasl_plain_username": security.username,
        "sasl_plain_password": password,
    }


def read_values(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """Return the values of partition 0 up to `count`."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    values: list[bytes] = []
    deadline = time.monotonic() + 60
    while len(values) < count:
        assert time.monotonic() < deadline, len(values)
        for records in consumer.poll(500).values():
            values += [record.value for record in records]
    consumer.close()
    return values
