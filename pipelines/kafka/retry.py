"""Waiting for a broker that is away: not every runner repeats a step that failed."""

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
    """Do `action`, again and again while the broker is away.

    :raises PubnerError: if what is wrong will not pass by itself.
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
