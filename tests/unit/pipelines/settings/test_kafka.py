"""How to connect to Kafka: what contradicts itself, and what may be shown."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from pipelines.settings.kafka import PASSWORD_VARIABLE, KafkaSettings
from schemas.errors import SettingsError
from tests.support.settings import parse_settings

SECRET = "hush-hush"
SASL: dict[str, Any] = {
    "brokers": "kafka:9093",
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-256",
    "sasl_username": "ann",
}


@pytest.fixture(autouse=True)
def _no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


def parsed(*words: str) -> KafkaSettings:
    return parse_settings(KafkaSettings, words, prog="pubner feed", description="")


def test_brokers() -> None:
    assert KafkaSettings(brokers="a:1, b.example:65535").brokers == ("a:1", "b.example:65535")
    assert parsed("--brokers", "[::1]:9092").access().brokers == ("[::1]:9092",)
    for wrong in ("a", "a:", ":1", "a:0", "a:65536", "http://a:1", "a b:1", "[::1]", "a:1,,b:2"):
        with pytest.raises(SettingsError, match="brokers"):
            parsed("--brokers", wrong)
    with pytest.raises(SettingsError, match="missing required option --brokers"):
        parsed()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"security_protocol": "PLAINTEXT"}, "has no SASL"),
        ({"security_protocol": "SSL"}, "has no SASL"),
        ({"sasl_mechanism": None}, "needs --sasl-mechanism"),
        ({"sasl_username": None}, "needs --sasl-username"),
        ({"sasl_password": None}, "needs a password: set PUBNER_SASL_PASSWORD"),
        ({"sasl_password": ""}, "password is empty"),
        ({"sasl_password_file": "f"}, "both given"),
        ({"oauth_token_provider": "a:b"}, "needs --sasl-mechanism OAUTHBEARER"),
        ({"oauth_token_provider": "a.b"}, "expected MODULE:FUNCTION"),
        ({"sasl_mechanism": "OAUTHBEARER"}, "needs --oauth-token-provider"),
        ({"sasl_mechanism": "OAUTHBEARER", "oauth_token_provider": "a:b"}, "has no effect"),
        ({"tls_key_file": "k"}, "--tls-key-file needs --tls-certificate-file"),
        ({"security_protocol": "SASL_PLAINTEXT", "tls_ca_file": "c"}, "has no TLS"),
        ({"security_protocol": "SASL_PLAINTEXT", "tls_check_hostname": False}, "has no TLS"),
    ],
)
def test_contradictions(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named) as caught:
        KafkaSettings(**{**SASL, "sasl_password": SECRET, **changes})
    assert all(SECRET not in detail["msg"] for detail in caught.value.errors())  # type: ignore[attr-defined]


def test_a_password_in_the_environment_for_another_cluster_is_no_contradiction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    assert parsed("--brokers=a:1").access().sasl_password_variable is None


def test_the_password_of_the_environment_is_named_and_not_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    settings = parsed(
        "--brokers=a:1",
        "--security-protocol=SASL_SSL",
        "--sasl-mechanism=PLAIN",
        "--sasl-username=ann",
    )
    access = settings.access(remote=True)
    assert access.sasl_password_variable == PASSWORD_VARIABLE
    for shown in (repr(settings), repr(access), str(access), pickle.dumps(access).decode("latin1")):
        assert SECRET not in shown


def test_a_password_of_a_settings_file_serves_this_process_alone(tmp_path: Path) -> None:
    file = tmp_path / "kafka.toml"
    lines = [f'{name} = "{value}"' for name, value in SASL.items()]
    file.write_text("\n".join([*lines, f'sasl_password = "{SECRET}"']))
    settings = parsed("--config", str(file))
    with pytest.raises(SettingsError, match="settings file, which the workers do not read") as no:
        settings.access(remote=True, environment={})
    assert SECRET not in str(no.value)
    environment: dict[str, str] = {}
    access = settings.access(environment=environment)
    assert environment == {PASSWORD_VARIABLE: SECRET}
    assert SECRET not in repr(access)


def test_a_password_is_no_option() -> None:
    with pytest.raises(SettingsError, match="set PUBNER_SASL_PASSWORD") as caught:
        parsed("--brokers=a:1", f"--sasl-password={SECRET}")
    assert SECRET not in str(caught.value)


def test_a_mistyped_password_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "kafka.toml"
    file.write_text('brokers = "a:1"\nsasl_password = 123456\n')
    with pytest.raises(SettingsError) as caught:
        parsed("--config", str(file))
    assert "sasl-password" in str(caught.value)
    assert "123456" not in str(caught.value)
