"""Paths and URLs: absolute form, and credentials in URLs detected and masked."""

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


def is_local(location: str) -> bool:
    """Whether `location` is on this machine's file system, not a URL of another kind."""
    return "://" not in location or location.startswith(_FILE)


def absolute(location: str) -> str:
    """Return the absolute path of a local folder or file; other URLs are returned unchanged.

    Paths passed to a job server, another process or a worker with another working folder must mean
    the same there. A leading `~` is replaced by the home folder, `file://` is removed; `..`,
    symbolic links and the wildcards of a glob are kept.

    :raises SettingsError: if there is no such home folder.
    """
    if not is_local(location):
        return location
    path = location.removeprefix(_FILE)
    if location != path and path.startswith("localhost/"):
        path = path.removeprefix("localhost")
    if path.startswith("~"):
        try:
            path = str(Path(path).expanduser())
        except RuntimeError as error:
            raise SettingsError(
                f"cannot open {location!r}: {error}; give the absolute path, or ./{path} if that "
                "is its name"
            ) from error
    return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - `Path` drops a trailing slash


def has_credentials(location: str) -> bool:
    """Whether `location` is a URL with a password, or with a user of a web or FTP server."""
    return _CREDENTIALS.match(location) is not None


def masked(text: str) -> str:
    """Return `text` with the credentials in its URLs replaced by `***`."""
    if "://" not in text:
        return text
    return _TOKEN.sub(r"\1***", _CREDENTIALS.sub(r"\g<scheme>***@", text))


def credentials_refusal(location: str) -> str:
    """Return the message that refuses a URL with credentials, without repeating them."""
    bare = _CREDENTIALS.sub(r"\g<scheme>", location, count=1)
    return (
        f"the URL {masked(bare)!r} was given with a user name or password, which messages and "
        "reports would show; leave them out: credentials come from the environment or the files "
        "that the store's libraries read"
    )
