"""The tagger of pubner, with which the peers are compared."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.weights import CheckpointShape
from schemas.records import Mention
from worker.tagger import load_tagger


def load(
    shape: CheckpointShape, *, device: str, threads: int, models: Path
) -> Mapping[str, Callable[[Sequence[str]], object]]:
    """Return the row `tagger`, in the default precision."""
    tagger = load_tagger([shape.folder], device=device, threads=threads)

    def annotate(texts: Sequence[str]) -> list[tuple[Mention, ...]]:
        return [annotation.mentions for annotation in tagger.annotate(texts)]

    return {"tagger": annotate}
