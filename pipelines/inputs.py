"""From the words a user gives to the files that are annotated."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from pipelines.blocks import BlockKey, file_name
from pipelines.records import InputFile
from pipelines.store import is_local, local_path
from pipelines.store_reasons import store_reason
from schemas.errors import InputError, OutputError
from worker.objects.opening import open_objects
from worker.readers.records import Format, detect_format

SIDECAR_SUFFIX = ".md5"


def resolve_inputs(patterns: Sequence[str], format: Format | None) -> list[InputFile]:
    """Return the files that `patterns` name, in the order given and sorted within each.

    A pattern is a path, a glob, or a folder, whose files of a known format are taken; on this
    machine or in any file system that Beam opens. `.md5` sidecars are no inputs. With `format` None
    each file's name must say its format.

    :raises InputError: if a pattern names nothing, a format is unknown, two files have the same
        base name (it names the source in the output), or a name cannot stand in the output.
    """
    files: dict[str, InputFile] = {}
    for pattern in patterns:
        for path, size in _expand(pattern):
            source = base_name(path)
            known = files.get(source)
            if known is None:
                files[source] = InputFile(path, source, size)
                _check_name(source, format)
            elif os.path.realpath(known.path) != os.path.realpath(path):
                raise InputError(
                    f"two inputs are called {source!r}: {known.path} and {path}; the name is what "
                    "tells their records apart in the output, so rename one or annotate it into "
                    "another folder"
                )
    return list(files.values())


def base_name(path: str) -> str:
    """Return the last part of a path or URL."""
    return path.rpartition("/")[2]


def _check_name(source: str, format: Format | None) -> None:
    try:
        source.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"the file name {source!r} is not UTF-8; rename the file") from None
    file_name(BlockKey(source, 0, 0))
    if format is None:
        detect_format(source)


def _expand(pattern: str) -> list[tuple[str, int]]:
    """Return the paths that `pattern` names and their sizes in bytes, sorted."""
    if is_local(pattern):
        try:
            found = [(path, _local_size(path)) for path in _expand_local(pattern)]
        except OSError as error:
            raise InputError(f"no input at {pattern!r}: {error.strerror or error}") from error
    else:
        found = _expand_remote(pattern)
    if not found:
        raise InputError(
            f"no input at {pattern!r}: expected a file, a folder that holds some, or a glob that "
            "matches some (put a glob in quotes where the shell must not touch it)"
        )
    return sorted(found)


def _local_size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _expand_local(pattern: str) -> list[str]:
    path = local_path(pattern)
    if path.is_dir():
        return [str(x) for x in path.iterdir() if not x.is_dir() and _is_supported(x.name)]
    if path.exists():
        return [str(path)]
    return [
        name
        for name in glob.glob(str(path), recursive=True)  # noqa: PTH207 - takes absolute globs too
        if not name.endswith(SIDECAR_SUFFIX)
        and (not Path(name).is_dir() or _is_supported(base_name(name)))
        and name != str(path)
    ]


def _expand_remote(pattern: str) -> list[tuple[str, int]]:
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if pattern.startswith(("s3://", "gs://")):
        # Beam would try for minutes to reach a store without credentials.
        bucket = "/".join(pattern.split("/")[:3])
        try:
            open_objects(bucket).names("")
        except OutputError as error:
            raise InputError(str(error)) from error
    # Without options Beam opens no S3; a pipeline sets its own when it is made.
    FileSystems.set_options(PipelineOptions([]))
    try:
        [result] = FileSystems.match([pattern])
        if not result.metadata_list:
            [result] = FileSystems.match([f"{pattern.rstrip('/')}/*"])
            found = [x for x in result.metadata_list if _is_supported(base_name(x.path))]
        else:
            found = [x for x in result.metadata_list if not x.path.endswith(SIDECAR_SUFFIX)]
    except (BeamIOError, ValueError, ImportError) as error:
        raise InputError(f"cannot list {pattern!r}: {store_reason(pattern, error)}") from error
    return [(x.path, int(x.size_in_bytes or 0)) for x in found]


def _is_supported(name: str) -> bool:
    if name.startswith("."):
        return False
    try:
        detect_format(name)
    except InputError:
        return False
    return True
