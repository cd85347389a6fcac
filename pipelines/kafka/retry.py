"""Retry loop for an unreachable broker, since not every runner retries a failed step."""

import logging
from collections.abc import Callable

from schemas.errors import BrokerError

_LOGGER = logging.getLogger(__name__)
_PAUSE_SECONDS = 2.0


def retry(
    action: Callable[[], None],
    *,
    before_again: Callable[[], None],
    sleep: Callable[[float], None],
) -> None:
    """Run `action`, repeatedly while the broker is unreachable.

    :raises PubnerError: if the failure is permanent.
    """
    while True:
        try:
            action()
            return
        except BrokerError as error:
            if error.permanent:
                raise
            _LOGGER.warning("trying again: %s", error)
        before_again()
        sleep(_PAUSE_SECONDS)
