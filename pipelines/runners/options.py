"""Runners and Beam's own options: what a user may name, and what it becomes.

All that differs between runners stands here.
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
    IN_PROCESS,
    PRISM,
    SPARK,
    UNBOUNDED,
    find_prism,
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
"""Options that Beam's job server for Flink knows, and Beam's Python does not."""


@dataclass(frozen=True, slots=True)
class RunnerChoice:
    """A runner by its full name, Beam's options for it, and whether our process runs the steps.

    `arguments` are the words that `options` were made of.
    """

    name: str
    options: PipelineOptions
    in_process: bool
    arguments: tuple[str, ...] = ()

    @property
    def ends_unbounded(self) -> bool:
        """Whether the runner can run a stream without end, and end it on request."""
        return self.name in UNBOUNDED

    @property
    def ends_drained(self) -> bool:
        """Whether a stream whose source has ended comes to an end; on Flink it idles on."""
        return self.name != FLINK

    @property
    def counts_all(self) -> bool:
        """Whether Beam's counters are whole; Prism loses those of bundles that end together."""
        return self.name != PRISM

    @property
    def flink_rest(self) -> str | None:
        """The address of a Flink cluster's REST API; None for other runners and embedded Flink."""
        master = self.options.view_as(FlinkRunnerOptions).flink_master
        if self.name != FLINK or not master or master.startswith("["):
            return None
        return str(master) if "://" in master else f"http://{master}"

    def check_places(self, places: Mapping[str, str | None]) -> None:
        """Check that the runner's workers can see `places`, given by the options that name them.

        That a worker pool on another machine sees a folder cannot be told from here; its workers
        look for the output's manifest before they write.

        :raises SettingsError: if one is on this machine, and no worker is, or only in containers.
        """
        if self.name == DATAFLOW:
            where = "workers are other machines, which do not see it"
        elif self._in_containers:
            where = "workers are containers, which do not see it and lose what they write there"
        else:
            return
        for option, place in places.items():
            if place is not None and is_local(place):
                remedy = "give the URL of an object store"
                if self.name == DATAFLOW:
                    remedy += ", and --region, --project and --temp_location behind `--`"
                else:
                    remedy += ", or, with workers on this machine, --environment_type=EXTERNAL "
                    remedy += "and --environment_config=HOST:PORT of a worker pool behind `--`"
                raise SettingsError(
                    f"{option} {place!r} is on this machine, and {self.name}'s {where}; {remedy}"
                )

    @property
    def _in_containers(self) -> bool:
        """Whether the steps run in Docker, which Beam takes where nothing else is said."""
        if self.name == DIRECT:
            return False
        portable = self.options.view_as(PortableOptions)
        kind = portable.environment_type or ""
        if kind or portable.output_executable_path:
            return kind.upper() == "DOCKER" or kind == "beam:env:docker:v1"
        spark = str(self.options.view_as(SparkRunnerOptions).spark_master_url)
        master = str(self.options.view_as(FlinkRunnerOptions).flink_master)
        return not (
            self.name == PRISM
            or (self.name == FLINK and master.startswith("["))
            or (self.name == SPARK and spark.startswith("local"))
        )

    @property
    def exposure(self) -> str | None:
        """Who else can reach what this run starts, where it is not known to keep to loopback."""
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
            f"{what}: it may listen on all interfaces, and whoever reaches its ports can run code "
            "here; close them to other machines"
        )

    @property
    def job_server(self) -> str | None:
        """The job server that takes the pipeline, by its address; None for runners without one."""
        if self.in_process or self.name == DATAFLOW:
            return None
        return str(self.options.view_as(PortableOptions).job_endpoint or "that Beam starts itself")

    @property
    def job_name(self) -> str:
        """The name by which a cluster lists the job."""
        return str(self.options.get_all_options().get("job_name"))

    @property
    def checkpoint_seconds(self) -> float:
        """How often Flink checkpoints a stream."""
        return _checkpoint_ms(self.arguments) / 1000

    def resumed_from(self, place: str | None) -> "RunnerChoice":
        """Return the choice for a job that begins with the state at `place`, or without any."""
        kept = without_savepoint(self.arguments)
        resumed = (*kept, *(() if place is None else (f"--savepoint_path={place}",)))
        return replace(self, options=PipelineOptions(list(resumed)), arguments=resumed)


@dataclass(frozen=True, slots=True)
class StreamJob:
    """What a runner must know of a stream: its job's name, and whether it reads to a fixed end."""

    name: str
    bounded: bool


def choose_runner(
    name: str,
    beam_arguments: Sequence[str],
    *,
    prog: str = "pubner annotate",
    stream: StreamJob | None = None,
) -> RunnerChoice:
    """Return the runner that `name` means, set up with the Beam options of a command line.

    Upper and lower case do not matter, nor does the ending `Runner`. `stream` adds what a runner
    needs for one, where the command line does not say it.

    :raises SettingsError: if the runner or an option is unknown, or an option's value is wrong.
    """
    arguments = list(beam_arguments)
    given = _parse(arguments, prog)
    if given.runner is not None:
        if name != DIRECT and full_name(name) != full_name(given.runner):
            raise SettingsError(
                f"--runner {name} and, behind `--`, --runner {given.runner}: give one of them"
            )
        name = given.runner
    full = full_name(name)
    if full == PRISM and not given.prism_location:
        arguments.append(f"--prism_location={find_prism()}")
    if full == PRISM:
        arguments.append("--prism_log_level=error")
    if stream is not None:
        arguments += _stream_arguments(full, stream, {_option(word) for word in arguments})
    elif full == FLINK and "job_name" not in {_option(word) for word in arguments}:
        # By it the job is found on the cluster.
        arguments.append(f"--job_name={'-'.join(prog.split())}-{uuid.uuid4().hex[:8]}")
    return RunnerChoice(
        name=full,
        options=PipelineOptions(arguments),
        in_process=full in IN_PROCESS,
        arguments=tuple(arguments),
    )


def without_savepoint(words: Sequence[str]) -> list[str]:
    """Return a command line's words without the savepoint that it was itself resumed from."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip or word.startswith("--savepoint_path"):
            skip = word == "--savepoint_path"
            continue
        kept.append(word)
    return kept


def _checkpoint_ms(words: Sequence[str]) -> int:
    """Return the checkpoint interval that some options name, the last one of several."""
    found = FLINK_CHECKPOINT_MS
    for place, word in enumerate(words):
        if _option(word) != "checkpointing_interval":
            continue
        value = word.partition("=")[2] if "=" in word else "".join(words[place + 1 : place + 2])
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


def _option(word: str) -> str:
    return word.removeprefix("--").partition("=")[0]


def make_runner(choice: RunnerChoice) -> PipelineRunner:
    """Return the runner itself.

    DirectRunner is Beam's in-process runner for bounded pipelines, by its own name: Beam's
    DirectRunner would first try Prism, which it downloads.

    :raises SettingsError: if Beam has it not installed.
    """
    if choice.name == DIRECT:
        encoded = JobServiceHandle.encode_pipeline_options(choice.options.get_all_options())
        provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
        return InProcessRunner(provision_info=ExtendedProvisionInfo(provision))
    try:
        return keep_local(create_runner(choice.name))
    except ImportError as error:
        raise SettingsError(f"--runner {choice.name}: {error}") from error


class _Parser(_BeamArgumentParser):
    """A parser that raises where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"behind `--`, Beam's options: {' '.join(message.split())}")


def _parse(arguments: Sequence[str], prog: str) -> argparse.Namespace:
    """Check `arguments` against every option that Beam knows."""
    parser = _Parser(add_help=False, allow_abbrev=False, prog=prog)
    for options in dict.fromkeys(PipelineOptions.__subclasses__()):
        options._add_argparse_args(parser)
    try:
        known, unknown = parser.parse_known_args(list(arguments))
    except (ValueError, TypeError) as error:
        raise SettingsError(f"behind `--`, Beam's options: {error}") from error
    unknown = [
        word
        for place, word in enumerate(unknown)
        if _option(word) not in _FLINK_SERVER_OPTIONS and not _is_value(unknown, place)
    ]
    if unknown:
        raise SettingsError(
            f"behind `--`, Beam knows no option {unknown[0]!r}; pubner's own options and the "
            "inputs stand before it"
        )
    return known


def _is_value(words: Sequence[str], place: int) -> bool:
    """Whether a word stands behind one of Flink's options that has no `=`."""
    before = words[place - 1] if place else ""
    return (
        not words[place].startswith("--")
        and "=" not in before
        and _option(before) in _FLINK_SERVER_OPTIONS
    )
