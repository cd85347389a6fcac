"""Benchmark of the stream: the source alone, and the graph with a tagger without cost."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
from apache_beam.pvalue import PCollection
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from pipelines.graphs.stream import (
    ReadRanges,
    WriteSlice,
    annotate_slices,
    read_ranges,
    read_stream,
)
from pipelines.graphs.stream_plan import find_topics
from pipelines.inference.checkpoints import Checkpoints
from pipelines.inference.handler import AnnotateHandler
from pipelines.inference.shared_tagger import SharedTagger
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.commits import CommitOffsets
from pipelines.kafka.drain import DrainSignal
from pipelines.kafka.ranges import cut_ranges
from pipelines.kafka.slices import RawSlice
from pipelines.kafka.source import KafkaReader, KafkaSource, Reading
from pipelines.output.manifest import open_output
from pipelines.output.store import Store
from pipelines.output.writer import BlockWriter
from pipelines.runners.options import StreamJob, choose_runner, make_runner
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.records import Annotation
from worker.registry.follow import FixedTagger
from worker.tagger import Tagger

MESSAGE_BYTES = 1500


class NothingTagger(Tagger):
    """A tagger that predicts nothing, without cost."""

    def __init__(self) -> None:
        self.id = "nothing"
        self.tasks = ()

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        """Return an empty annotation for each text."""
        return [Annotation(()) for _ in texts]


class NothingHandler(AnnotateHandler):
    """The handler of `NothingTagger`."""

    def load_model(self) -> SharedTagger:
        """Load nothing."""
        return SharedTagger(FixedTagger(NothingTagger()))


def fill_topic(brokers: str, topic: str, count: int, *, partitions: int = 1) -> None:
    """Publish `count` citation messages of about 1.5 kB to a new topic."""
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1}})
    admin.close()
    producer = KafkaProducer(
        bootstrap_servers=brokers, compression_type="lz4", linger_ms=50, batch_size=2**18
    )
    words = "The patients with hereditary haemochromatosis were given deferoxamine for 12 weeks. "
    for number in range(count):
        body = (f"{number} {number * 7919 % 1000003} " + words * 20)[: MESSAGE_BYTES - 180]
        message = {
            "schema_version": 1,
            "pmid": number + 1,
            "pmid_version": 1,
            "title": f"Iron overload, report {number}",
            "abstract": [{"text": body}],
            "retracted": False,
            "date_revised": "2026-01-31",
            "year": 2026,
        }
        producer.send(topic, key=str(number + 1).encode(), value=json.dumps(message).encode())
        if number % 20_000 == 19_999:
            producer.flush()
    producer.flush()
    producer.close()


def measure_source(brokers: str, topic: str, count: int) -> dict[str, float]:
    """Return the messages per second of the source alone, from all partitions of `topic`."""
    access = KafkaAccess((brokers,))
    topics = find_topics(access, [topic])
    with tempfile.TemporaryDirectory() as folder:
        reading = Reading(access, topics.digests, "bench-source", 1000, 60.0)
        source = KafkaSource(reading, DrainSignal(folder, "bench"))
        reader = KafkaReader(source, {}, clock=time.monotonic)
        more = reader.start()
        begun, read = time.perf_counter(), 0
        while read < count:
            if more:
                read += len(reader.get_current().records)
            if read >= count:
                break
            more = reader.advance()
            if not more and time.perf_counter() - begun > 60:
                break
        seconds = time.perf_counter() - begun
        reader.close()
    return {"messages": float(read), "messages/s": read / seconds}


def measure_graph(brokers: str, topic: str) -> dict[str, float]:
    """Return the messages per second of the whole graph in one process, also per CPU second."""
    access = KafkaAccess((brokers,))
    topics = find_topics(access, [topic])
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "out")
        with open_output(output, block_size=1000, sources=topics.digests) as store:
            choice = choose_runner("DirectRunner", [])
            pipeline = beam.Pipeline(runner=make_runner(choice), options=choice.options)
            ranges = []
            for partition in topics.partitions:
                end = _end(access, partition)
                ranges += cut_ranges(
                    topic,
                    partition.partition,
                    0,
                    end,
                    block_size=1000,
                    input_digest=topics.digests[topic],
                )
            count = sum(wanted.end - wanted.begin for wanted in ranges)
            reader = ReadRanges(
                access,
                DrainSignal(output, "bench"),
                WorkerChannel(),
                block_size=1000,
                read_committed=True,
                timeout_seconds=30,
            )
            parts = read_ranges(pipeline, ranges, reader)
            _annotate(parts, access, f"bench-{time.time_ns()}", topics.digests, store)
            begun, cpu = time.perf_counter(), time.process_time()
            pipeline.run().wait_until_finish()
            seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    return {
        "messages": float(count),
        "messages/s": count / seconds,
        "messages/s of CPU": count / used,
    }


def measure_unbounded(brokers: str, topic: str, prism: str) -> dict[str, float]:
    """Return the messages per second of the unbounded graph on Prism, after the first block."""
    access = KafkaAccess((brokers,))
    topics = find_topics(access, [topic])
    ends = {partition: _end(access, partition) for partition in topics.partitions}
    blocks = sum(end // 1000 for end in ends.values())
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "out")
        group = f"bench-{time.time_ns()}"
        with open_output(output, block_size=1000, sources=topics.digests) as store:
            words = [f"--prism_location={prism}"]
            job = StreamJob("bench", bounded=False)
            choice = choose_runner("PrismRunner", words, stream=job)
            pipeline = beam.Pipeline(runner=make_runner(choice), options=choice.options)
            drain = DrainSignal(output, group)
            reading = Reading(access, topics.digests, group, 1000, 30.0)
            splits = KafkaSource(reading, drain).splits_for(len(topics.partitions))
            _annotate(read_stream(pipeline, splits), access, group, topics.digests, store)
            result = pipeline.run()
            while not store.names("citations"):
                time.sleep(0.05)
            begun, first = time.perf_counter(), len(store.names("citations"))
            while len(store.names("citations")) < blocks:
                time.sleep(0.05)
            seconds = time.perf_counter() - begun
            drain.request()
            result.wait_until_finish()
    return {"messages": 1000.0 * blocks, "messages/s": 1000 * (blocks - first) / seconds}


def _annotate(
    parts: PCollection[RawSlice],
    access: KafkaAccess,
    group: str,
    digests: Mapping[str, str],
    store: Store,
) -> None:
    annotate_slices(
        parts,
        clock=_now,
        handler=NothingHandler(
            Checkpoints("nothing"),
            device="cpu",
            threads=1,
            chunk_size=250,
            max_text_chars=None,
            clock=_now,
            channel=WorkerChannel(),
        ),
        writer=WriteSlice(
            BlockWriter(store=store, block_size=1000, settings="bench", merges=True),
            None,
            WorkerChannel(),
        ),
        committer=CommitOffsets(access, group, digests, output="bench"),
    )


def _end(access: KafkaAccess, partition: TopicPartition) -> int:
    from pipelines.kafka.access import consumer
    from pipelines.kafka.topics import end_offsets

    client = consumer(access)
    try:
        return end_offsets(client, [partition])[partition]
    finally:
        client.close()


def _now() -> datetime:
    return datetime.now(UTC)
