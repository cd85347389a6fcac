"""Resumable download of one file over HTTP(S) into a partial file."""

import errno
import fcntl
import http.client
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from schemas.errors import InputError, OutputError

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the total size, None if the server gives none."""

_CHUNK = 1 << 16
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How to retry: `attempts` in all, `timeout` seconds per read, doubling `pause`."""

    attempts: int = 5
    timeout: float = 30.0
    pause: float = 1.0
    longest_pause: float = 30.0


class _TransientError(Exception):
    """An interrupted transfer that may be retried; `wait` is the server's Retry-After, if any."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def download(
    url: str,
    part: Path,
    *,
    sleep: Callable[[float], None],
    progress: Progress,
    patience: RetryPolicy = RetryPolicy(),
) -> bool:
    """Append the rest of `url` to the partial file `part`; return whether it was resumed.

    :raises InputError: if the server cannot be reached or refuses, or every attempt is interrupted;
        `part` keeps the bytes received so far.
    :raises OutputError: if `part` cannot be written, or another process is writing it.
    """
    if not url.startswith(("https://", "http://")):
        raise InputError(f"{url}: expected an https:// or http:// address")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        stream = part.open("ab")
    except OSError as error:
        raise OutputError(f"cannot write {part}: {error.strerror}") from error
    with stream:
        _lock(stream, part)
        resumed = stream.tell() > 0
        for attempt in range(1, patience.attempts + 1):
            try:
                _transfer(url, stream, progress, patience.timeout)
            except _TransientError as broken:
                if attempt == patience.attempts:
                    raise InputError(
                        f"{url}: {broken}; gave up after {attempt} attempts. "
                        "Run the command again to resume"
                    ) from broken
                pause = patience.pause * 2 ** (attempt - 1) if broken.wait is None else broken.wait
                sleep(min(pause, patience.longest_pause))
                resumed = stream.tell() > 0
            else:
                return resumed
    raise AssertionError("unreachable: attempts is at least 1")  # pragma: no cover


def _lock(stream: BinaryIO, part: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OutputError(
            f"{part} is being written by another process; wait for it, or choose another folder"
        ) from error


def _transfer(url: str, stream: BinaryIO, progress: Progress, timeout: float) -> None:
    """Append the missing bytes of `url` to `stream`, which is positioned at its end."""
    have = stream.tell()
    request = urllib.request.Request(url, headers={"User-Agent": "pubner"})  # noqa: S310
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            _append(response, stream, have, progress)
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if _complete_size(error.headers.get("Content-Range", "")) == have:
                return
            _empty(stream)
            raise _TransientError(
                "the partial file is longer than the file; starting over"
            ) from error
        if error.code in _TRANSIENT:
            raise _TransientError(
                f"the server answered {error.code} {error.reason}",
                _seconds(error.headers.get("Retry-After")),
            ) from error
        raise InputError(
            f"{url}: the server answered {error.code} {error.reason}; "
            "check the address, or fetch from another place"
        ) from error
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, TimeoutError | ConnectionResetError):
            raise _TransientError(f"no answer ({reason})") from error
        raise InputError(
            f"{url}: cannot be reached ({_plain(reason)}); check the network, or copy the corpora "
            "into a folder and name it with --data"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _TransientError(
            f"the transfer broke off ({error or type(error).__name__})"
        ) from error


def _append(
    response: http.client.HTTPResponse, stream: BinaryIO, have: int, progress: Progress
) -> None:
    offered = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if have and not (
        response.status == HTTPStatus.PARTIAL_CONTENT and offered and int(offered[1]) == have
    ):
        _empty(stream)  # the server sends the whole file
        have = 0
    length = response.headers.get("Content-Length")
    total = have + int(length) if length is not None else None
    progress(have, total)
    try:
        while chunk := response.read(_CHUNK):
            stream.write(chunk)
            have += len(chunk)
            progress(have, total)
        stream.flush()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
            raise OutputError(f"cannot write {stream.name}: {error.strerror}") from error
        raise
    if total is not None and have < total:
        raise _TransientError(f"the transfer broke off after {have} of {total} bytes")


def _empty(stream: BinaryIO) -> None:
    stream.truncate(0)
    stream.seek(0)


def _complete_size(content_range: str) -> int | None:
    """Return the SIZE of `bytes */SIZE`; None if there is none."""
    size = content_range.rpartition("/")[2]
    return int(size) if size.isdecimal() else None


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None


def _plain(reason: object) -> str:
    if isinstance(reason, socket.gaierror):
        return "its name cannot be resolved"
    return str(getattr(reason, "strerror", None) or reason)
