"""The one error family. Each message states the value, what was expected, and what to do."""

import signal
from pathlib import Path


class PubnerError(Exception):
    """Root of every error that pubner raises on purpose; `exit_code` is the command's status."""

    exit_code = 2


class SettingsError(PubnerError):
    """A wrong option, environment variable or settings file."""


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
