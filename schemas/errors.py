"""The one error family. Each message states the value, what was expected, and what to do."""


class PubnerError(Exception):
    """Root of every error that pubner raises on purpose; `exit_code` is the command's status."""

    exit_code = 2


class SettingsError(PubnerError):
    """A wrong option, environment variable or settings file."""


class InputError(PubnerError):
    """An input that cannot be read at all: missing, unreadable, or refused by its checksum."""


class RecordError(PubnerError):
    """One record that cannot be used. It becomes a dead letter; the stream goes on."""


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


class TrainingError(PubnerError):
    """A training run that cannot start or go on: a recipe, a saved state, an encoder."""


class DivergenceError(TrainingError):
    """A training run whose loss is no number any more."""


class RegistryError(PubnerError):
    """A checkpoint registry that cannot be read or changed as asked."""


class RunnerError(PubnerError):
    """A runner's server or cluster that cannot be reached, refuses a job, or does not go on.

    `missing` says that it answers and does not have what was asked for.
    """

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing
