"""Reading the shares of a stream without end, each an element of its own.

Beam's `ReadFromUnboundedSource` takes one source and splits it, and its bundles wait to be
finalized. Two things follow on Flink that this transform is without; the rest is Beam's.

*Places that overwrite each other.* The runner keeps where each part of a source is under a key that
is the source, with names that count from zero again after every restart. Where a job was restarted
from a checkpoint that was its first, a part's place was written over another's, and what that one
had to read was read no more. With an element a share, each has a key of its own, and Flink may read
shares in several slots at once.

*Readers that are left behind.* A bundle that is to be finalized keeps the step that processed it,
with the readers that rest in it, until the runner's next checkpoint; the bundle behind it has
another step, which opens readers anew. Our marks have nothing to finalize.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.unbounded_source import _PROVIDER, _ReadFromUnboundedSourceDoFn
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.pvalue import PBegin, PCollection

from pipelines.kafka.slices import RawPart
from pipelines.kafka.source import KafkaSource

_POLL_SECONDS = 0.5
"""How long a share without messages rests."""
_BUNDLE_SECONDS = 3.0
"""After how long a bundle ends, once the part in hand is written; checkpoints wait for it."""
_PLACE: Any = beam.DoFn.RestrictionParam(_PROVIDER)
_WATERMARK: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


class _NothingToFinalize:
    """Stands where Beam's step registers what it wants to be told of."""

    def register(self, callback: Callable[[], None]) -> None:
        """Register nothing."""


class _ReadShare(_ReadFromUnboundedSourceDoFn):
    """Beam's step, without finalization."""

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator] # Beam has no type for it
    def process(
        self,
        element: KafkaSource,
        tracker: Any = _PLACE,  # noqa: ANN401 - Beam gives what its own step takes
        watermark_estimator: Any = _WATERMARK,  # noqa: ANN401 - the same
    ) -> Iterator[Any]:
        """Yield parts, and leave the rest to the next bundle."""
        parts: Iterator[Any] = super().process(
            element, _NothingToFinalize(), tracker, watermark_estimator
        )
        return parts


class ReadShares(beam.PTransform[PBegin, PCollection[RawPart]]):
    """Reads some shares of a source without end."""

    def __init__(self, shares: Sequence[KafkaSource]) -> None:
        super().__init__()
        self.shares = list(shares)

    def expand(self, input_or_inputs: PBegin) -> PCollection[RawPart]:
        """Build the graph."""
        step = _ReadShare(poll_interval=_POLL_SECONDS, max_read_time_seconds=_BUNDLE_SECONDS)
        parts: PCollection[RawPart] = (
            input_or_inputs
            | "Create" >> beam.Create(self.shares, reshuffle=False)
            | "ReadUnbounded" >> beam.ParDo(step)
        )
        return parts
