"""The one error family. Each message states the value, what was expected, and what to do."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_STEP = " [while running "
"""What Beam puts behind the message of an error that ends a step."""


class PubnerError(Exception):
    """Root of every error that pubner raises on purpose; `exit_code` is the command's status."""

    exit_code = 2

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the error whole, whatever its class's constructor takes."""
        return _remade, (type(self), self.args), self.__dict__


class UnexpectedError(PubnerError):
    """An error that pubner does not raise on purpose, as one line; its cause is the error."""

    exit_code = 1

    def __init__(self, error: BaseException) -> None:
        reason = str(error).strip()
        super().__init__(type(error).__name__ + (f": {reason}" if reason else ""))
        self.__cause__ = error


class SettingsError(PubnerError):
    """A wrong option, environment variable or settings file."""


class MissingPackageError(SettingsError):
    """A package that a command or an option needs, and that is not installed."""


class InputError(PubnerError):
    """An input that cannot be read at all: missing, unreadable, or refused by its checksum."""


class RecordError(PubnerError):
    """One record that cannot be used. It becomes a dead letter; the stream goes on."""


class DamagedStreamError(RecordError):
    """A compressed stream that is cut or corrupt. What could be decompressed came before it."""


class RefusedRecordError(RecordError):
    """A file's record that its reader still refuses; `error_type` is what the reader calls it."""

    def __init__(self, error_type: str, error: str) -> None:
        super().__init__(error)
        self.error_type = error_type


class RecordBatchError(RecordError):
    """A record batch of Kafka's that cannot be decoded: a dead letter for each of its offsets."""


class BrokerError(PubnerError):
    """A Kafka broker that cannot be reached, refuses what is asked, or does not answer.

    `permanent` says that trying again cannot help.
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
    """Another writer replaced the object in between: look again, merge, and try again."""


class LockedError(OutputError):
    """A lock that someone else holds; `holder` is the process that took it last, as text."""

    def __init__(self, place: Path, holder: str) -> None:
        super().__init__(
            f"process {holder} holds the lock {str(place)!r}; end that process (it may be "
            "stopped), and give the command again"
        )
        self.holder = holder


class RunStoppedError(PubnerError):
    """The run was asked to stop."""


class InterruptedRunError(PubnerError):
    """A run that a signal stopped; `exit_code` is 128 plus the signal, as shells have it."""

    def __init__(self, signal_number: int, output: str) -> None:
        super().__init__(
            f"stopped by {signal.Signals(signal_number).name}; what is in place in {output!r} "
            "stays, and the same command goes on from there"
        )
        self.exit_code = 128 + signal_number


class TrainingError(PubnerError):
    """A training run that cannot start or go on: a recipe, a saved state, an encoder."""


class DivergenceError(TrainingError):
    """A training run whose loss is no number any more."""


class RegistryError(PubnerError):
    """A checkpoint registry that cannot be read or changed as asked."""


class GateRefusedError(PubnerError):
    """A candidate that breaks a tolerance; it is not promoted."""

    exit_code = 3


class RunnerError(PubnerError):
    """A runner's server or cluster that cannot be reached, refuses a job, or does not go on.

    `missing` says that it answers and does not have what was asked for.
    """

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


def family() -> Iterator[type[PubnerError]]:
    """Yield every class of the family that is known to this process, the root first."""
    found: list[type[PubnerError]] = [PubnerError]
    for kind in found:  # it grows meanwhile
        yield kind
        found += [below for below in kind.__subclasses__() if below not in found]


def error_to_json(error: BaseException) -> str:
    """Return an error as one line of JSON; one that is not of the family as `UnexpectedError`."""
    ours = error if isinstance(error, PubnerError) else UnexpectedError(error)
    name = _name(type(ours))
    return json.dumps({"error": name, "args": ours.args, "state": ours.__dict__}, default=str)


def error_from_json(line: str | bytes) -> PubnerError:
    """Return the error that `error_to_json` wrote in this process."""
    found = json.loads(line)
    kind = next(kind for kind in family() if _name(kind) == found["error"])
    error = _remade(kind, tuple(found["args"]))
    error.__dict__.update(found["state"])
    return error


def error_behind(error: Exception) -> PubnerError | None:
    """Return the error of the family that a runner passes on as `error`; None where it is none.

    It may be one itself, with the step's name behind its message, or its text may hold a
    traceback, of which the last error counts. Its class and its message are kept.
    """
    if isinstance(error, PubnerError):
        return _remade(type(error), (str(error).partition(_STEP)[0],))
    text = str(error)
    begin, kind = max(
        ((text.rfind(f"{_name(kind)}: "), kind) for kind in family()), key=lambda found: found[0]
    )
    if begin < 0:
        return None
    message = text[begin + len(_name(kind)) + 2 :].partition("\n")[0].partition(_STEP)[0]
    return _remade(kind, (message,))


def _name(kind: type[PubnerError]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _remade(kind: type[PubnerError], values: tuple[object, ...]) -> PubnerError:
    """Return an error with these `args`, without its constructor, which may take others."""
    error = kind.__new__(kind)
    error.args = values
    return error
