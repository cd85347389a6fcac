"""The default name of the user who changes a registry."""

import os
import pwd
import socket
from collections.abc import Mapping


def default_who(environment: Mapping[str, str] | None = None, host: str | None = None) -> str:
    """Return USER@HOST; USER is from the environment, else the process's owner."""
    known = os.environ if environment is None else environment
    name = known.get("USER") or known.get("LOGNAME") or _owner(os.getuid())
    return f"{name}@{socket.gethostname() if host is None else host}"


def _owner(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # as in some containers
        return str(number)
