"""Unbounded read transform in which each split of the source is an element of its own.

Beam's `ReadFromUnboundedSource` splits a single element, the source, and registers its bundles for
finalization. On Flink that causes two problems, which this transform avoids; the rest is Beam's.

*Overwritten positions.* The runner stores the position of each split in state keyed by the element,
under names that count from zero again after every restart. When a job was restarted from its first
checkpoint, one split's position could overwrite another's, and the rest of the other split was
never read. With one element a split, each has its own key, and Flink may read splits in several
slots at once.

*Leaked readers.* A bundle that awaits finalization keeps the DoFn instance that processed it, with
its idle readers, until the runner's next checkpoint; the next bundle uses another instance, which
opens new readers. pubner's checkpoint marks need no finalization.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.unbounded_source import _PROVIDER, _ReadFromUnboundedSourceDoFn
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.pvalue import PBegin, PCollection

from pipelines.kafka.slices import RawSlice
from pipelines.kafka.source import KafkaSource

_POLL_SECONDS = 0.5
"""Pause between two polls of a split without messages."""
_BUNDLE_SECONDS = 3.0
"""Maximum read time of a bundle; checkpoints wait until its last slice is written."""
_RESTRICTION: Any = beam.DoFn.RestrictionParam(_PROVIDER)
_WATERMARK: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


class _NothingToFinalize:
    """A bundle finalizer that ignores the callbacks that Beam's DoFn registers."""

    def register(self, callback: Callable[[], None]) -> None:
        """Register nothing."""


class _ReadSplit(_ReadFromUnboundedSourceDoFn):
    """Beam's unbounded read DoFn, without bundle finalization."""

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator] # Beam has no type for it
    def process(
        self,
        element: KafkaSource,
        tracker: Any = _RESTRICTION,  # noqa: ANN401 - Beam's own DoFn has these arguments
        watermark_estimator: Any = _WATERMARK,  # noqa: ANN401 - the same
    ) -> Iterator[Any]:
        """Yield slices, and defer the rest of the split to the next bundle."""
        slices: Iterator[Any] = super().process(
            element, _NothingToFinalize(), tracker, watermark_estimator
        )
        return slices


class ReadSplits(beam.PTransform[PBegin, PCollection[RawSlice]]):
    """Reads the given splits of an unbounded source."""

    def __init__(self, splits: Sequence[KafkaSource]) -> None:
        super().__init__()
        self.splits = list(splits)

    def expand(self, input_or_inputs: PBegin) -> PCollection[RawSlice]:
        """Build the graph."""
        step = _ReadSplit(poll_interval=_POLL_SECONDS, max_read_time_seconds=_BUNDLE_SECONDS)
        slices: PCollection[RawSlice] = (
            input_or_inputs
            | "Create" >> beam.Create(self.splits, reshuffle=False)
            | "ReadUnbounded" >> beam.ParDo(step)
        )
        return slices
