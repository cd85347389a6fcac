"""Files written whole: a reader sees the old content or the new one, after a crash too."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"
_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP)
"""How some network file systems answer where a folder is to be synced."""


def temporary_of(path: Path) -> Path:
    """Return the path of the temporary file of `path`: hidden, and in the same folder."""
    return path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")


@contextmanager
def written_whole(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield an empty temporary file, which replaces `path` on success and is removed on failure.

    Its name is always the same, so a writer that is killed leaves one file at most; where several
    processes may write `path` at once (`shared`), its name is random.

    :raises OSError: if the folder does not exist, or cannot be written.
    """
    temporary = temporary_of(path)
    if shared:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    else:
        temporary.unlink(missing_ok=True)
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        yield temporary
        commit_file(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def commit_file(temporary: Path, path: Path) -> None:
    """Sync a finished temporary file, rename it to `path`, and sync their folder.

    :raises OSError: if that fails.
    """
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def write_whole(path: Path, content: bytes | str, *, shared: bool = False) -> None:
    """Replace the content of `path` as `written_whole` does; text is written in UTF-8.

    :raises OSError: as `written_whole`.
    """
    with written_whole(path, shared=shared) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def sync(path: Path) -> None:
    """Write a file, or the names in a folder, through to the disk.

    :raises OSError: if that fails.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)
