"""Runners and Beam's own options: what a user may name, and what it becomes."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import (
    ExtendedProvisionInfo,
    FnApiRunner,
)
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineRunner, create_runner

from schemas.errors import SettingsError

DIRECT = "DirectRunner"
PRISM = "PrismRunner"
PRISM_VARIABLE = "PUBNER_PRISM_LOCATION"
_KNOWN = (DIRECT, PRISM, "FlinkRunner", "DataflowRunner", "PortableRunner", "SparkRunner")
_IN_PROCESS = (DIRECT, PRISM)


@dataclass(frozen=True, slots=True)
class RunnerChoice:
    """A runner by its full name, Beam's options for it, and whether our process runs the steps."""

    name: str
    options: PipelineOptions
    in_process: bool


def choose_runner(name: str, beam_arguments: Sequence[str]) -> RunnerChoice:
    """Return the runner that `name` means, set up with the Beam options of a command line.

    Upper and lower case do not matter, nor does the ending `Runner`.

    :raises SettingsError: if the runner or an option is unknown, or an option's value is wrong.
    """
    arguments = list(beam_arguments)
    given = _parse(arguments)
    if given.runner is not None:
        if name != DIRECT and _full_name(name) != _full_name(given.runner):
            raise SettingsError(
                f"--runner {name} and, behind `--`, --runner {given.runner}: give one of them"
            )
        name = given.runner
    full = _full_name(name)
    if full == PRISM and not given.prism_location:
        arguments.append(f"--prism_location={find_prism()}")
    if full == PRISM:
        arguments.append("--prism_log_level=error")
    return RunnerChoice(
        name=full, options=PipelineOptions(arguments), in_process=full in _IN_PROCESS
    )


def make_runner(choice: RunnerChoice) -> PipelineRunner:
    """Return the runner itself.

    DirectRunner is Beam's in-process runner for bounded pipelines, by its own name: Beam's
    DirectRunner would first try Prism, which it downloads.

    :raises SettingsError: if Beam has it not installed.
    """
    if choice.name == DIRECT:
        encoded = JobServiceHandle.encode_pipeline_options(choice.options.get_all_options())
        provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
        return FnApiRunner(provision_info=ExtendedProvisionInfo(provision))
    try:
        return create_runner(choice.name)
    except ImportError as error:
        raise SettingsError(f"--runner {choice.name}: {error}") from error


def find_prism() -> Path:
    """Return the Prism program: $PUBNER_PRISM_LOCATION, or what deploy/local/prism built.

    :raises SettingsError: if there is none; nothing is ever downloaded here.
    """
    named = os.environ.get(PRISM_VARIABLE, "").strip()
    if named:
        if not Path(named).is_file():
            raise SettingsError(f"{PRISM_VARIABLE} names {named!r}, which is no file")
        return Path(named)
    cache = Path(__file__).resolve().parent.parent / ".cache" / "prism"
    found = sorted(path for path in cache.glob("*/prism") if path.is_file())
    if not found:
        raise SettingsError(
            "--runner PrismRunner needs the Prism program: build it with deploy/local/prism, or "
            f"name it by {PRISM_VARIABLE} or by `-- --prism_location=FILE`"
        )
    return found[-1]


def _full_name(name: str) -> str:
    plain = name.lower().removesuffix("runner")
    for known in _KNOWN:
        if known.lower().removesuffix("runner") == plain:
            return known
    raise SettingsError(f"unknown runner {name!r}; known are {', '.join(_KNOWN)}")


class _Parser(_BeamArgumentParser):
    """A parser that raises where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"behind `--`, Beam's options: {' '.join(message.split())}")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Check `arguments` against every option that Beam knows."""
    parser = _Parser(add_help=False, allow_abbrev=False, prog="pubner annotate")
    for options in dict.fromkeys(PipelineOptions.__subclasses__()):
        options._add_argparse_args(parser)
    try:
        known, unknown = parser.parse_known_args(list(arguments))
    except (ValueError, TypeError) as error:
        raise SettingsError(f"behind `--`, Beam's options: {error}") from error
    if unknown:
        raise SettingsError(
            f"behind `--`, Beam knows no option {unknown[0]!r}; pubner's own options and the "
            "inputs stand before it"
        )
    return known
