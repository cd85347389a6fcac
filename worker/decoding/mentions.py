"""Conversion of decoded runs of pre-tokens to mentions with code-point offsets."""

from collections.abc import Iterable, Mapping, Sequence

from schemas.manifest import HeadCalibration
from schemas.records import Mention
from schemas.tasks import Task
from worker.decoding.calibration import calibrated
from worker.decoding.cpu import DecodedRun
from worker.text.tokenisation import WordPieces


def mentions_of(
    tasks: Sequence[Task],
    pieces: WordPieces,
    runs: Iterable[DecodedRun],
    *,
    checkpoint_id: str,
    calibration: Mapping[str, HeadCalibration] | None = None,
) -> list[Mention]:
    """Return the decoded runs of a text as mentions, before the overlap policy.

    Scores of the heads in `calibration` are calibrated.
    """
    curves = calibration or {}
    starts, ends = pieces.pretoken_starts.tolist(), pieces.pretoken_ends.tolist()
    mentions = []
    for run in runs:
        task = tasks[run.head]
        mentions.append(
            Mention(
                task=task.name,
                label=run.label,
                entity_type=task.entity_type(run.label),
                start=starts[run.first],
                end=ends[run.last],
                score=calibrated(run.score, curves.get(task.name)),
                preferred=True,
                checkpoint_id=checkpoint_id,
            )
        )
    return mentions
