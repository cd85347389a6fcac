"""Kafka errors as one line each: what happened, and what the user can do."""

import logging
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kafka import errors

from schemas.errors import BrokerError

if TYPE_CHECKING:
    from pipelines.kafka.access import KafkaAccess

_NAMES = re.compile(r"^(\[Error -?\d+\] )?(\w+Error: )*")
_CONNECTION_LOGGER = "kafka.net.manager"
_GROUP_ERRORS = (
    errors.CommitFailedError,
    errors.FencedInstanceIdError,
    errors.IllegalGenerationError,
    errors.RebalanceInProgressError,
    errors.UnknownMemberIdError,
)
OTHER_MEMBERS = (
    "pubner commits without joining the group, and the broker refuses that while the group has "
    "members; give another --group, or stop the members (one that was killed remains until its "
    "session times out, about 45 s)"
)
_TIMEOUTS = (errors.KafkaTimeoutError, errors.RequestTimedOutError)


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a broker could not be used; `permanent` if retrying cannot help."""

    reason: str
    permanent: bool


@contextmanager
def reporting(access: "KafkaAccess", action: str) -> Iterator[None]:
    """Turn an error of kafka-python's within the block into a `BrokerError` of one line.

    `action` is what the block does, such as `"read the offsets of topic 'x'"`.
    """
    try:
        yield
    except errors.KafkaError as error:
        failure = explain(error, access)
        message = f"{access}: cannot {action}: {failure.reason}"
        raise BrokerError(message, permanent=failure.permanent) from error


def explain(error: BaseException, access: "KafkaAccess") -> Failure:
    """Return the explanation for the user of an `error` that a client raised or logged."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, errors.SaslAuthenticationFailedError):
        what = "the user name and password, and that the broker knows them for this mechanism"
        if access.sasl_mechanism == "OAUTHBEARER":
            what = "what --oauth-token-provider returns"
        user = f" for user {access.sasl_username!r}" if access.sasl_username else ""
        return Failure(
            f"authentication by {access.sasl_mechanism} failed{user} ({_detail(text)}); "
            f"check {what}",
            permanent=True,
        )
    if isinstance(error, errors.UnsupportedSaslMechanismError):
        return Failure(
            f"the broker does not accept --sasl-mechanism {access.sasl_mechanism} on this "
            "listener; choose one that it has enabled",
            permanent=True,
        )
    if isinstance(error, errors.IllegalSaslStateError):
        return Failure(
            "this listener does not use SASL, and --security-protocol is "
            f"{access.security_protocol}; choose the protocol of the listener, or another port",
            permanent=True,
        )
    if isinstance(error, errors.AuthorizationError):
        return Failure(
            f"permission denied ({type(error).__name__}: {_detail(text)}); ask for the "
            "permission in the cluster's access control list",
            permanent=True,
        )
    if isinstance(error, _GROUP_ERRORS):
        return Failure(f"the group has other members; {OTHER_MEMBERS}", permanent=True)
    if isinstance(error, errors.UnsupportedVersionError | errors.UnrecognizedBrokerVersion):
        return Failure(f"the broker is too old ({text}); Kafka 2.8 or later is needed", True)
    if isinstance(error, errors.UnknownTopicOrPartitionError | errors.UnknownTopicIdError):
        return Failure(f"there is no such topic or partition ({_detail(text)})", permanent=True)
    if isinstance(error, (*_TIMEOUTS, errors.NodeNotReadyError)):
        return Failure(
            f"no answer within {access.timeout_seconds:g} s ({_detail(text)}); is it up, is "
            f"{access.security_protocol} what its listener speaks, and can the address that it "
            "advertises be reached from here?",
            permanent=False,
        )
    if isinstance(error, errors.KafkaProtocolError):
        return Failure(
            f"what answers is not Kafka's protocol ({_detail(text)}); is "
            f"{access.security_protocol} what this port's listener speaks?",
            permanent=False,
        )
    if isinstance(error, errors.KafkaConnectionError):
        if access.sasl_mechanism is not None:
            # A refusal may be lost: the broker closes the connection right after it.
            return Failure(
                f"the broker closes the connection during the {access.sasl_mechanism} login "
                f"({_detail(text)}); check the user name and the password or token, and that "
                f"{access.security_protocol} is what this port's listener speaks",
                permanent=False,
            )
        certificate = access.has_tls and access.tls_certificate_file is None
        return Failure(
            f"the broker closes the connection ({_detail(text)}); is "
            f"{access.security_protocol} what this port's listener speaks"
            + (", and does it ask for a --tls-certificate-file?" if certificate else "?"),
            permanent=False,
        )
    return Failure(f"{type(error).__name__}: {_detail(text)}", permanent=False)


def gravest_failure(failures: Sequence[Failure]) -> Failure:
    """Return the failure to report: the first permanent one, else the last one.

    A broker that refuses a client also closes the connection, which may be reported later.
    """
    return next((failure for failure in failures if failure.permanent), failures[-1])


def probe(
    access: "KafkaAccess", context: ssl.SSLContext | None, *, seconds: float
) -> Failure | None:
    """Return None if one of the brokers accepts a connection, else the failure of the first.

    With `context`, the TLS handshake must succeed too. An untrusted certificate is permanent.
    """
    failures = []
    for broker in access.brokers:
        failure = _probe_one(broker, access, context, seconds / len(access.brokers))
        if failure is None:
            return None
        failures.append(failure)
    return next((failure for failure in failures if failure.permanent), failures[0])


def _probe_one(
    broker: str, access: "KafkaAccess", context: ssl.SSLContext | None, seconds: float
) -> Failure | None:
    name, _, port = broker.rpartition(":")
    host = name.strip("[]")
    try:
        with socket.create_connection((host, int(port)), timeout=seconds) as plain:
            if context is not None:
                with context.wrap_socket(plain, server_hostname=host):
                    pass
    except ssl.SSLCertVerificationError as error:
        return Failure(
            f"the certificate of {broker} is not trusted: {error.verify_message.rstrip('.')};"
            " give the authority that signed it by --tls-ca-file"
            + ("" if access.tls_check_hostname else ", a host name need not match"),
            permanent=True,
        )
    except ssl.SSLError as error:
        return Failure(
            f"TLS with {broker} fails ({error.reason or error}); is this the port of a listener "
            f"that speaks {access.security_protocol}?",
            permanent=True,
        )
    except socket.gaierror as error:
        return Failure(
            f"the host of {broker} is not known ({error.strerror}); check --brokers",
            permanent=False,
        )
    except TimeoutError:
        return Failure(f"{broker} does not answer; is it up, and is the port open?", False)
    except OSError as error:
        # If the TLS handshake was reset, the listener most likely does not use TLS.
        return Failure(
            f"cannot connect to {broker}: {error.strerror or error}; is the broker up, and is "
            "--brokers right?",
            permanent=False,
        )
    return None


@contextmanager
def logged_connection_errors() -> Iterator[list[BaseException]]:
    """Collect the errors that kafka-python only logs while it tries to connect.

    A client that cannot connect raises a time-out; the cause of each attempt is only logged.
    """
    causes: list[BaseException] = []
    logger = logging.getLogger(_CONNECTION_LOGGER)
    listener = _Listener(causes)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(listener)
    if not logger.isEnabledFor(logging.WARNING):
        # The warnings are disabled, so other handlers must not see them.
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    try:
        yield causes
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = propagate


class _Listener(logging.Handler):
    def __init__(self, causes: list[BaseException]) -> None:
        super().__init__(logging.WARNING)
        self._causes = causes

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        self._causes.extend(
            x for x in arguments if isinstance(x, BaseException) and not isinstance(x, _TIMEOUTS)
        )


def _detail(text: str) -> str:
    """Return an error's text without the code and class names that kafka-python prepends."""
    return _NAMES.sub("", text)[:200].rstrip(".")
