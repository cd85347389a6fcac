"""Settings of every command that connects to Kafka."""

import os
import re
from collections.abc import MutableMapping
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from pipelines.kafka.access import KafkaAccess
from schemas.errors import SettingsError
from worker.cli.command import Settings
from worker.cli.options import option_name
from worker.storage.locations import absolute

PASSWORD_VARIABLE = "PUBNER_SASL_PASSWORD"  # noqa: S105 - the name of a variable
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:,/\[\]]+):(\d{1,5})")
_CALLBACK = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_TLS_FIELDS = (
    "tls_ca_file",
    "tls_certificate_file",
    "tls_key_file",
    "tls_key_password_file",
)


class KafkaSettings(Settings):
    """The brokers, and the TLS and SASL settings of the connection."""

    brokers: tuple[str, ...] = Field(
        min_length=1, description="Kafka bootstrap brokers, as HOST:PORT"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="the security protocol of the brokers' listener"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = (
        Field(None, description="the SASL mechanism, for a SASL_ protocol")
    )
    sasl_username: str | None = Field(None, min_length=1, description="the SASL user name")
    sasl_password: SecretStr | None = Field(
        None, description="the SASL password; never shown, logged or sent to a runner"
    )
    sasl_password_file: str | None = Field(
        None, description="a file that holds the password, here and on the workers"
    )
    oauth_token_provider: str | None = Field(
        None,
        description="MODULE:FUNCTION, called without arguments for each OAUTHBEARER login; returns "
        "the token, and must be importable on the workers",
    )
    tls_ca_file: str | None = Field(
        None,
        description="PEM file of trusted certificate authorities; by default those of the system",
    )
    tls_certificate_file: str | None = Field(
        None, description="PEM file of the client certificate, if the brokers require one"
    )
    tls_key_file: str | None = Field(
        None, description="PEM file of its key; by default in the certificate's file"
    )
    tls_key_password_file: str | None = Field(
        None, description="a file that holds the key's password"
    )
    tls_check_hostname: bool = Field(
        True, description="require that the brokers' certificate names their host"
    )
    kafka_timeout_seconds: float = Field(
        30.0, ge=1, le=300, description="how long to wait for a broker before giving up"
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_broker_user(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Refuse a broker with a user name or password, without showing them."""
        brokers = values.get("brokers", ())
        for broker in (brokers,) if isinstance(brokers, str) else brokers:
            if "@" in str(broker):
                raise ValueError(
                    "a broker was given with a user name or password before its @, which messages "
                    "would show; give HOST:PORT alone, and the user by --sasl-username"
                )
        return values

    @field_validator("brokers")
    @classmethod
    def _check_brokers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for broker in value:
            match = _BROKER.fullmatch(broker)
            if match is None or not 0 < int(match[2]) < 2**16:
                raise ValueError(f"{broker!r} is not a HOST:PORT such as localhost:9092")
        return value

    @field_validator("oauth_token_provider")
    @classmethod
    def _check_provider(cls, value: str | None) -> str | None:
        if value is not None and _CALLBACK.fullmatch(value) is None:
            raise ValueError("expected MODULE:FUNCTION")
        return value

    @model_validator(mode="after")
    def _check_security(self) -> "KafkaSettings":
        self._check_sasl()
        given = self._first(*_TLS_FIELDS)
        if given is None and not self.tls_check_hostname:
            given = "--no-tls-check-hostname"
        if given and self.security_protocol not in ("SSL", "SASL_SSL"):
            raise ValueError(
                f"{given} is given, but --security-protocol {self.security_protocol} has no TLS; "
                "choose SSL or SASL_SSL"
            )
        given = self._first("tls_key_file", "tls_key_password_file")
        if given and self.tls_certificate_file is None:
            raise ValueError(f"{given} needs --tls-certificate-file")
        return self

    def _first(self, *names: str) -> str | None:
        """Return the option of the first of these fields that is given."""
        given = (name for name in names if getattr(self, name) is not None)
        return next((f"--{option_name(name)}" for name in given), None)

    def _check_sasl(self) -> None:
        if not self.security_protocol.startswith("SASL_"):
            # A password alone may be set in the environment for another cluster.
            if given := self._first("sasl_mechanism", "sasl_username", "sasl_password_file"):
                raise ValueError(
                    f"{given} is given, but --security-protocol {self.security_protocol} has no "
                    "SASL; choose SASL_SSL"
                )
        elif self.sasl_mechanism is None:
            raise ValueError(f"--security-protocol {self.security_protocol} needs --sasl-mechanism")
        if self.sasl_mechanism == "OAUTHBEARER":
            if self.oauth_token_provider is None:
                raise ValueError("--sasl-mechanism OAUTHBEARER needs --oauth-token-provider")
            if given := self._first("sasl_username", "sasl_password_file"):
                raise ValueError(f"{given} has no effect with OAUTHBEARER; leave it out")
            return
        if self.oauth_token_provider is not None:
            raise ValueError("--oauth-token-provider needs --sasl-mechanism OAUTHBEARER")
        if self.sasl_mechanism is not None:
            if self.sasl_username is None:
                raise ValueError(f"--sasl-mechanism {self.sasl_mechanism} needs --sasl-username")
            self._check_password()

    def _check_password(self) -> None:
        if self.sasl_password is None and self.sasl_password_file is None:
            raise ValueError(
                f"--sasl-mechanism {self.sasl_mechanism} needs a password: set "
                f"{PASSWORD_VARIABLE} or give --sasl-password-file"
            )
        if self.sasl_password is not None and self.sasl_password_file is not None:
            raise ValueError(
                "a password and --sasl-password-file are both given; leave one out "
                f"(is {PASSWORD_VARIABLE} set?)"
            )
        if self.sasl_password is not None and not self.sasl_password.get_secret_value():
            raise ValueError("the SASL password is empty")

    def access(
        self, *, remote: bool = False, environment: MutableMapping[str, str] = os.environ
    ) -> KafkaAccess:
        """Return the connection settings, with the location of secrets instead of the secrets.

        If `remote`, workers run in other processes, which must have the password themselves.
        Otherwise a password of a settings file is put into `environment`, where this process's
        workers read it.

        :raises SettingsError: if `remote` and the password is in a settings file.
        """
        variable = None
        if self.sasl_mechanism not in (None, "OAUTHBEARER") and self.sasl_password is not None:
            variable = PASSWORD_VARIABLE
            password = self.sasl_password.get_secret_value()
            if environment.get(variable) != password:
                if remote:
                    raise SettingsError(
                        "the SASL password is in a settings file, which the workers do not "
                        f"read; set {variable} here and on the workers, or give "
                        "--sasl-password-file with a file that is there"
                    )
                environment[variable] = password
        return KafkaAccess(
            brokers=self.brokers,
            security_protocol=self.security_protocol,
            sasl_mechanism=self.sasl_mechanism,
            sasl_username=self.sasl_username,
            sasl_password_variable=variable,
            sasl_password_file=_absolute(self.sasl_password_file),
            oauth_token_provider=self.oauth_token_provider,
            tls_ca_file=_absolute(self.tls_ca_file),
            tls_certificate_file=_absolute(self.tls_certificate_file),
            tls_key_file=_absolute(self.tls_key_file),
            tls_key_password_file=_absolute(self.tls_key_password_file),
            tls_check_hostname=self.tls_check_hostname,
            timeout_seconds=self.kafka_timeout_seconds,
        )


def _absolute(file: str | None) -> str | None:
    return None if file is None else absolute(file)
