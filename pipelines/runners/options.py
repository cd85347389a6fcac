"""The choice of a runner, and Beam's options for it.

What differs between runners is in the table of `pipelines.runners.names`, and here.
"""

import argparse
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    SparkRunnerOptions,
    _BeamArgumentParser,
)
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineRunner, create_runner

from pipelines.runners.local_servers import InProcessRunner, keep_local
from pipelines.runners.names import (
    BUILT_FOR_LOOPBACK,
    DATAFLOW,
    DIRECT,
    FLINK,
    PRISM,
    SPARK,
    Runner,
    find_prism,
    find_runner,
    full_name,
)
from schemas.errors import SettingsError
from worker.storage.locations import is_local

FLINK_CHECKPOINT_MS = 10_000
"""How often Flink checkpoints a stream unless `--checkpointing_interval` says otherwise."""
_FLINK_SERVER_OPTIONS = frozenset(
    {
        "allow_non_restored_state",
        "auto_watermark_interval",
        "checkpointing_interval",
        "checkpointing_mode",
        "checkpoint_timeout_millis",
        "disable_metrics",
        "execution_mode_for_batch",
        "execution_retry_delay",
        "externalized_checkpoints_enabled",
        "fail_on_checkpointing_errors",
        "finish_bundle_before_checkpointing",
        "latency_tracking_interval",
        "max_bundle_size",
        "max_bundle_time_mills",
        "min_pause_between_checkpoints",
        "number_of_concurrent_checkpoints",
        "number_of_execution_retries",
        "object_reuse",
        "operator_chaining",
        "retain_externalized_checkpoints_on_cancellation",
        "savepoint_path",
        "shutdown_sources_after_idle_ms",
        "state_backend",
        "state_backend_storage_path",
        "unaligned_checkpoint_enabled",
    }
)
"""Options that Beam's job server for Flink accepts, and Beam's Python SDK does not know."""


@dataclass(frozen=True, slots=True)
class RunnerChoice:
    """A runner, and Beam's options for it.

    `arguments` are the command-line arguments that `options` were parsed from.
    """

    runner: Runner
    options: PipelineOptions
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The runner's full name."""
        return self.runner.name

    @property
    def in_process(self) -> bool:
        """Whether this process runs the steps."""
        return self.runner.in_process

    @property
    def flink_rest(self) -> str | None:
        """The address of a Flink cluster's REST API; None for other runners and embedded Flink."""
        master = self.options.view_as(FlinkRunnerOptions).flink_master
        if self.name != FLINK or not master or master.startswith("["):
            return None
        return str(master) if "://" in master else f"http://{master}"

    def check_paths(self, paths: Mapping[str, str | None]) -> None:
        """Check that the runner's workers can access `paths`, which are given by option.

        Whether a worker pool on another machine can access a folder is unknown here; its workers
        check for the output's manifest before they write.

        :raises SettingsError: if a path is local, and the workers are remote or in containers.
        """
        if self.runner.remote:
            where = "workers are other machines, which do not see it"
        elif self._in_containers:
            where = "workers are containers, which do not see it and lose what they write there"
        else:
            return
        for option, path in paths.items():
            if path is not None and is_local(path):
                remedy = "give the URL of an object store"
                if self.runner.remote:
                    remedy += ", and --region, --project and --temp_location after `--`"
                else:
                    remedy += ", or, with workers on this machine, --environment_type=EXTERNAL "
                    remedy += "and --environment_config=HOST:PORT of a worker pool after `--`"
                raise SettingsError(
                    f"{option} {path!r} is on this machine, and {self.name}'s {where}; {remedy}"
                )

    @property
    def _in_containers(self) -> bool:
        """Whether the steps run in Docker, which is Beam's default environment."""
        if not self.runner.portable:
            return False
        portable = self.options.view_as(PortableOptions)
        kind = portable.environment_type or ""
        if kind or portable.output_executable_path:
            return kind.upper() == "DOCKER" or kind == "beam:env:docker:v1"
        spark = str(self.options.view_as(SparkRunnerOptions).spark_master_url)
        master = str(self.options.view_as(FlinkRunnerOptions).flink_master)
        return not (
            self.in_process
            or (self.name == FLINK and master.startswith("["))
            or (self.name == SPARK and spark.startswith("local"))
        )

    @property
    def exposure(self) -> str | None:
        """A warning about servers of this run that may not be limited to loopback, if any."""
        if self.name == PRISM:
            program = str(self.options.view_as(PrismRunnerOptions).prism_location)
            if Path(program).absolute().parent.name.endswith(BUILT_FOR_LOOPBACK):
                return None
            what = f"Prism at {program} is not the one that deploy/local/prism builds"
        elif self.name in (FLINK, SPARK) and not self.options.view_as(PortableOptions).job_endpoint:
            what = f"Beam starts its own job server for {self.name}"
        else:
            return None
        return (
            f"{what}: it may listen on all interfaces, and anyone who reaches its ports can run "
            "code here; close them to other machines"
        )

    @property
    def job_server(self) -> str | None:
        """The address of the job server; None for runners without one."""
        if self.in_process or self.runner.remote:
            return None
        return str(self.options.view_as(PortableOptions).job_endpoint or "that Beam starts itself")

    @property
    def job_name(self) -> str:
        """The name of the job on a cluster."""
        return str(self.options.get_all_options().get("job_name"))

    @property
    def checkpoint_seconds(self) -> float:
        """How often Flink checkpoints a stream."""
        return _checkpoint_ms(self.arguments) / 1000

    def resumed_from(self, savepoint: str | None) -> "RunnerChoice":
        """Return the choice for a job restored from `savepoint`; without state if it is None."""
        kept = without_savepoint(self.arguments)
        resumed = (*kept, *(() if savepoint is None else (f"--savepoint_path={savepoint}",)))
        return replace(self, options=PipelineOptions(list(resumed)), arguments=resumed)


@dataclass(frozen=True, slots=True)
class StreamJob:
    """The properties of a stream that a runner needs: the job's name, and if it is bounded."""

    name: str
    bounded: bool


def choose_runner(
    name: str,
    beam_arguments: Sequence[str],
    *,
    prog: str = "pubner annotate",
    stream: StreamJob | None = None,
) -> RunnerChoice:
    """Return the runner called `name`, with the Beam options of a command line.

    Case and the suffix `Runner` are ignored. `stream` adds the options that a runner needs for a
    stream, unless the command line has them.

    :raises SettingsError: if the runner or an option is unknown, or an option's value is wrong.
    """
    arguments = list(beam_arguments)
    given = _parse(arguments, prog)
    if given.runner is not None:
        if name != DIRECT and full_name(name) != full_name(given.runner):
            raise SettingsError(
                f"--runner {name} and, after `--`, --runner {given.runner}: give one of them"
            )
        name = given.runner
    full = full_name(name)
    if full == PRISM and not given.prism_location:
        arguments.append(f"--prism_location={find_prism()}")
    if full == PRISM:
        arguments.append("--prism_log_level=error")
    if stream is not None:
        arguments += _stream_arguments(full, stream, {_option(argument) for argument in arguments})
    elif full == FLINK and "job_name" not in {_option(argument) for argument in arguments}:
        # The job is found on the cluster by this name.
        arguments.append(f"--job_name={'-'.join(prog.split())}-{uuid.uuid4().hex[:8]}")
    return RunnerChoice(
        runner=find_runner(name),
        options=PipelineOptions(arguments),
        arguments=tuple(arguments),
    )


def without_savepoint(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments without `--savepoint_path`."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip or argument.startswith("--savepoint_path"):
            skip = argument == "--savepoint_path"
            continue
        kept.append(argument)
    return kept


def _checkpoint_ms(arguments: Sequence[str]) -> int:
    """Return the checkpoint interval in some arguments, the last one of several."""
    found = FLINK_CHECKPOINT_MS
    for index, argument in enumerate(arguments):
        if _option(argument) != "checkpointing_interval":
            continue
        value = (
            argument.partition("=")[2]
            if "=" in argument
            else "".join(arguments[index + 1 : index + 2])
        )
        found = int(value) if value.isdigit() else found
    return found


def _stream_arguments(full: str, job: StreamJob, given: set[str]) -> list[str]:
    """Return the options that a stream needs on a runner, less those that are `given`."""
    wanted = {"job_name": f"--job_name={job.name}"}
    if not job.bounded and full != DIRECT:
        wanted["streaming"] = "--streaming"
    if not job.bounded and full == FLINK:
        # Without the second, nothing passes the first stages of a stream.
        wanted["checkpointing_interval"] = f"--checkpointing_interval={FLINK_CHECKPOINT_MS}"
        wanted["finish_bundle_before_checkpointing"] = "--finish_bundle_before_checkpointing"
    if full == DATAFLOW:
        # Splittable DoFns and state need the service that runs portable pipelines.
        wanted["experiments"] = "--experiments=use_runner_v2"
        if not job.bounded:
            wanted["enable_streaming_engine"] = "--enable_streaming_engine"
    return [argument for option, argument in wanted.items() if option not in given]


def _option(argument: str) -> str:
    return argument.removeprefix("--").partition("=")[0]


def make_runner(choice: RunnerChoice) -> PipelineRunner:
    """Return Beam's runner for `choice`.

    DirectRunner is Beam's in-process runner for bounded pipelines, created directly: Beam's
    DirectRunner would first try Prism, which it downloads.

    :raises SettingsError: if the runner is not installed.
    """
    if choice.name == DIRECT:
        encoded = JobServiceHandle.encode_pipeline_options(choice.options.get_all_options())
        provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
        return InProcessRunner(provision_info=ExtendedProvisionInfo(provision))
    try:
        return keep_local(create_runner(choice.runner.beam_runner or choice.name))
    except ImportError as error:
        raise SettingsError(f"--runner {choice.name}: {error}") from error


class _Parser(_BeamArgumentParser):
    """A parser that raises where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"after `--`, Beam's options: {' '.join(message.split())}")


def _parse(arguments: Sequence[str], prog: str) -> argparse.Namespace:
    """Check `arguments` against every option that Beam knows."""
    parser = _Parser(add_help=False, allow_abbrev=False, prog=prog)
    for options in dict.fromkeys(PipelineOptions.__subclasses__()):
        options._add_argparse_args(parser)
    try:
        known, unknown = parser.parse_known_args(list(arguments))
    except (ValueError, TypeError) as error:
        raise SettingsError(f"after `--`, Beam's options: {error}") from error
    unknown = [
        argument
        for index, argument in enumerate(unknown)
        if _option(argument) not in _FLINK_SERVER_OPTIONS and not _is_value(unknown, index)
    ]
    if unknown:
        raise SettingsError(
            f"after `--`, Beam has no option {unknown[0]!r}; pubner's own options and the "
            "inputs must be before it"
        )
    return known


def _is_value(arguments: Sequence[str], index: int) -> bool:
    """Whether an argument is the value of the Flink option before it, which has no `=`."""
    before = arguments[index - 1] if index else ""
    return (
        not arguments[index].startswith("--")
        and "=" not in before
        and _option(before) in _FLINK_SERVER_OPTIONS
    )
