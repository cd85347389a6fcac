"""SASL login without kafka-python's network layer, to learn why a broker refuses it.

A broker that refuses a login sends the reason and closes the connection at once. kafka-python drops
the data that it reads together with the end of the connection, so the reason is lost.
"""

import socket
import ssl
from collections.abc import Mapping
from typing import Any

from kafka import errors
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

_READ_BYTES = 65_536


def login_refusal(
    broker: str, arguments: Mapping[str, Any], *, seconds: float
) -> errors.KafkaError | None:
    """Return the error with which `broker` refuses a login; None if it accepts or gives no reason.

    `arguments` are those of kafka-python's clients, for a protocol with SASL.
    """
    name, _, port = broker.rpartition(":")
    host = name.strip("[]")
    context: ssl.SSLContext | None = arguments.get("ssl_context")
    try:
        with socket.create_connection((host, int(port)), timeout=seconds) as plain:
            if context is None:
                _log_in(plain, host, arguments)
            else:
                with context.wrap_socket(plain, server_hostname=host) as encrypted:
                    _log_in(encrypted, host, arguments)
    except errors.KafkaError as error:
        return error
    except OSError:
        return None
    return None


def _log_in(stream: socket.socket, host: str, arguments: Mapping[str, Any]) -> None:
    """Perform the login.

    :raises KafkaError: if the broker refuses it.
    :raises OSError: if the connection ends without a response.
    """
    protocol = KafkaProtocol(client_id=arguments["client_id"])
    name = arguments["sasl_mechanism"]
    answer = _ask(stream, protocol, SaslHandshakeRequest(version=1, mechanism=name))
    _check(answer)
    mechanism = get_sasl_mechanism(name)(host=host, **arguments)
    while not mechanism.is_done():
        request = SaslAuthenticateRequest(version=1, auth_bytes=mechanism.auth_bytes())
        answer = _ask(stream, protocol, request)
        _check(answer)
        mechanism.receive(answer.auth_bytes)


def _ask(stream: socket.socket, protocol: KafkaProtocol, request: Any) -> Any:  # noqa: ANN401
    protocol.send_request(request)
    stream.sendall(protocol.send_bytes())
    while data := stream.recv(_READ_BYTES):
        for _, answer in protocol.receive_bytes(data):
            return answer
    raise ConnectionError("the broker ended the connection")


def _check(answer: Any) -> None:  # noqa: ANN401 - a response of kafka-python's
    error = errors.for_code(answer.error_code)
    if error is not errors.NoError:
        raise error(getattr(answer, "error_message", None))
