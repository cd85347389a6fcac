"""The tagger shared by the threads of a worker process, and the logs and metrics of swaps."""

import logging
import threading

from pipelines.inference.drift_metrics import DriftMetrics
from pipelines.telemetry.logs import log
from pipelines.telemetry.metrics import count, gauge, observe
from worker.registry.follow import SwapEvent, TaggerSource
from worker.tagger import Tagger


class SharedTagger:
    """The model that `load_model` returns, one for each process, shared by its threads.

    Beam counts metrics within a bundle, so events of the thread that polls the registry are counted
    with the next batch.
    """

    def __init__(self, source: TaggerSource) -> None:
        self.drift = DriftMetrics()
        self._source = source
        self._lock = threading.Lock()
        self._used: dict[str, None] = {}

    def acquire(self) -> Tagger:
        """Return the tagger for one batch, which keeps it to its end; update the gauges."""
        for event in self._source.events():
            _count(event)
        with self._lock:
            tagger = self._source.current()
            self._used[tagger.id] = None
            # All gauges each time: Beam keeps the metrics of each thread separately.
            for known in self._used:
                gauge(f"active_checkpoint.{known}", int(known == tagger.id))
        return tagger


def log_swap(event: SwapEvent) -> None:
    """Log an event from polling the registry."""
    if event.kind == "swapped":
        log(
            "another checkpoint is in use",
            checkpoint=event.checkpoint_id,
            previous=event.previous,
            loaded_seconds=round(event.seconds, 1),
        )
    elif event.kind == "refused":
        log(
            "a checkpoint was refused, the one in use stays",
            level=logging.ERROR,
            checkpoint=event.checkpoint_id,
            reason=event.reason,
        )
    elif event.kind == "failed":
        log(
            "a checkpoint could not be loaded, trying again",
            level=logging.WARNING,
            checkpoint=event.checkpoint_id,
            reason=event.reason,
        )
    else:
        log(
            "the registry does not answer, trying again",
            level=logging.WARNING,
            reason=event.reason,
        )


def _count(event: SwapEvent) -> None:
    if event.kind == "swapped":
        count("checkpoint_swaps")
        observe("swap_milliseconds", round(1000 * event.seconds))
    elif event.kind == "refused":
        count("checkpoints_refused")
    elif event.kind == "failed":
        count("checkpoints_failed")
    else:
        count("registry_unreachable")
