"""What a worker process shares: which checkpoint is in use, as metrics show it."""

import logging
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.inference.checkpoints import choose_checkpoints
from pipelines.inference.shared_tagger import SharedTagger, log_swap
from pipelines.telemetry.metrics import NAMESPACE
from schemas.errors import CheckpointError
from tests.support.checkpoints import tiny_checkpoint
from tests.support.registries import damage, moment, move
from worker.checkpoint.folder import read_manifest
from worker.registry.follow import SwapEvent
from worker.registry.registry import Registry, open_registry
from worker.tagger import Tagger


class NamedTagger(Tagger):
    """A tagger that only says what it is."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.tasks = ()


class Script:
    """A tagger source with scripted taggers and events."""

    def __init__(self, steps: Sequence[tuple[str, Sequence[SwapEvent]]]) -> None:
        self._steps = list(steps)
        self._events: list[SwapEvent] = []

    def events(self) -> list[SwapEvent]:
        return list(self._steps[0][1])

    def current(self) -> Tagger:
        return NamedTagger(self._steps.pop(0)[0])


class Take(beam.DoFn):
    """Takes a tagger for each element, from one source."""

    def __init__(self, steps: Sequence[tuple[str, Sequence[SwapEvent]]]) -> None:
        self._shared = SharedTagger(Script(steps))

    def process(self, _: int) -> None:
        self._shared.acquire()


def test_what_is_in_use_and_what_was_is_shown_and_events_are_counted() -> None:
    steps = [
        ("a", []),
        ("a", [SwapEvent("unreachable"), SwapEvent("failed", "b")]),
        ("b", [SwapEvent("swapped", "b", "a", seconds=1.5)]),
        ("b", [SwapEvent("refused", "c", reason="broken")]),
    ]
    options = PipelineOptions(["--direct_num_workers=1"])
    with beam.Pipeline("FnApiRunner", options=options) as pipeline:
        one_bundle = pipeline | beam.Create([list(range(4))]) | beam.FlatMap(lambda some: some)
        one_bundle | beam.ParDo(Take(steps))
    found = pipeline.result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    gauges = {one.key.metric.name: one.result.value for one in found["gauges"]}
    assert gauges == {"active_checkpoint.a": 0, "active_checkpoint.b": 1}
    counters = {one.key.metric.name: one.result for one in found["counters"]}
    names = (
        "checkpoint_swaps",
        "checkpoints_refused",
        "checkpoints_failed",
        "registry_unreachable",
    )
    assert [counters[name] for name in names] == [1, 1, 1, 1]
    assert counters["swap_milliseconds_le_2000"] == 1


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (SwapEvent("swapped", "b", "a", seconds=2), "another checkpoint is in use"),
        (SwapEvent("refused", "b", reason="r"), "a checkpoint was refused"),
        (SwapEvent("failed", "b", reason="r"), "could not be loaded, trying again"),
        (SwapEvent("unreachable", reason="r"), "the registry does not answer"),
    ],
)
def test_each_event_is_logged(
    event: SwapEvent, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="pubner"):
        log_swap(event)
    assert said in caplog.text


class Options:
    """Options that name a registry."""

    checkpoint = ("default",)
    checkpoint_cache = None

    def __init__(self, registry: Registry, name: str | None = None) -> None:
        self.registry = registry.root
        self.named_in_registry = name


def test_a_registrys_checkpoint_is_named_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    registry = open_registry(str(tmp_path / "registry"))
    ids = []
    for seed in range(2):
        folder = tiny_checkpoint(tmp_path / str(seed), seed=seed)
        registry.publish(folder, who="ann", when=moment())
        ids.append(read_manifest(folder).id)
    move(registry, ids[0])
    for name, expected in ((None, ids[0]), ("active", ids[0]), (ids[1][:9], ids[1])):
        found = choose_checkpoints(Options(registry, name))
        assert found.id == expected
        assert found.registered is not None
        assert found.registered.pinned == expected
    followed = choose_checkpoints(Options(registry, ids[1]), poll_seconds=5).registered
    assert followed is not None
    assert followed.pinned == ids[1]  # what is named is not exchanged while a stream runs
    assert choose_checkpoints(Options(registry, str(tmp_path / "1"))).folders


def test_a_stream_begins_with_the_one_before_where_the_active_one_is_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = open_registry(str(tmp_path / "registry"))
    ids = []
    for seed in range(2):
        folder = tiny_checkpoint(tmp_path / str(seed), seed=seed)
        registry.publish(folder, who="ann", when=moment())
        ids.append(read_manifest(folder).id)
        move(registry, ids[-1])
    damage(registry, ids[1])
    with caplog.at_level(logging.INFO, logger="pubner"):
        found = choose_checkpoints(Options(registry), poll_seconds=5)
    assert found.id == ids[0]
    assert found.registered is not None
    assert (found.registered.pinned, found.registered.poll_seconds) == (None, 5)
    # Each worker has a user, and so a cache folder, of its own.
    assert found.registered.cache is None
    assert "the previous one is used" in caplog.text
    with pytest.raises(CheckpointError):  # a batch is made by what is active, or not at all
        choose_checkpoints(Options(registry))
    damage(registry, ids[0])
    with pytest.raises(CheckpointError):
        choose_checkpoints(Options(registry), poll_seconds=5)
