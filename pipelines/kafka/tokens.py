"""Token provider for OAUTHBEARER that calls a user's function."""

from collections.abc import Callable

from kafka.errors import SaslAuthenticationFailedError
from kafka.net.sasl.oauth import AbstractTokenProvider


class _FunctionTokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__()
        self._function = function

    def token(self) -> str:
        try:
            token = self._function()
        except Exception as error:
            raise SaslAuthenticationFailedError(
                f"the OAuth token provider failed with {type(error).__name__}"
            ) from error
        if not isinstance(token, str) or not token:
            raise SaslAuthenticationFailedError(
                f"the OAuth token provider returned a {type(token).__name__}, not a token's text"
            )
        return token


def token_provider(function: Callable[[], object]) -> AbstractTokenProvider:
    """Return a token provider for kafka-python that calls `function` at each login.

    If the function fails, the error names only its exception's class, since the text might hold a
    secret.
    """
    return _FunctionTokenProvider(function)
