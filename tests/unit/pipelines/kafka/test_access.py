"""The arguments of kafka-python's clients: secrets are read late, and never shown."""

import logging
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import errors

from pipelines.kafka.access import KafkaAccess, admin, client_arguments
from pipelines.kafka.errors import explain, logged_connection_errors, probe, reporting
from schemas.errors import BrokerError, SettingsError

SECRET = "hush-hush"
PLAIN = KafkaAccess(("localhost:9092",))
SCRAM = KafkaAccess(
    ("localhost:9092",), "SASL_PLAINTEXT", "SCRAM-SHA-512", "ann", sasl_password_variable="PASS"
)


def test_without_security() -> None:
    arguments = client_arguments(PLAIN, client_id="me")
    assert arguments["bootstrap_servers"] == ["localhost:9092"]
    assert arguments["client_id"] == "me"
    assert not any(name.startswith(("ssl", "sasl")) for name in arguments)


def test_a_password_from_a_variable_works_and_does_not_show() -> None:
    arguments = client_arguments(SCRAM, environment={"PASS": SECRET})
    assert arguments["sasl_plain_password"] == SECRET
    assert arguments["sasl_plain_password"].encode() == SECRET.encode()
    assert SECRET not in repr(arguments)
    with pytest.raises(SettingsError, match="environment variable PASS of every worker"):
        client_arguments(SCRAM, environment={})


def test_a_password_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    access = replace(SCRAM, sasl_password_variable=None, sasl_password_file=str(file))
    with pytest.raises(SettingsError, match=r"--sasl-password-file .* No such file"):
        client_arguments(access)
    file.write_text(f" {SECRET} \r\n")
    assert client_arguments(access)["sasl_plain_password"] == f" {SECRET} "
    for content, named in ((b"\n", "is empty"), (b"\xff", "UTF-8")):
        file.write_bytes(content)
        with pytest.raises(SettingsError, match=named):
            client_arguments(access)


def test_tls_files_that_cannot_be_used(tmp_path: Path) -> None:
    tls = replace(PLAIN, security_protocol="SSL")
    context = client_arguments(tls)["ssl_context"]
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for file in (wrong, tmp_path / "missing.pem"):
        with pytest.raises(SettingsError, match=f"--tls-ca-file '{file}' cannot be used"):
            client_arguments(replace(tls, tls_ca_file=str(file)))
        with pytest.raises(SettingsError, match=f"the certificate '{file}' with the key"):
            client_arguments(replace(tls, tls_certificate_file=str(file)))


def test_a_token_provider() -> None:
    oauth = replace(PLAIN, security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER")
    here = replace(oauth, oauth_token_provider=f"{__name__}:token")
    assert client_arguments(here)["sasl_oauth_token_provider"].token() == "a-token"
    failing = replace(oauth, oauth_token_provider=f"{__name__}:failing")
    with pytest.raises(errors.SaslAuthenticationFailedError, match="ValueError") as caught:
        client_arguments(failing)["sasl_oauth_token_provider"].token()
    assert SECRET not in str(caught.value)
    empty = replace(oauth, oauth_token_provider=f"{__name__}:no_token")
    with pytest.raises(errors.SaslAuthenticationFailedError, match="a NoneType"):
        client_arguments(empty)["sasl_oauth_token_provider"].token()
    for name in ("no_such_module:f", f"{__name__}:nothing", f"{__name__}:SECRET"):
        with pytest.raises(SettingsError, match="--oauth-token-provider"):
            client_arguments(replace(oauth, oauth_token_provider=name))


def token() -> str:
    return "a-token"


def failing() -> str:
    raise ValueError(SECRET)


def no_token() -> None:
    return None


def free_port() -> int:
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        port: int = probe_socket.getsockname()[1]
        return port


def test_nobody_there_is_one_line() -> None:
    broker = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerError) as caught:
        admin(KafkaAccess((broker,), timeout_seconds=0.1))
    assert str(caught.value).startswith(f"Kafka at {broker}: cannot connect")
    assert "\n" not in str(caught.value)


def test_one_broker_that_answers_is_enough() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        there = f"127.0.0.1:{listening.getsockname()[1]}"
        gone = f"127.0.0.1:{free_port()}"
        assert probe(KafkaAccess((gone, there)), None, seconds=2) is None
        failure = probe(KafkaAccess((gone,)), None, seconds=2)
        assert failure is not None
        assert not failure.permanent


def test_errors_are_one_line_with_broker_and_cause() -> None:
    with (
        pytest.raises(
            BrokerError, match=r"^Kafka at localhost:9092: cannot read it: no answer within"
        ),
        reporting(PLAIN, "read it"),
    ):
        raise errors.KafkaTimeoutError("no\nanswer")
    refused = explain(errors.SaslAuthenticationFailedError("bad credentials"), SCRAM)
    assert refused.permanent
    assert "SCRAM-SHA-512 failed for user 'ann' (bad credentials)" in refused.reason
    assert explain(errors.TopicAuthorizationFailedError("t"), PLAIN).permanent


def test_causes_are_heard_whatever_the_level_of_the_log() -> None:
    logger = logging.getLogger("kafka.net.manager")
    before = logger.level
    cause = errors.SaslAuthenticationFailedError("no")
    with logged_connection_errors() as causes:
        logger.warning("failed: %s", cause)
        logger.error("gave up: %s", errors.KafkaTimeoutError("late"))
    assert causes == [cause]
    assert logger.level == before


def test_who_silenced_the_log_does_not_hear_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("kafka.net.manager")
    caplog.set_level(logging.CRITICAL + 1)
    with logged_connection_errors() as causes:
        logger.warning("failed: %s", errors.SaslAuthenticationFailedError("no"))
    assert len(causes) == 1
    assert caplog.records == []
    assert logger.propagate
