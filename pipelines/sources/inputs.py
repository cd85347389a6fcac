"""Resolves the inputs of a command line (paths, globs, folders, URLs) to files."""

import hashlib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.blocks.elements import InputFile
from pipelines.blocks.keys import BlockKey, encode_source, file_name
from pipelines.output.reasons import store_reason
from schemas.errors import InputError, OutputError
from worker.cli.input_files import files_below, irregular_kind, matches_of, regular_file
from worker.readers.formats import SUFFIXES, Format, detect_format
from worker.storage.locations import absolute, is_local
from worker.storage.opening import open_objects

if TYPE_CHECKING:
    from apache_beam.io.filesystem import FileMetadata

SIDECAR_SUFFIX = ".md5"
_LONGEST_SHORTENED = 150
"""Maximum bytes of a source name that is cut because it is too long for a file name."""


class _Found(NamedTuple):
    """A path, its size in bytes, and why it cannot be an input: empty if it can."""

    path: str
    size: int
    refusal: str = ""


def resolve_inputs(patterns: Sequence[str], format: Format | None) -> list[InputFile]:
    """Return the files that `patterns` name, in the order given and sorted within each.

    A pattern is a path, a glob, or a folder, which stands for its files of a known format,
    including those in sub-folders; on this machine or in any file system that Beam supports.
    Hidden files and `.md5` sidecars are not inputs. With `format` None, each file's name must
    determine its format.

    A file whose name cannot be used in the output (not UTF-8, too long), or that is a pipe in a
    folder, has a `refusal`, unless all files have one.

    :raises InputError: if a pattern matches nothing, or is a pipe or a web address, a format is
        unknown, two files have the same base name (the name of the source in the output), or no
        file can be an input.
    """
    files: dict[str, InputFile] = {}
    for pattern in patterns:
        for found in _expand(pattern):
            file = _input_file(found, format)
            known = files.setdefault(file.source, file)
            if known is not file and os.path.realpath(known.path) != os.path.realpath(file.path):
                raise InputError(
                    f"two inputs are called {file.source!r}: {known.path!r} and {file.path!r}; the "
                    "name identifies their records in the output, so rename one or annotate it "
                    "into another folder"
                )
    refused = [file for file in files.values() if file.refusal]
    if refused and len(refused) == len(files):
        raise InputError(refused[0].refusal)
    return list(files.values())


def warn_of_refused(files: Iterable[InputFile]) -> None:
    """Warn on standard error of each file that cannot be an input."""
    for file in files:
        if file.refusal:
            sys.stderr.write(f"pubner: warning: {file.refusal}; it is a dead letter\n")
    sys.stderr.flush()


def base_name(path: str) -> str:
    """Return the last component of a path or URL."""
    return path.rpartition("/")[2]


def _input_file(found: _Found, format: Format | None) -> InputFile:
    source, path, refusal = _printable(base_name(found.path)), found.path, found.refusal
    if not _is_utf8(base_name(path)):
        refusal = f"the file name {source!r} is not UTF-8; rename the file"
    if any("\ud800" <= character <= "\udfff" for character in path):
        # The locale cannot decode its bytes, so the path cannot be sent to other processes.
        path = _printable(path)
        refusal = refusal or (
            f"the path {path!r} is not in the locale's encoding; rename its folders, or set "
            "LC_ALL=C.UTF-8"
        )
    if not refusal and format is None:
        detect_format(source)
    try:
        file_name(BlockKey(source, 0, 0))
    except InputError as error:
        refusal = refusal or str(error)
        source = _shortened(source)
    return InputFile(path, source, found.size, refusal)


def _printable(name: str) -> str:
    """Return a name with bytes that are not UTF-8 written as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_utf8(name: str) -> bool:
    """Whether the bytes of a file's name are UTF-8, in any locale."""
    try:
        os.fsencode(name).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _shortened(source: str) -> str:
    """Return the beginning of a name that is too long, with a digest of the whole name."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    begin = source
    while len(encode_source(begin)) > _LONGEST_SHORTENED:
        begin = begin[:-1]
    return f"{begin}~{digest}"


def _expand(pattern: str) -> list[_Found]:
    """Return the files that `pattern` matches, sorted; for a folder, all files below it.

    :raises InputError: if there are none.
    """
    if is_local(pattern):
        try:
            return _expand_local(pattern)
        except OSError as error:
            raise InputError(f"no input at {pattern!r}: {error.strerror or error}") from error
    regular_file(pattern)
    return _expand_remote(pattern)


def _expand_local(pattern: str) -> list[_Found]:
    path = regular_file(pattern if pattern == "-" else absolute(pattern))
    if path.is_dir():
        found = _in_folder(path)
        if not found:
            raise _empty_folder(pattern)
        return found
    if path.exists():
        return [_local(path)]
    matches = {
        found: None
        for match in matches_of(str(path))
        if not match.name.endswith(SIDECAR_SUFFIX) and match != path
        for found in ((_in_folder(match) if match.is_dir() else []) or _named(match))
    }
    if not matches:
        raise _nothing(pattern)
    return list(matches)


def _named(match: Path) -> list[_Found]:
    """Return a match of a glob, except a folder whose name has no known format."""
    return [_local(match)] if not match.is_dir() or _is_supported(match.name) else []


def _in_folder(folder: Path) -> list[_Found]:
    return sorted(_local(x) for x in files_below(folder) if _is_supported(x.name))


def _local(path: Path) -> _Found:
    kind = irregular_kind(path)
    if kind is not None:
        return _Found(str(path), 0, f"{str(path)!r} is {kind}, which cannot be read more than once")
    try:
        return _Found(str(path), path.stat().st_size)
    except OSError:  # such as a dangling link: the error is reported when it is read
        return _Found(str(path), 0)


def _expand_remote(pattern: str) -> list[_Found]:
    # Slow imports that local files do not need.
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if pattern.startswith(("s3://", "gs://")):
        # Beam would retry for minutes if the credentials are missing.
        bucket = "/".join(pattern.split("/")[:3])
        try:
            open_objects(bucket).names("")
        except OutputError as error:
            raise InputError(str(error)) from error
    # Beam needs options to open S3; a pipeline sets its own options later.
    FileSystems.set_options(PipelineOptions([]))
    folder = pattern.rstrip("/")
    try:
        named = [] if pattern.endswith("/") else _matches(pattern)
        if named:
            taken = [x for x in named if not x.path.endswith(SIDECAR_SUFFIX)]
        else:
            named = _matches(f"{folder}/**")
            taken = [x for x in named if _is_visible(x.path[len(folder) :])]
    except (BeamIOError, ValueError, ImportError) as error:
        raise InputError(f"cannot list {pattern!r}: {store_reason(pattern, error)}") from error
    if not taken:
        raise _empty_folder(pattern) if named else _nothing(pattern)
    return sorted(_Found(x.path, int(x.size_in_bytes or 0)) for x in taken)


def _matches(pattern: str) -> "list[FileMetadata]":
    from apache_beam.io.filesystems import FileSystems

    [result] = FileSystems.match([pattern])
    # An object whose name ends with a slash represents a folder.
    return [x for x in result.metadata_list if base_name(x.path)]


def _is_visible(path: str) -> bool:
    """Whether a path below a folder has no hidden component and a known format."""
    parts = path.strip("/").split("/")
    return _is_supported(parts[-1]) and not any(part.startswith(".") for part in parts)


def _is_supported(name: str) -> bool:
    if name.startswith("."):
        return False
    try:
        detect_format(name)
    except InputError:
        return False
    return True


def _empty_folder(pattern: str) -> InputError:
    return InputError(
        f"nothing to read in the folder {pattern!r}: looked in it and in its sub-folders for names "
        f"that end in {', '.join(SUFFIXES)}, each also followed by .gz; hidden files and "
        f"{SIDECAR_SUFFIX} files are not inputs (give files with other names by name or by a glob, "
        "with --format)"
    )


def _nothing(pattern: str) -> InputError:
    return InputError(
        f"no input at {pattern!r}: expected a file, a folder with files, or a glob that "
        "matches files (quote a glob that the shell must not expand)"
    )
