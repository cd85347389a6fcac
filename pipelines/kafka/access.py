"""Kafka connection settings, safe to send to workers, and the clients created from them.

`KafkaAccess` holds no secret, only the environment variable or file that holds it. The secret is
read when a client is created, on the machine that creates it.
"""

import importlib
import os
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from schemas.errors import BrokerError, SettingsError

if TYPE_CHECKING:
    from kafka import KafkaAdminClient, KafkaProducer

    from pipelines.kafka.client import Consumer

T = TypeVar("T")
_FIRST_ATTEMPT_SECONDS = 2.0
_PAUSE_SECONDS = 0.5
_METADATA_SECONDS = 15
"""Maximum age of a client's topic metadata: a new partition is seen after that time."""


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Brokers, protocol, and the location of secrets; safe to pickle and to print."""

    brokers: tuple[str, ...]
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password_variable: str | None = None
    sasl_password_file: str | None = None
    oauth_token_provider: str | None = None
    tls_ca_file: str | None = None
    tls_certificate_file: str | None = None
    tls_key_file: str | None = None
    tls_key_password_file: str | None = None
    tls_check_hostname: bool = True
    timeout_seconds: float = 30.0

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    def __str__(self) -> str:
        return f"Kafka at {','.join(self.brokers)}"


def client_arguments(
    access: KafkaAccess, *, client_id: str = "pubner", environment: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Return the keyword arguments of kafka-python's clients; secrets are read now.

    :raises SettingsError: if a secret, a certificate or the token provider is not available here.
    """
    arguments: dict[str, Any] = {
        "bootstrap_servers": list(access.brokers),
        "client_id": client_id,
        "security_protocol": access.security_protocol,
        "bootstrap_timeout_ms": int(access.timeout_seconds * 1000),
        "request_timeout_ms": int(max(access.timeout_seconds, 5) * 1000),
        "reconnect_backoff_max_ms": 1000,
        "metadata_max_age_ms": _METADATA_SECONDS * 1000,
    }
    if access.has_tls:
        arguments["ssl_context"] = tls_context(access)
        arguments["ssl_check_hostname"] = access.tls_check_hostname
    if access.sasl_mechanism is not None:
        arguments["sasl_mechanism"] = access.sasl_mechanism
    if access.oauth_token_provider is not None:
        from pipelines.kafka.tokens import token_provider

        arguments["sasl_oauth_token_provider"] = token_provider(
            _callback(access.oauth_token_provider)
        )
    elif access.sasl_mechanism is not None:
        arguments["sasl_plain_username"] = access.sasl_username
        arguments["sasl_plain_password"] = _Secret(_password(access, environment))
    return arguments


def tls_context(access: KafkaAccess) -> ssl.SSLContext:
    """Return the TLS settings of `access`, with its certificates loaded.

    :raises SettingsError: if a file is missing or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = access.tls_check_hostname
    if access.tls_ca_file is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(access.tls_ca_file)
        except OSError as error:
            raise SettingsError(
                f"--tls-ca-file {access.tls_ca_file!r} cannot be used: {_tls_reason(error)}; "
                "certificates in PEM were expected"
            ) from None
    if access.tls_certificate_file is not None:
        # Without a password OpenSSL would ask for one on the terminal.
        password = _key_password(access) if access.tls_key_password_file else ""
        certificate = access.tls_certificate_file
        key = access.tls_key_file or certificate
        try:
            context.load_cert_chain(certificate, key, password=password)
        except OSError as error:
            raise SettingsError(
                f"the certificate {certificate!r} with the key in {key!r} cannot be used: "
                f"{_tls_reason(error)}; a certificate and its key in PEM were expected, and "
                "--tls-key-password-file where the key is encrypted"
            ) from None
    return context


def _tls_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "OpenSSL cannot read the file, or the password is wrong")
    return error.strerror or str(error)


def consumer(
    access: KafkaAccess,
    *,
    group: str | None = None,
    read_committed: bool = True,
    client_id: str = "pubner",
    **arguments: Any,  # noqa: ANN401 - kafka-python's own
) -> "Consumer":
    """Return a connected consumer without assigned partitions and without automatic commits.

    `arguments` override kafka-python's configuration. Unless they set `auto_offset_reset`, an
    offset out of range is an error, not a silent reset.

    :raises BrokerError: if no broker accepts the connection within the timeout.
    :raises SettingsError: as `client_arguments`.
    """
    from pipelines.kafka.client import Consumer

    chosen: dict[str, Any] = {
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed" if read_committed else "read_uncommitted",
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
        **arguments,
    }
    return _connect(Consumer, access, client_arguments(access, client_id=client_id) | chosen)


def producer(
    access: KafkaAccess,
    *,
    client_id: str = "pubner",
    **arguments: Any,  # noqa: ANN401 - kafka-python's own
) -> "KafkaProducer":
    """Return a connected, idempotent producer: acks=all, lz4; `arguments` are kafka-python's.

    It does not bound its memory: the caller must bound the messages in flight.

    :raises BrokerError: if no broker accepts the connection within the timeout.
    :raises SettingsError: as `client_arguments`.
    """
    from kafka import KafkaProducer

    chosen: dict[str, Any] = {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": "lz4",
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
        "max_block_ms": int(access.timeout_seconds * 1000),
        **arguments,
    }
    return _connect(KafkaProducer, access, client_arguments(access, client_id=client_id) | chosen)


def close_producer(client: "KafkaProducer", *, seconds: float) -> None:
    """Close a producer, dropping the messages not delivered within `seconds`.

    kafka-python's own `close` raises if messages are left, leaves the producer open, and prints a
    warning on standard error when the producer is garbage-collected.
    """
    from kafka.errors import KafkaError

    try:
        client.close(timeout=seconds)
    except KafkaError:
        client._sender.force_close()
        client._sender.join(seconds)
        with suppress(KafkaError):
            client.close(timeout=seconds)


def admin(access: KafkaAccess, *, client_id: str = "pubner") -> "KafkaAdminClient":
    """Return a connected admin client.

    :raises BrokerError: if no broker accepts the connection within the timeout.
    :raises SettingsError: as `client_arguments`.
    """
    from kafka import KafkaAdminClient

    return _connect(KafkaAdminClient, access, client_arguments(access, client_id=client_id))


def _connect(make: Callable[..., T], access: KafkaAccess, arguments: dict[str, Any]) -> T:
    """Create a client, retrying while no broker is reachable but not after a permanent refusal."""
    from kafka.errors import KafkaError
    from kafka.net.compat import KafkaNetClient

    from pipelines.kafka.errors import explain, gravest_failure, logged_connection_errors, probe
    from pipelines.kafka.login import login_refusal

    networks: list[Any] = []

    def network(**configs: Any) -> Any:  # noqa: ANN401 - kafka-python's own
        networks.append(KafkaNetClient(**configs))
        return networks[-1]

    deadline = time.monotonic() + access.timeout_seconds
    attempt_seconds = _FIRST_ATTEMPT_SECONDS
    while True:
        seconds = min(max(deadline - time.monotonic(), 1.0), attempt_seconds)
        failure = probe(access, arguments.get("ssl_context"), seconds=seconds)
        if failure is None:
            own = {"bootstrap_timeout_ms": int(seconds * 1000), "kafka_client": network}
            with logged_connection_errors() as causes:
                try:
                    return make(**{**arguments, **own})
                except KafkaError as error:
                    _stop(networks)
                    if access.sasl_mechanism is not None:
                        refusals = [
                            login_refusal(x, arguments, seconds=seconds) for x in access.brokers
                        ]
                        causes += [x for x in refusals if x is not None]
                    failure = gravest_failure([explain(x, access) for x in causes or [error]])
        attempt_seconds *= 2
        if failure.permanent or time.monotonic() >= deadline:
            raise BrokerError(f"{access}: {failure.reason}", permanent=failure.permanent)
        time.sleep(_PAUSE_SECONDS)


def _stop(networks: list[Any]) -> None:
    """Stop the threads that kafka-python leaves running when a client could not connect."""
    while networks:
        client = networks.pop()
        client.close()
        client._net.stop()


class _Secret(str):
    """A secret string whose `repr` is masked, since libraries log their settings."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _password(access: KafkaAccess, environment: Mapping[str, str]) -> str:
    if access.sasl_password_file is not None:
        return _read_secret("--sasl-password-file", access.sasl_password_file)
    variable = access.sasl_password_variable or ""
    password = environment.get(variable, "")
    if not password:
        raise SettingsError(
            f"the SASL password is expected in the environment variable {variable} of every "
            "worker, but is not set here; set it, or give --sasl-password-file"
        )
    return password


def _key_password(access: KafkaAccess) -> str:
    return _read_secret("--tls-key-password-file", access.tls_key_password_file or "")


def _read_secret(option: str, file: str) -> str:
    try:
        secret = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{option} {file!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{option} {file!r} is not UTF-8 text") from None
    if not secret:
        raise SettingsError(f"{option} {file!r} is empty; one line was expected")
    return secret


def _callback(name: str) -> Callable[[], object]:
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"--oauth-token-provider {name!r} cannot be imported: {error}; expected "
            "MODULE:FUNCTION on this machine's Python path"
        ) from error
    if not callable(found):
        raise SettingsError(f"--oauth-token-provider {name!r} is not a function")
    checked: Callable[[], object] = found
    return checked
