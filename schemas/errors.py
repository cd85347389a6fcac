"""All errors that pubner raises. Messages state the value, what was expected, and the remedy."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_STEP = " [while running "
"""The text that Beam appends to the message of an error raised in a step."""


class PubnerError(Exception):
    """Root of every error that pubner raises on purpose; `exit_code` is the command's status."""

    exit_code = 2

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the whole error, whatever arguments its class's constructor has."""
        return _rebuild, (type(self), self.args), self.__dict__


class UnexpectedError(PubnerError):
    """An exception outside the `PubnerError` family, as one line; `__cause__` is the exception."""

    exit_code = 1

    def __init__(self, error: BaseException) -> None:
        reason = str(error).strip()
        super().__init__(type(error).__name__ + (f": {reason}" if reason else ""))
        self.__cause__ = error


class SettingsError(PubnerError):
    """A wrong option, environment variable or settings file."""


class MissingPackageError(SettingsError):
    """A package that a command or option needs is not installed."""


class InputError(PubnerError):
    """An input that cannot be read at all: missing, unreadable, or refused by its checksum."""


class RecordError(PubnerError):
    """A record that cannot be processed. It becomes a dead letter; processing continues."""


class DamagedStreamError(RecordError):
    """A compressed stream that is truncated or corrupt; raised after its readable part."""


class RefusedRecordError(RecordError):
    """A file's record that its reader refuses again; `error_type` is the reader's error class."""

    def __init__(self, error_type: str, error: str) -> None:
        super().__init__(error)
        self.error_type = error_type


class RecordBatchError(RecordError):
    """A Kafka record batch that cannot be decoded: each of its offsets becomes a dead letter."""


class BrokerError(PubnerError):
    """A Kafka broker that is unreachable, refuses a request, or does not respond.

    `permanent` is true if retrying cannot help.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class CheckpointError(PubnerError):
    """A checkpoint that is missing, altered, or contradicts its manifest."""


class CorpusError(PubnerError):
    """A corpus file that breaks its tag scheme or layout; names file, line and reason."""


class OutputError(PubnerError):
    """An output folder that cannot be written, or that belongs to another run's settings."""


class ConflictError(OutputError):
    """A conditional write failed: another writer replaced the object. Read, merge, and retry."""


class LockedError(OutputError):
    """A lock held by another process; `holder` is the id of the process that last acquired it."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"process {holder} holds the lock {str(path)!r}; end that process (it may be "
            "suspended), and run the command again"
        )
        self.holder = holder


class RunStoppedError(PubnerError):
    """The run was asked to stop."""


class InterruptedRunError(PubnerError):
    """A run stopped by a signal; `exit_code` is 128 plus the signal number, as in shells."""

    def __init__(self, signal_number: int, output: str) -> None:
        super().__init__(
            f"stopped by {signal.Signals(signal_number).name}; data committed in {output!r} "
            "is kept, and the same command resumes from there"
        )
        self.exit_code = 128 + signal_number


class TrainingError(PubnerError):
    """A training run that cannot start or resume: a recipe, a saved state, an encoder."""


class DivergenceError(TrainingError):
    """A training run whose loss is no longer finite."""


class RegistryError(PubnerError):
    """A checkpoint registry that cannot be read or changed as asked."""


class GateRefusedError(PubnerError):
    """A candidate checkpoint that exceeds a tolerance of the gate; it is not promoted."""

    exit_code = 3


class RunnerError(PubnerError):
    """A runner's server or cluster that is unreachable, refuses a job, or stalls.

    `missing` is true if it responds that the requested thing does not exist.
    """

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


def family() -> Iterator[type[PubnerError]]:
    """Yield every loaded subclass of `PubnerError`, and first `PubnerError` itself."""
    found: list[type[PubnerError]] = [PubnerError]
    for kind in found:  # the list grows during the iteration
        yield kind
        found += [child for child in kind.__subclasses__() if child not in found]


def error_to_json(error: BaseException) -> str:
    """Serialise an error as one line of JSON; foreign exceptions become `UnexpectedError`."""
    known = error if isinstance(error, PubnerError) else UnexpectedError(error)
    name = _name(type(known))
    return json.dumps({"error": name, "args": known.args, "state": known.__dict__}, default=str)


def error_from_json(line: str | bytes) -> PubnerError:
    """Deserialise an error that `error_to_json` serialised in this process."""
    found = json.loads(line)
    kind = next(kind for kind in family() if _name(kind) == found["error"])
    error = _rebuild(kind, tuple(found["args"]))
    error.__dict__.update(found["state"])
    return error


def error_from_runner(error: Exception) -> PubnerError | None:
    """Return the `PubnerError` inside an exception raised by a runner; None if there is none.

    The exception may itself be one, with the step's name appended to its message, or its text may
    contain a traceback, of which the last error is returned. Class and message are kept.
    """
    if isinstance(error, PubnerError):
        return _rebuild(type(error), (str(error).partition(_STEP)[0],))
    text = str(error)
    begin, kind = max(
        ((text.rfind(f"{_name(kind)}: "), kind) for kind in family()), key=lambda found: found[0]
    )
    if begin < 0:
        return None
    message = text[begin + len(_name(kind)) + 2 :].partition("\n")[0].partition(_STEP)[0]
    return _rebuild(kind, (message,))


def _name(kind: type[PubnerError]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _rebuild(kind: type[PubnerError], values: tuple[object, ...]) -> PubnerError:
    """Return an error with these `args`, bypassing its constructor, whose arguments may differ."""
    error = kind.__new__(kind)
    error.args = values
    return error
