"""Folders, files and URLs as a user gives them, and as messages may show them."""

import os
import re
from pathlib import Path

from schemas.errors import SettingsError

_FILE = "file://"
_CREDENTIALS = re.compile(
    r"""(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)
    (?: [^/?\#@:\s'"]* : (?! \d+ (?: [/?\#'"\s,;)] | $ ) ) [^\s'"]* @
      | (?: (?<=\bhttp://) | (?<=\bhttps://) | (?<=\bftp://) | (?<=\bftps://) ) [^/?\#\s'"]* @ )""",
    re.VERBOSE | re.IGNORECASE,
)
"""A password in a URL, or any user of a web or FTP server, which may be a token;
`abfs://CONTAINER@HOST` and `hdfs://USER@HOST` name none."""
_TOKEN = re.compile(
    r"""([?&][\w.~-]*(?:token|sig|signature|secret|password|credential)[\w.~-]*=)[^&\#\s'"]+""",
    re.IGNORECASE,
)


def is_local(place: str) -> bool:
    """Whether `place` lies on this machine's own file system."""
    return "://" not in place or place.startswith(_FILE)


def absolute(place: str) -> str:
    """Return a folder or file by its whole path, a URL of another kind as it is.

    What leaves this process (a job server, another process, a worker with another working folder)
    must mean the same there. `~` at its begin is a home, `file://` is left out; `..` and symbolic
    links stay, and so do the wildcards of a glob.

    :raises SettingsError: if there is no such home.
    """
    if not is_local(place):
        return place
    path = place.removeprefix(_FILE)
    if place != path and path.startswith("localhost/"):
        path = path.removeprefix("localhost")
    if path.startswith("~"):
        try:
            path = str(Path(path).expanduser())
        except RuntimeError as error:
            raise SettingsError(
                f"cannot open {place!r}: {error}; give the whole path, or ./{path} where that is "
                "its name"
            ) from error
    return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - `Path` would drop a last slash


def has_credentials(place: str) -> bool:
    """Whether `place` is a URL with a password in it, or with a user of a web or FTP server."""
    return _CREDENTIALS.match(place) is not None


def masked(text: str) -> str:
    """Return any text without the credentials of the URLs in it."""
    if "://" not in text:
        return text
    return _TOKEN.sub(r"\1***", _CREDENTIALS.sub(r"\g<scheme>***@", text))


def credentials_refusal(place: str) -> str:
    """Return the line that refuses a URL with credentials in it, without saying them."""
    bare = _CREDENTIALS.sub(r"\g<scheme>", place, count=1)
    return (
        f"the URL {masked(bare)!r} was given with a user name or password in it, which messages "
        "and reports would show; leave them out: credentials come from the environment or the "
        "files that the store's libraries read"
    )
