"""Drift as metrics of a worker process: gauges, and each warning counted once."""

import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import apache_beam as beam
import pytest
from apache_beam.metrics.execution import MetricsContainer
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.worker.statesampler import StateSampler
from apache_beam.utils.counters import CounterFactory

from pipelines.blocks.elements import AnnotatedBlock, AnnotatedCitation
from pipelines.inference.drift_metrics import DriftMetrics
from pipelines.telemetry.metrics import NAMESPACE
from schemas.manifest import DriftReference
from schemas.records import Annotation
from schemas.tasks import TASKS
from tests.support.blocks import NOW, block, citation
from tests.support.drift import annotations, reference
from worker.drift.index import DriftLimits
from worker.tagger import Tagger

REFERENCE = reference(annotations(1000, seed=7))


def drifted(count: int) -> list[Annotation]:
    return annotations(count, rate=8.0, shape=(2.0, 5.0), unknown=50)


class NamedTagger(Tagger):
    """A tagger that only says what it is."""

    def __init__(
        self, reference: DriftReference | None = REFERENCE, *, id: str = "c1", head: str = "bc2gm"
    ) -> None:
        self.id = id
        self.tasks = (TASKS[head],)
        self.reference = reference


def annotated(
    found: Sequence[Annotation], *, days_later: int = 0, checkpoint_id: str = "c1"
) -> AnnotatedBlock:
    return replace(
        block(checkpoint_id=checkpoint_id),
        annotated_at=NOW + timedelta(days=days_later),
        citations=tuple(
            AnnotatedCitation(number, citation(number), one) for number, one in enumerate(found)
        ),
    )


class Observe(beam.DoFn):
    """Gives each block to one object, as a worker process would, with the tagger that read it."""

    def __init__(self, *taggers: Tagger) -> None:
        self._metrics = DriftMetrics()
        self._taggers = {tagger.id: tagger for tagger in taggers}

    def process(self, element: AnnotatedBlock) -> None:
        self._metrics.observe(element, self._taggers[element.checkpoint_id])


def metrics_of(blocks: Sequence[AnnotatedBlock], *taggers: Tagger) -> Mapping[str, int]:
    """Return the metrics of blocks that one process observes in their order."""
    options = PipelineOptions(["--direct_num_workers=1"])
    with beam.Pipeline("FnApiRunner", options=options) as pipeline:
        elements = pipeline | beam.Create([list(blocks)]) | beam.FlatMap(lambda some: some)
        elements | beam.ParDo(Observe(*taggers))
    found = pipeline.result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    counters = {one.key.metric.name: one.result for one in found["counters"]}
    return counters | {one.key.metric.name: one.result.value for one in found["gauges"]}


def test_the_same_population_has_gauges_and_no_warning() -> None:
    found = annotations(600, seed=1)
    shown = metrics_of([annotated(found[:300]), annotated(found[300:])], NamedTagger())
    mentions = sum(len(one.mentions) for one in found)
    assert shown["mentions_per_citation_milli.bc2gm"] == round(1000 * mentions / 600)
    assert 0 <= shown["drift_psi_permille.bc2gm"] < 50
    assert shown["unknown_pieces_permille"] == 0
    assert not [name for name in shown if name.startswith("drift_warnings")]


def test_each_warning_is_counted_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    found = drifted(600)
    blocks = [annotated(found, days_later=day) for day in (0, 0, 1, 1)]
    with caplog.at_level("INFO", logger="pubner"):
        shown = metrics_of(blocks, NamedTagger())
    assert shown["drift_warnings"] == 6
    assert shown["drift_warnings.bc2gm"] == 4
    assert shown["drift_psi_permille.bc2gm"] > 250
    assert shown["unknown_pieces_permille"] == 500
    lines = [one for one in caplog.records if one.getMessage() == "drift"]
    assert len(lines) == 6
    fields = lines[0].__dict__["fields"]
    assert (fields["kind"], fields["day"]) == ("mentions_per_citation", "2026-01-31")
    assert "8." in fields["detail"]


def test_few_citations_show_and_warn_nothing() -> None:
    assert metrics_of([annotated(drifted(499))], NamedTagger()) == {}
    empty = replace(annotated([]), citations=(AnnotatedCitation(0, citation(0), None),))
    assert metrics_of([empty], NamedTagger()) == {}


def test_without_a_reference_rates_are_shown_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    blocks = [annotated(annotations(600))] * 2
    with caplog.at_level("INFO", logger="pubner"):
        shown = metrics_of(blocks, NamedTagger(None))
    assert set(shown) == {"mentions_per_citation_milli.bc2gm", "unknown_pieces_permille"}
    assert [one.getMessage() for one in caplog.records].count("no drift reference") == 1


def test_threads_may_share_it() -> None:
    metrics, tagger = DriftMetrics(), NamedTagger()
    parts = [annotated(annotations(10, seed=number)) for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: metrics.observe(part, tagger), parts))
    [(key, tally)] = metrics.days.items()
    assert key == ("c1", NOW.date())
    assert tally.citations == 400
    assert tally.mentions("bc2gm") == sum(
        len(one.annotation.mentions)
        for part in parts
        for one in part.citations
        if one.annotation is not None
    )


def test_old_days_are_forgotten_and_copies_begin_empty() -> None:
    metrics, tagger = DriftMetrics(DriftLimits(psi=0.1)), NamedTagger()
    for day in range(10):
        metrics.observe(annotated(annotations(1), days_later=day), tagger)
    days = [day for _, day in metrics.days]
    assert days == [NOW.date() + timedelta(days=day) for day in range(6, 10)]
    copy = pickle.loads(pickle.dumps(metrics))
    assert copy.days == {}
    copy.observe(annotated(annotations(1)), tagger)
    assert len(copy.days) == 1


def test_gauges_fall_to_0_with_another_checkpoint_until_it_has_enough() -> None:
    before, after = NamedTagger(), NamedTagger(id="c2", head="ncbi-disease")
    found = annotations(500, heads=("ncbi-disease",))
    blocks = [annotated(drifted(600)), annotated(found[:499], checkpoint_id="c2")]
    shown = metrics_of(blocks, before, after)
    gauges = {
        "mentions_per_citation_milli.bc2gm": 0,
        "drift_psi_permille.bc2gm": 0,
        "unknown_pieces_permille": 0,
    }
    assert {name: shown[name] for name in gauges} == gauges
    assert "mentions_per_citation_milli.ncbi-disease" not in shown
    # With enough it shows its own, and those of a head that it lacks stay 0.
    blocks.append(annotated(found[499:], checkpoint_id="c2"))
    shown = metrics_of(blocks, before, after)
    assert {name: shown[name] for name in gauges} == gauges
    assert shown["mentions_per_citation_milli.ncbi-disease"] > 1000
    # The one before comes back, as after a rollback, with what it has found of the day so far.
    shown = metrics_of([*blocks, annotated(drifted(1))], before, after)
    assert shown["mentions_per_citation_milli.bc2gm"] > 7000
    assert shown["unknown_pieces_permille"] == 500
    assert shown["mentions_per_citation_milli.ncbi-disease"] == 0


class Thread:
    """One of a worker process's threads, with metrics of its own as Beam gives them."""

    def __init__(self, metrics: DriftMetrics) -> None:
        self._metrics = metrics
        self._container = MetricsContainer("step")
        self._pool = ThreadPoolExecutor(1)

    def observe(self, block: AnnotatedBlock, tagger: Tagger) -> dict[str, int]:
        """Return the gauges that the thread shows once it has observed a block."""
        self._pool.submit(self._observe, block, tagger).result()
        gauges = self._container.get_cumulative().gauges
        return {key.metric.name: found.value or 0 for key, found in gauges.items()}

    def _observe(self, block: AnnotatedBlock, tagger: Tagger) -> None:
        sampler = StateSampler("process", CounterFactory())
        sampler.start()
        with sampler.scoped_state("step", "process", metrics_container=self._container):
            self._metrics.observe(block, tagger)
        sampler.stop()


def test_each_thread_shows_the_gauges_of_its_process() -> None:
    before, after = NamedTagger(), NamedTagger(id="c2")
    metrics = DriftMetrics()
    one, two = Thread(metrics), Thread(metrics)
    shown = one.observe(annotated(drifted(600)), before)
    assert shown["drift_psi_permille.bc2gm"] > 250
    assert two.observe(annotated(annotations(1)), before).keys() == shown.keys()
    few = annotated(annotations(1), checkpoint_id="c2")
    assert set(one.observe(few, after).values()) == {0}
    assert set(two.observe(few, after).values()) == {0}


def test_threads_that_share_it_tell_each_warning_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics, tagger = DriftMetrics(), NamedTagger()
    blocks = [annotated(drifted(600))] * 8
    with caplog.at_level("INFO", logger="pubner"), ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda block: metrics.observe(block, tagger), blocks))
    told = [one.__dict__["fields"]["kind"] for one in caplog.records]
    assert sorted(told) == ["mentions_per_citation", "score_psi", "unknown_pieces"]


def test_a_checkpoint_that_stays_in_use_is_not_told_of_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = DriftMetrics()
    found = annotated(drifted(600))
    with caplog.at_level("INFO", logger="pubner"):
        for number in range(6):  # five others are tried beside it
            metrics.observe(found, NamedTagger())
            name = f"other-{number}"
            metrics.observe(annotated(annotations(1), checkpoint_id=name), NamedTagger(id=name))
    assert [one.getMessage() for one in caplog.records].count("drift") == 3
