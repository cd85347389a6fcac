"""What goes wrong with Kafka, said in one line: what happened, and what the user can do."""

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
    "pubner joins no group, and the broker takes no offsets beside consumers that have; give "
    "another --group, or end them (one that was killed stays for its session time-out, about 45 s)"
)
_TIMEOUTS = (errors.KafkaTimeoutError, errors.RequestTimedOutError)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a broker could not be used; `permanent` where trying again cannot help."""

    reason: str
    permanent: bool


@contextmanager
def reporting(access: "KafkaAccess", action: str) -> Iterator[None]:
    """Turn an error of kafka-python's within the block into a `BrokerError` of one line.

    `action` says what was being done: `"read the offsets of topic 'x'"`.
    """
    try:
        yield
    except errors.KafkaError as error:
        failure = explain(error, access)
        message = f"{access}: cannot {action}: {failure.reason}"
        raise BrokerError(message, permanent=failure.permanent) from error


def explain(error: BaseException, access: "KafkaAccess") -> Failure:
    """Return what `error`, which a client raised or logged, means to a user."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, errors.SaslAuthenticationFailedError):
        what = "the user name and password, and that the broker knows them for this mechanism"
        if access.sasl_mechanism == "OAUTHBEARER":
            what = "what --oauth-token-provider returns"
        user = f" for user {access.sasl_username!r}" if access.sasl_username else ""
        return Failure(
            f"authentication by {access.sasl_mechanism} failed{user} ({_last(text)}); check {what}",
            permanent=True,
        )
    if isinstance(error, errors.UnsupportedSaslMechanismError):
        return Failure(
            f"the broker does not take --sasl-mechanism {access.sasl_mechanism} on this listener; "
            "choose one that it has enabled",
            permanent=True,
        )
    if isinstance(error, errors.IllegalSaslStateError):
        return Failure(
            f"this listener has no SASL, and --security-protocol is {access.security_protocol}; "
            "choose the protocol of the listener, or another port",
            permanent=True,
        )
    if isinstance(error, errors.AuthorizationError):
        return Failure(
            f"we are not allowed to ({type(error).__name__}: {_last(text)}); ask for the right in "
            "the cluster's access control list",
            permanent=True,
        )
    if isinstance(error, _GROUP_ERRORS):
        return Failure(f"the group has other members; {OTHER_MEMBERS}", permanent=True)
    if isinstance(error, errors.UnsupportedVersionError | errors.UnrecognizedBrokerVersion):
        return Failure(f"the broker is too old ({text}); Kafka 2.8 or later is needed", True)
    if isinstance(error, errors.UnknownTopicOrPartitionError | errors.UnknownTopicIdError):
        return Failure(f"there is no such topic or partition ({_last(text)})", permanent=True)
    if isinstance(error, (*_TIMEOUTS, errors.NodeNotReadyError)):
        return Failure(
            f"no answer within {access.timeout_seconds:g} s ({_last(text)}); is it up, is "
            f"{access.security_protocol} what its listener speaks, and can the address that it "
            "advertises be reached from here?",
            permanent=False,
        )
    if isinstance(error, errors.KafkaProtocolError):
        return Failure(
            f"what answers is not Kafka's protocol ({_last(text)}); is {access.security_protocol} "
            "what this port's listener speaks?",
            permanent=False,
        )
    if isinstance(error, errors.KafkaConnectionError):
        if access.sasl_mechanism is not None:
            # A refusal may be lost: the broker cuts the connection right behind it.
            return Failure(
                f"the broker ends the connection while we log in by {access.sasl_mechanism} "
                f"({_last(text)}); check the user name and the password or token, and that "
                f"{access.security_protocol} is what this port's listener speaks",
                permanent=False,
            )
        certificate = access.has_tls and access.tls_certificate_file is None
        return Failure(
            f"the broker ends the connection ({_last(text)}); is {access.security_protocol} what "
            "this port's listener speaks"
            + (", and does it ask for a --tls-certificate-file?" if certificate else "?"),
            permanent=False,
        )
    return Failure(f"{type(error).__name__}: {_last(text)}", permanent=False)


def gravest(failures: Sequence[Failure]) -> Failure:
    """Return the failure to speak of: one that lasts, else the last one.

    A broker that refuses us also cuts the connection, and that may be heard later.
    """
    return next((failure for failure in failures if failure.permanent), failures[-1])


def probe(
    access: "KafkaAccess", context: ssl.SSLContext | None, *, seconds: float
) -> Failure | None:
    """Return None where one of the brokers takes a connection, else why the first does not.

    With `context`, TLS must come about too. A certificate that is not trusted is permanent.
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
            f"the certificate of {broker} is not to be trusted: {error.verify_message.rstrip('.')};"
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
        # Where it is the TLS that was reset, the listener most likely has none.
        return Failure(
            f"cannot connect to {broker}: {error.strerror or error}; is the broker up, and is "
            "--brokers right?",
            permanent=False,
        )
    return None


@contextmanager
def overheard() -> Iterator[list[BaseException]]:
    """Collect the errors that kafka-python only logs while it tries to connect.

    A client that cannot connect raises a time-out; why each attempt failed stands in the log.
    """
    causes: list[BaseException] = []
    logger = logging.getLogger(_CONNECTION_LOGGER)
    listener = _Listener(causes)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(listener)
    if not logger.isEnabledFor(logging.WARNING):
        # Nobody else wants to hear it, so nobody else does.
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


def _last(text: str) -> str:
    """Return an error's text without the code and the names that kafka-python sets before it."""
    return _NAMES.sub("", text)[:200].rstrip(".")
