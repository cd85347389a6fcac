"""What ends a command of this folder with one line and exit status 2."""


class LocalError(Exception):
    """A service cannot be installed, started or stopped; the message says what the user can do."""
