"""Made-up findings for tests of drift, and outputs that hold them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.arrow import CITATIONS, MENTIONS
from schemas.manifest import DriftReference
from schemas.records import Annotation, Mention
from schemas.tasks import TASKS
from worker.drift.tally import reference_from, tally_of


def annotations(
    count: int,
    *,
    rate: float = 2.0,
    shape: tuple[float, float] = (8.0, 2.0),
    unknown: int = 0,
    seed: int = 0,
    heads: Sequence[str] = ("bc2gm",),
) -> list[Annotation]:
    """Return what a tagger may find in `count` texts of 100 word pieces, `unknown` of them unknown.

    Each head finds Poisson(`rate`) mentions a text, with scores from the beta distribution `shape`.
    """
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        mentions = [
            Mention(
                task=head,
                label=TASKS[head].label_names[0],
                entity_type=TASKS[head].labels[0].entity_type,
                start=0,
                end=4,
                score=float(score),
                preferred=True,
                checkpoint_id="c1",
            )
            for head in heads
            for score in generator.beta(*shape, size=generator.poisson(rate))
        ]
        found.append(Annotation(tuple(mentions), word_pieces=100, unknown_pieces=unknown))
    return found


def reference(found: Sequence[Annotation], heads: Sequence[str] = ("bc2gm",)) -> DriftReference:
    """Return what was found as a reference."""
    return reference_from(tally_of(found), heads, name="made up", sha256="0")


def write_block(
    root: Path,
    name: str,
    found: Sequence[Annotation],
    *,
    checkpoint_id: str | Sequence[str] = "c1",
    annotated_at: datetime | Sequence[datetime],
    statuses: Mapping[int, str] | None = None,
    text: str | None = "a cell of cancer",
    first: int = 0,
) -> None:
    """Write a block's two data sets as pubner lays them out; offsets begin at `first`."""
    count = len(found)
    ids = [checkpoint_id] * count if isinstance(checkpoint_id, str) else list(checkpoint_id)
    moments = [annotated_at] * count if isinstance(annotated_at, datetime) else list(annotated_at)
    citations = [
        {
            "pmid": 1 + number,
            "pmid_version": 1,
            "status": (statuses or {}).get(number, "annotated"),
            "text": text,
            "text_sha256": None,
            "retracted": False,
            "date_revised": None,
            "year": None,
            "mention_count": len(one.mentions),
            "truncated": False,
            "checkpoint_id": ids[number],
            "annotated_at": moments[number],
            "source": "s.xml",
            "partition": 0,
            "offset": first + number,
        }
        for number, one in enumerate(found)
    ]
    mentions = [
        {
            "pmid": 1 + number,
            "pmid_version": 1,
            "task": mention.task,
            "label": mention.label,
            "entity_type": str(mention.entity_type),
            "start": mention.start,
            "end": mention.end,
            "text": "cell",
            "section": "title",
            "score": mention.score,
            "preferred": True,
            "checkpoint_id": ids[number],
            "source": "s.xml",
            "partition": 0,
            "offset": first + number,
        }
        for number, one in enumerate(found)
        for mention in one.mentions
    ]
    for kind, rows, schema in (
        ("citations", citations, CITATIONS),
        ("mentions", mentions, MENTIONS),
    ):
        (root / kind).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), root / kind / name)
