"""Validation of paths that a user gave, before anything is loaded.

Each check returns the path as it was given, or raises a `ValueError` that states the reason. URLs
are not checked: only the object store knows whether they exist.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from worker.cli.input_files import irregular_kind

_OUTPUT_MANIFEST = "pubner.json"


def folder_to_write(value: str) -> str:
    """Check a folder to be written, which need not exist yet."""
    if not value.strip():
        raise ValueError("expected a folder")
    if (path := _local(value)) is not None:
        _check_parents(path)
        if path.exists() and not path.is_dir():
            raise ValueError("it is a file; name a folder")
    return value


def folder_to_read(value: str) -> str:
    """Check a folder to be read, which must exist."""
    folder_to_write(value)
    if (path := _local(value)) is not None and not path.is_dir():
        raise ValueError("there is no such folder")
    return value


def output_to_read(value: str) -> str:
    """Check the folder of an existing pubner output."""
    folder_to_write(value)
    path = _local(value)
    if path is not None and not (path / _OUTPUT_MANIFEST).exists():
        what = f"it has no {_OUTPUT_MANIFEST}" if path.is_dir() else "there is no such folder"
        raise ValueError(f"it is not a pubner output: {what}")
    return value


def file_to_write(value: str) -> str:
    """Check a file to be written, which need not exist yet; `-` is standard output."""
    if not value.strip():
        raise ValueError("expected a file")
    if value != "-":
        path = Path(value)
        _check_parents(path)
        if path.is_dir():
            raise ValueError("it is a folder; name a file")
    return value


def file_to_read(path: Path) -> Path:
    """Check a file to be read, which must exist."""
    _check_parents(path)
    if path.is_dir():
        raise ValueError("it is a folder; name a file")
    if not path.exists():
        raise ValueError("there is no such file")
    if (kind := irregular_kind(path)) is not None:
        raise ValueError(f"it is {kind}; write it to a file first, and give the file's name")
    return path


def files_to_read(values: tuple[str, ...]) -> tuple[str, ...]:
    """Check files to be read, which must exist."""
    for value in values:
        try:
            file_to_read(Path(value))
        except ValueError as error:
            raise ValueError(f"{value!r}: {error}" if len(values) > 1 else str(error)) from None
    return values


def _local(value: str) -> Path | None:
    if "://" in value and not value.startswith("file://"):
        return None
    path = Path(value.removeprefix("file://"))
    try:
        return path.expanduser() if value.startswith("~") else path
    except RuntimeError as error:
        raise ValueError(f"{error}; give the folder's full path") from None


def _check_parents(path: Path) -> None:
    """Check that a path can be accessed, and that all its parents are folders."""
    try:
        path.stat()
    except (FileNotFoundError, PermissionError):
        pass
    except NotADirectoryError:
        parent = next(folder for folder in path.parents if folder.exists())
        raise ValueError(f"{str(parent)!r} is a file; name a folder") from None
    except OSError as error:
        raise ValueError(f"{error.strerror or error}") from None


def _path_to_write(value: Path) -> Path:
    folder_to_write(str(value))
    return value


OutputFolder = Annotated[str, AfterValidator(folder_to_write)]
OutputPath = Annotated[Path, AfterValidator(_path_to_write)]
ExistingOutput = Annotated[str, AfterValidator(output_to_read)]
ExistingFolder = Annotated[str, AfterValidator(folder_to_read)]
FileToWrite = Annotated[str, AfterValidator(file_to_write)]
FileToRead = Annotated[Path, AfterValidator(file_to_read)]
FilesToRead = Annotated[tuple[str, ...], AfterValidator(files_to_read)]
