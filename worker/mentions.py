"""From what was decoded, pre-tokens of a text, to mentions, code points of it."""

from collections.abc import Iterable, Sequence

from schemas.records import Mention
from schemas.tasks import Task
from worker.decoding import DecodedRun
from worker.tokenisation import WordPieces


def mentions_of(
    tasks: Sequence[Task],
    pieces: WordPieces,
    runs: Iterable[DecodedRun],
    *,
    checkpoint_id: str,
) -> list[Mention]:
    """Return what was decoded in a text as mentions, before the overlap policy."""
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
                score=run.score,
                preferred=True,
                checkpoint_id=checkpoint_id,
            )
        )
    return mentions
