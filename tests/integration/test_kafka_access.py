"""Who may connect: the real broker's SASL_SSL and mutual TLS, and what is said where it refuses."""

import base64
import json
import subprocess
import time
from pathlib import Path

import pytest
from kafka import TopicPartition

from pipelines.kafka.access import KafkaAccess, consumer, producer
from pipelines.kafka.topics import (
    begin_offsets,
    commit,
    committed_offsets,
    create_topic,
    describe,
    end_offsets,
    max_message_bytes,
)
from pipelines.settings.kafka import PASSWORD_VARIABLE
from pubner import cli
from tests.support.commands import Finished, run_pubner
from tests.support.feeding import feed_words, read_topic, write_messages
from tests.support.kafka_lag import lag
from tests.support.services import Kafka, Security

WRONG = "not-the-password"


def run_feed(
    folder: Path, bootstrap: str, topic: str, *words: str, password: str | None = None
) -> Finished:
    path = write_messages(folder / "a.jsonl", 3)
    return run_pubner(
        folder / "log",
        *feed_words(folder, bootstrap, topic, path, "--kafka-timeout-seconds=4", *words),
        environment={} if password is None else {PASSWORD_VARIABLE: password},
    )


def sasl(secure: Security, mechanism: str) -> list[str]:
    return [
        "--security-protocol=SASL_SSL",
        f"--sasl-mechanism={mechanism}",
        f"--sasl-username={secure.username}",
        f"--tls-ca-file={secure.ca_file}",
    ]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_user_with_the_password(
    tmp_path: Path, kafka: Kafka, secure_kafka: Security, mechanism: str
) -> None:
    topic = f"secure-{mechanism}"
    create_topic(KafkaAccess((kafka.bootstrap,)), topic)
    words = [*sasl(secure_kafka, mechanism), f"--sasl-password-file={secure_kafka.password_file}"]
    finished = run_feed(tmp_path, secure_kafka.bootstrap, topic, *words)
    assert finished.code == 0, finished.err
    assert len(read_topic(kafka.bootstrap, topic)) == 3
    password = Path(secure_kafka.password_file).read_text().strip()
    finished = run_feed(
        tmp_path,
        secure_kafka.bootstrap,
        topic,
        *sasl(secure_kafka, mechanism),
        password=password,
    )
    assert finished.code == 0, finished.err
    assert password not in finished.out + finished.err


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_wrong_password(tmp_path: Path, secure_kafka: Security, mechanism: str) -> None:
    words = sasl(secure_kafka, mechanism)
    finished = run_feed(tmp_path, secure_kafka.bootstrap, "none", *words, password=WRONG)
    assert finished.code == 2
    assert f"authentication by {mechanism} failed for user" in finished.one_line
    assert WRONG not in finished.out + finished.err


def test_a_mechanism_that_the_listener_has_not(tmp_path: Path, kafka: Kafka) -> None:
    words = ["--security-protocol=SASL_PLAINTEXT", "--sasl-mechanism=PLAIN", "--sasl-username=u"]
    finished = run_feed(tmp_path, kafka.bootstrap, "none", *words, password=WRONG)
    assert finished.code == 2
    assert "this listener does not use SASL" in finished.one_line
    assert WRONG not in finished.out + finished.err


def test_an_authority_that_did_not_sign(tmp_path: Path, secure_kafka: Security) -> None:
    other = tmp_path / "other.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other"),
            *("-keyout", str(tmp_path / "other.key"), "-out", str(other)),
        ],
        check=True,
        capture_output=True,
    )
    words = [x for x in sasl(secure_kafka, "PLAIN") if "ca-file" not in x]
    for authority in ([f"--tls-ca-file={other}"], []):
        finished = run_feed(
            tmp_path, secure_kafka.bootstrap, "none", *words, *authority, password=WRONG
        )
        assert finished.code == 2
        assert "is not trusted" in finished.one_line
        assert WRONG not in finished.out + finished.err


def test_a_listener_that_speaks_something_else(
    tmp_path: Path, kafka: Kafka, secure_kafka: Security
) -> None:
    finished = run_feed(tmp_path, secure_kafka.bootstrap, "none")
    assert finished.code == 2
    assert "is PLAINTEXT what this port's listener speaks?" in finished.one_line
    finished = run_feed(tmp_path, kafka.bootstrap, "none", "--security-protocol=SSL")
    assert finished.code == 2
    assert f"TLS with {kafka.bootstrap} fails" in finished.one_line


def test_a_certificate_of_our_own(tmp_path: Path, kafka: Kafka, secure_kafka: Security) -> None:
    create_topic(KafkaAccess((kafka.bootstrap,)), "mutual")
    words = ["--security-protocol=SSL", f"--tls-ca-file={secure_kafka.ca_file}"]
    finished = run_feed(tmp_path, secure_kafka.mtls_bootstrap, "mutual", *words)
    assert finished.code == 2
    assert "--tls-certificate-file" in finished.one_line
    words += [
        f"--tls-certificate-file={secure_kafka.certificate_file}",
        f"--tls-key-file={secure_kafka.key_file}",
    ]
    finished = run_feed(tmp_path, secure_kafka.mtls_bootstrap, "mutual", *words)
    assert finished.code == 0, finished.err
    assert len(read_topic(kafka.bootstrap, "mutual")) == 3


def token() -> str:
    """Return an unsecured JSON web token, as a test broker takes it."""
    now = int(time.time())
    parts = [{"alg": "none"}, {"sub": "pubner", "iat": now - 60, "exp": now + 300}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join(part.rstrip("=") for part in encoded) + "."


def wrong_token() -> str:
    return WRONG


def test_a_token(
    tmp_path: Path,
    kafka: Kafka,
    secure_kafka: Security,
    capsys: pytest.CaptureFixture[str],
) -> None:
    create_topic(KafkaAccess((kafka.bootstrap,)), "token")
    path = write_messages(tmp_path / "a.jsonl", 3)
    words = [
        *feed_words(tmp_path, secure_kafka.bootstrap, "token", path, "--kafka-timeout-seconds=15"),
        "--security-protocol=SASL_SSL",
        "--sasl-mechanism=OAUTHBEARER",
        f"--tls-ca-file={secure_kafka.ca_file}",
    ]
    assert cli.main([*words, f"--oauth-token-provider={__name__}:token"]) == 0
    assert len(read_topic(kafka.bootstrap, "token")) == 3
    capsys.readouterr()
    assert cli.main([*words, f"--oauth-token-provider={__name__}:wrong_token"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "authentication by OAUTHBEARER failed" in line
    assert WRONG not in line


def test_offsets_of_a_group(kafka: Kafka) -> None:
    access = KafkaAccess((kafka.bootstrap,))
    create_topic(access, "offsets", partitions=2)
    cluster = describe(access, ["offsets"])
    assert cluster.input_digest("offsets") == f"kafka:{cluster.id}:{cluster.topics['offsets'].id}"
    zero, one = (TopicPartition("offsets", number) for number in (0, 1))
    sender = producer(access)
    for _ in range(5):
        sender.send("offsets", key=b"1", value=b"{}", partition=0)
    sender.close()
    reader = consumer(access, group="g")
    assert committed_offsets(reader, [zero, one]) == {}
    assert lag(access, "g", cluster) == {zero: 5, one: 0}
    commit(reader, {zero: 3})
    assert committed_offsets(reader, [zero, one]) == {zero: 3}
    assert begin_offsets(reader, [zero, one]) == {zero: 0, one: 0}
    assert end_offsets(reader, [zero, one]) == {zero: 5, one: 0}
    assert lag(access, "g", cluster) == {zero: 2, one: 0}
    reader.close()


def test_the_limit_of_a_message(kafka: Kafka) -> None:
    access = KafkaAccess((kafka.bootstrap,))
    create_topic(access, "limited", configs={"max.message.bytes": "12345"})
    create_topic(access, "unlimited")
    assert max_message_bytes(access, "limited") == 12345
    assert max_message_bytes(access, "unlimited") == 1048588
