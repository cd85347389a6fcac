"""How to connect to Kafka: what a runner may send to a worker, and the clients made from it there.

Nothing here holds a secret. `KafkaAccess` says in which environment variable or file one is found;
it is read when a client is made, on the machine where that happens.
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
"""How old what a client knows of topics may be: a new partition is seen after that time."""


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Brokers, protocol, and where the secrets are found; may be pickled and shown."""

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

    :raises SettingsError: if a secret, a certificate or the token provider cannot be had here.
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
        arguments["sasl_plain_password"] = _Hidden(_password(access, environment))
    return arguments


def tls_context(access: KafkaAccess) -> ssl.SSLContext:
    """Return the TLS settings of `access`, with its certificates loaded.

    :raises SettingsError: if a file is missing or no certificate.
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
        return str(error.reason or "it is not what OpenSSL can read, or the password is wrong")
    return error.strerror or str(error)


def consumer(
    access: KafkaAccess,
    *,
    group: str | None = None,
    read_committed: bool = True,
    client_id: str = "pubner",
    **arguments: Any,  # noqa: ANN401 - kafka-python's own
) -> "Consumer":
    """Return a connected consumer without partitions; it commits nothing of its own accord.

    Out of range offsets are errors, not a silent jump, unless `arguments` say otherwise; these are
    kafka-python's.

    :raises BrokerError: if no broker lets us in within the time set.
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

    It bounds no memory itself: who sends must bound what is under way.

    :raises BrokerError: if no broker lets us in within the time set.
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
    """Close a producer; what it could not deliver within that time is given up.

    Without this, kafka-python's own `close` raises where something is left, leaves the producer
    open, and complains on standard error when it is collected.
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

    :raises BrokerError: if no broker lets us in within the time set.
    :raises SettingsError: as `client_arguments`.
    """
    from kafka import KafkaAdminClient

    return _connect(KafkaAdminClient, access, client_arguments(access, client_id=client_id))


def _connect(make: Callable[..., T], access: KafkaAccess, arguments: dict[str, Any]) -> T:
    """Make a client; wait for a broker that is not there yet, but not for one that says no."""
    from kafka.errors import KafkaError
    from kafka.net.compat import KafkaNetClient

    from pipelines.kafka.errors import explain, gravest, overheard, probe
    from pipelines.kafka.login import login_refusal

    networks: list[Any] = []

    def network(**configs: Any) -> Any:  # noqa: ANN401 - kafka-python's own
        networks.append(KafkaNetClient(**configs))
        return networks[-1]

    deadline = time.monotonic() + access.timeout_seconds
    patience = _FIRST_ATTEMPT_SECONDS
    while True:
        seconds = min(max(deadline - time.monotonic(), 1.0), patience)
        failure = probe(access, arguments.get("ssl_context"), seconds=seconds)
        if failure is None:
            own = {"bootstrap_timeout_ms": int(seconds * 1000), "kafka_client": network}
            with overheard() as causes:
                try:
                    return make(**{**arguments, **own})
                except KafkaError as error:
                    _stop(networks)
                    if access.sasl_mechanism is not None:
                        asked = [
                            login_refusal(x, arguments, seconds=seconds) for x in access.brokers
                        ]
                        causes += [x for x in asked if x is not None]
                    failure = gravest([explain(x, access) for x in causes or [error]])
        patience *= 2
        if failure.permanent or time.monotonic() >= deadline:
            raise BrokerError(f"{access}: {failure.reason}", permanent=failure.permanent)
        time.sleep(_PAUSE_SECONDS)


def _stop(networks: list[Any]) -> None:
    """End the threads that kafka-python leaves behind of a client that could not connect."""
    while networks:
        client = networks.pop()
        client.close()
        client._net.stop()


class _Hidden(str):
    """A secret that does not show where a library logs its settings."""

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
            "worker, and it is not set here; set it, or give --sasl-password-file"
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
