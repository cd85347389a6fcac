"""The table of runners, looked up without importing Beam."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from schemas.errors import SettingsError
from worker.storage.locations import absolute
from worker.system.plugins import REMEDY, described, load_plugin

DIRECT = "DirectRunner"
PRISM = "PrismRunner"
FLINK = "FlinkRunner"
DATAFLOW = "DataflowRunner"
SPARK = "SparkRunner"
ENTRY_POINTS = "pubner.runners"
"""The entry point group in which an installed package names its own `Runner`s."""
PRISM_VARIABLE = "PUBNER_PRISM_LOCATION"
BUILT_FOR_LOOPBACK = "-loopback"
"""The suffix of the folder of a Prism that listens on loopback only; see deploy/local/prism."""


@dataclass(frozen=True, slots=True)
class Runner:
    """A runner, and how it differs from others.

    `in_process` runs the steps in this process. `unbounded` can run an unbounded stream, and stop
    it on request; with `ends_drained`, its job ends when the source has ended, and else stays idle.
    `counts_all` keeps all of Beam's counters. `remote` has its workers on other machines, and no
    job server. `portable` runs the steps in the environment that Beam's portable options name.
    `beam_runner` is what Beam's `create_runner` is given: a name that Beam knows, or the path
    `module.Class` of a runner; empty for `name`.
    """

    name: str
    in_process: bool = False
    unbounded: bool = False
    ends_drained: bool = True
    counts_all: bool = True
    remote: bool = False
    portable: bool = True
    beam_runner: str = ""


RUNNERS = (
    Runner(DIRECT, in_process=True, portable=False),
    # Prism loses counters of bundles that end together.
    Runner(PRISM, in_process=True, unbounded=True, counts_all=False),
    Runner(FLINK, unbounded=True, ends_drained=False),
    Runner(DATAFLOW, unbounded=True, remote=True),
    Runner("PortableRunner"),
    Runner(SPARK),
)
KNOWN = tuple(runner.name for runner in RUNNERS)


def find_runner(name: str) -> Runner:
    """Return a runner by name, ignoring case and the suffix `Runner`.

    Runners of installed packages are looked up only if no built-in one has the name.

    :raises SettingsError: if the runner is unknown, or its package cannot be loaded.
    """
    for runner in RUNNERS:
        if _plain(runner.name) == _plain(name):
            return runner
    for entry in entry_points(group=ENTRY_POINTS):
        if _plain(entry.name) == _plain(name):
            return _load(entry)
    raise SettingsError(f"unknown runner {name!r}; known are {', '.join(KNOWN)}")


def full_name(name: str) -> str:
    """Return a runner's full name, ignoring case and the suffix `Runner`.

    :raises SettingsError: if the runner is unknown.
    """
    return find_runner(name).name


def _plain(name: str) -> str:
    return name.lower().removesuffix("runner")


def _load(entry: EntryPoint) -> Runner:
    found = load_plugin(entry, SettingsError)
    if not isinstance(found, Runner):
        raise SettingsError(
            f"{described(entry)} is a {type(found).__name__}; expected a "
            f"pipelines.runners.names.Runner; {REMEDY}"
        )
    if _plain(found.name) != _plain(entry.name):
        raise SettingsError(
            f"{described(entry)} is the Runner {found.name!r}; expected the name of its entry "
            f"point, with or without `Runner` at its end; {REMEDY}"
        )
    return found


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
