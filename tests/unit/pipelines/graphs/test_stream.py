"""The graph of a stream: as Beam translates it, for runners not started here, and run."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import translations

from pipelines.blocks.elements import AnnotatedBlock, AnnotatedCitation, BlockHeader, ReadBlock
from pipelines.blocks.keys import BlockKey
from pipelines.graphs.stream import (
    ReadRanges,
    WriteSlice,
    annotate_slices,
    read_ranges,
    read_stream,
)
from pipelines.inference.checkpoints import Checkpoints
from pipelines.inference.handler import AnnotateHandler
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.batches import RawRecord
from pipelines.kafka.commits import CommitOffsets
from pipelines.kafka.drain import DrainSignal
from pipelines.kafka.ranges import cut_ranges
from pipelines.kafka.slices import RawSlice
from pipelines.kafka.source import KafkaSource, Reading
from pipelines.output.store import open_store
from pipelines.output.writer import BlockWriter
from pipelines.runners.options import StreamJob, choose_runner
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.records import Annotation, DeadLetter
from tests.support.blocks import NOW, mention, rows

ACCESS = KafkaAccess(
    ("broker:9093",),
    security_protocol="SASL_SSL",
    sasl_mechanism="PLAIN",
    sasl_username="reader",
    sasl_password_variable="PUBNER_SASL_PASSWORD",
)


def now() -> datetime:
    return datetime.now(UTC)


def build(folder: Path, options: PipelineOptions, *, bounded: bool) -> beam.Pipeline:
    pipeline = beam.Pipeline(options=options)
    shutil.rmtree(pipeline.local_tempdir)  # it is never run
    drain = DrainSignal(str(folder), "run")
    if bounded:
        reader = ReadRanges(
            ACCESS, drain, WorkerChannel(), block_size=10, read_committed=True, timeout_seconds=1
        )
        ranges = cut_ranges("t", 0, 0, 30, block_size=10, input_digest="kafka:c:t")
        slices = read_ranges(pipeline, ranges, reader)
    else:
        reading = Reading(ACCESS, {"t": "kafka:c:t"}, "g", 10, 5.0)
        slices = read_stream(pipeline, KafkaSource(reading, drain).splits_for(3))
    annotate_slices(
        slices,
        clock=now,
        handler=AnnotateHandler(
            Checkpoints(""),
            device="cpu",
            threads=None,
            chunk_size=5,
            max_text_chars=None,
            clock=now,
            channel=WorkerChannel(),
        ),
        writer=WriteSlice(
            BlockWriter(open_store(str(folder)), block_size=10, settings="s", merges=True),
            None,
            WorkerChannel(),
        ),
        committer=CommitOffsets(ACCESS, "g", {"t": "kafka:c:t"}, output="o"),
    )
    return pipeline


def stages_of(proto: beam_runner_api_pb2.Pipeline) -> list[set[str]]:
    """Return the names of the transforms of each stage after Beam's own fusion."""
    _, stages = translations.create_and_optimize_stages(
        proto,
        phases=translations.standard_optimize_phases(),
        known_runner_urns=frozenset(
            [common_urns.primitives.IMPULSE.urn, common_urns.primitives.GROUP_BY_KEY.urn]
        ),
    )
    return [{x.unique_name for x in stage.transforms} for stage in stages]


def has(stage: set[str], *names: str) -> bool:
    return all(any(name in transform for transform in stage) for name in names)


@pytest.mark.parametrize("bounded", [False, True])
def test_reading_to_writing_is_one_stage_and_commits_are_another(
    tmp_path: Path, bounded: bool
) -> None:
    pipeline = build(tmp_path, PipelineOptions([]), bounded=bounded)
    proto, _ = pipeline.to_runner_api(return_context=True)
    stages = stages_of(proto)
    [reading] = [stage for stage in stages if has(stage, "Decode")]
    assert has(reading, "Read", "Decode", "Annotate", "Write", "ByPartition")
    assert not has(reading, "Commit")
    assert [stage for stage in stages if has(stage, "Commit")]


def test_each_split_is_an_element_with_a_stable_key(tmp_path: Path) -> None:
    """Flink's runner keeps a reader's position by the bytes of its element.

    They must differ between splits, and be the same after each round trip through a worker.
    """
    topics = {"a": "kafka:c:a", "b": "kafka:c:b"}
    reading = Reading(ACCESS, topics, "g", 10, 5.0)
    splits = KafkaSource(reading, DrainSignal(str(tmp_path), "run")).splits_for(5)
    pipeline = build(tmp_path, PipelineOptions([]), bounded=False)
    proto, context = pipeline.to_runner_api(return_context=True)
    [read] = [
        transform
        for transform in proto.components.transforms.values()
        if transform.unique_name.endswith("Read/ReadUnbounded")
    ]
    [place] = read.inputs.values()
    coder = context.coders.get_by_id(proto.components.pcollections[place].coder_id)
    first = [coder.encode(coder.decode(coder.encode(split))) for split in splits]
    again = [coder.encode(coder.decode(key)) for key in first]
    assert again == first
    assert len(set(first)) == len(splits)
    assert [coder.decode(key) for key in first] == splits


def test_no_bundle_waits_to_be_finalized(tmp_path: Path) -> None:
    """One that does keeps its step, and the readers in it, until the runner's next checkpoint."""
    pipeline = build(tmp_path, PipelineOptions([]), bounded=False)
    proto = pipeline.to_runner_api()
    assert common_urns.requirements.REQUIRES_BUNDLE_FINALIZATION.urn not in proto.requirements


def test_dataflow_s_graph_says_what_it_needs(tmp_path: Path) -> None:
    choice = choose_runner(
        "DataflowRunner",
        ["--project=p", "--region=europe-west1", "--temp_location=gs://b/t"],
        stream=StreamJob("pubner-stream-g", bounded=False),
    )
    options = choice.options
    assert options.view_as(StandardOptions).streaming
    assert options.view_as(GoogleCloudOptions).enable_streaming_engine
    assert options.view_as(GoogleCloudOptions).job_name == "pubner-stream-g"
    assert "use_runner_v2" in (options.view_as(DebugOptions).experiments or [])
    pipeline = build(tmp_path, options, bounded=False)
    proto, _ = pipeline.to_runner_api(return_context=True)
    wanted = common_urns.requirements
    assert wanted.REQUIRES_SPLITTABLE_DOFN.urn in proto.requirements
    assert wanted.REQUIRES_STATEFUL_PROCESSING.urn in proto.requirements
    pardos = [
        beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
        for transform in proto.components.transforms.values()
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn
    ]
    assert [x for x in pardos if x.restriction_coder_id]
    assert [sorted(x.state_specs) for x in pardos if x.state_specs] == [["progress"]]
    assert not [x for x in pardos if x.timer_family_specs]
    unbounded = beam_runner_api_pb2.IsBounded.UNBOUNDED
    kinds = {x.unique_name: x.is_bounded for x in proto.components.pcollections.values()}
    assert [name for name, kind in kinds.items() if kind == unbounded]


def test_no_secret_is_in_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBNER_SASL_PASSWORD", "s3cr3t-s3cr3t")
    for bounded in (False, True):
        pipeline = build(tmp_path, PipelineOptions([]), bounded=bounded)
        assert b"s3cr3t-s3cr3t" not in pipeline.to_runner_api().SerializeToString()


def test_flink_gets_what_a_stream_needs() -> None:
    job = StreamJob("pubner-stream-g", bounded=False)
    flags = choose_runner("flink", ["--flink_master=h:1"], stream=job).options.get_all_options(
        retain_unknown_options=True
    )
    assert flags["checkpointing_interval"] in (10_000, "10000")
    assert flags["finish_bundle_before_checkpointing"]
    assert flags["streaming"]
    own = choose_runner("flink", ["--checkpointing_interval=3000"], stream=job).options
    assert str(own.get_all_options(retain_unknown_options=True)["checkpointing_interval"]) == "3000"


def test_a_bounded_stream_is_no_streaming_job() -> None:
    for name in ("direct", "flink"):
        options = choose_runner(name, [], stream=StreamJob("j", bounded=True)).options
        assert not options.view_as(StandardOptions).streaming


@dataclass
class DeadLetterFile:
    """Stands for the dead-letter topic: a line a dead letter in a file."""

    path: Path

    def send(self, dead_letters: Sequence[DeadLetter]) -> None:
        with self.path.open("a") as file:
            file.writelines(f"{x.position.offset} {x.stage} {x.error_type}\n" for x in dead_letters)

    def close(self) -> None:
        """Nothing is open."""


class Model:
    """A model that nobody asks."""


class WildHandler(AnnotateHandler):
    """Finds in each citation what its text does not have."""

    def load_model(self) -> Any:
        return Model()

    def run_inference(
        self,
        batch: Sequence[ReadBlock],
        model: Any,
        inference_args: Mapping[str, Any] | None = None,
    ) -> list[AnnotatedBlock]:
        wild = Annotation((mention(0, 999),))
        return [
            AnnotatedBlock(
                block.header,
                "c1",
                NOW,
                tuple(AnnotatedCitation(x.offset, x.citation, wild) for x in block.citations),
                block.dead_letters,
            )
            for block in batch
        ]


class NoCommits(CommitOffsets):
    """Commits nothing, to no broker."""

    def process(self, element: Any) -> Iterator[tuple[str, int, int]]:  # type: ignore[override]
        yield from ()

    def teardown(self) -> None:
        """Nothing is open."""


def test_dead_letters_of_all_stages_go_to_the_dead_letter_topic(tmp_path: Path) -> None:
    records = tuple(
        RawRecord(offset, -1, b"1", value, ())
        for offset, value in enumerate(
            [b'{"pmid": 1, "title": "Zinc", "abstract": ""}', b"{poison"]
        )
    )
    store = open_store(str(tmp_path / "out"))
    with beam.Pipeline(runner="DirectRunner") as pipeline:
        annotate_slices(
            pipeline
            | beam.Create([RawSlice(BlockHeader(BlockKey("t", 0, 0), "kafka:c:t"), 0, 2, records)]),
            clock=now,
            handler=WildHandler(
                Checkpoints(""),
                device="cpu",
                threads=None,
                chunk_size=5,
                max_text_chars=None,
                clock=now,
                channel=WorkerChannel(),
            ),
            writer=WriteSlice(
                BlockWriter(store, block_size=10, settings="s", merges=True),
                DeadLetterFile(tmp_path / "letters"),  # type: ignore[arg-type]
                WorkerChannel(),
            ),
            committer=NoCommits(ACCESS, "g", {"t": "kafka:c:t"}, output="o"),
        )
    sent = sorted((tmp_path / "letters").read_text().splitlines())
    assert sent == ["0 write RecordError", "1 parse RecordError"]
    stored = rows(tmp_path / "out", "dead_letters")
    assert [(x["offset"], x["stage"]) for x in stored] == [(0, "write"), (1, "parse")]
