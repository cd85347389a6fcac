"""The names of the supported runners, checked without importing Beam."""

import os
from collections.abc import Sequence
from pathlib import Path

from schemas.errors import SettingsError
from worker.storage.locations import absolute

DIRECT = "DirectRunner"
PRISM = "PrismRunner"
FLINK = "FlinkRunner"
DATAFLOW = "DataflowRunner"
SPARK = "SparkRunner"
KNOWN = (DIRECT, PRISM, FLINK, DATAFLOW, "PortableRunner", SPARK)
IN_PROCESS = (DIRECT, PRISM)
"""The runners that run the steps in this process."""
UNBOUNDED = (PRISM, FLINK, DATAFLOW)
"""The runners that can run an unbounded stream, and stop it on request."""
PRISM_VARIABLE = "PUBNER_PRISM_LOCATION"
BUILT_FOR_LOOPBACK = "-loopback"
"""The suffix of the folder of a Prism that listens on loopback only; see deploy/local/prism."""


def full_name(name: str) -> str:
    """Return a runner's full name, ignoring case and the suffix `Runner`.

    :raises SettingsError: if the runner is unknown.
    """
    plain = name.lower().removesuffix("runner")
    for known in KNOWN:
        if known.lower().removesuffix("runner") == plain:
            return known
    raise SettingsError(f"unknown runner {name!r}; known are {', '.join(KNOWN)}")


def check_runner(name: str, beam_arguments: Sequence[str]) -> str:
    """Return the full name of the runner that a command line names, if it is available.

    :raises SettingsError: if it is unknown, or its program is missing.
    """
    full = full_name(_value("runner", beam_arguments) or name)
    if full == PRISM and not _value("prism_location", beam_arguments):
        find_prism()
    return full


def find_prism() -> Path:
    """Return the path of Prism: $PUBNER_PRISM_LOCATION, or the build of deploy/local/prism.

    :raises SettingsError: if there is none; nothing is downloaded.
    """
    named = os.environ.get(PRISM_VARIABLE, "").strip()
    if named:
        if not Path(absolute(named)).is_file():
            raise SettingsError(f"{PRISM_VARIABLE} names {named!r}, which is not a file")
        return Path(absolute(named))
    cache = Path(__file__).resolve().parents[2] / ".cache" / "prism"
    found = sorted(
        (path for path in cache.glob("*/prism") if path.is_file()),
        key=lambda path: (path.parent.name.endswith(BUILT_FOR_LOOPBACK), path.parent.name),
    )
    if not found:
        raise SettingsError(
            "--runner PrismRunner needs the Prism program: build it with deploy/local/prism, or "
            f"name it by {PRISM_VARIABLE} or by `-- --prism_location=FILE`"
        )
    return found[-1]


def _value(option: str, arguments: Sequence[str]) -> str | None:
    """Return the last value of a Beam option; None if it is not given."""
    found = None
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == f"--{option}":
            found = value if equals else next(iter(arguments[index + 1 : index + 2]), "")
    return found
