"""Token-level weighted F1 over a corpus's own words, `O` included.

Here, and only here, a predicted span that starts or ends within a word is extended to whole words,
since a word has one tag. Of predicted spans on the same word, the first in the order of start, end
and label is used. The strict scores make no such adjustment.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence

import numpy as np

from schemas.records import Span
from schemas.tags import iobes_tags
from training.corpora.schemes import WordSpan, tags_from_spans
from training.corpora.spans import word_offsets
from training.corpora.tsv import Sentence


def found_tags(words: Sequence[str], found: Collection[Span]) -> tuple[str, ...]:
    """Return the IOBES tags of `words` for the predicted spans of their text."""
    offsets = word_offsets(words)
    starts = [start for start, _ in offsets]
    ends = [end for _, end in offsets]
    tagged: list[WordSpan] = []
    free = 0
    for span in sorted(found):
        first = bisect_right(ends, span.start)
        stop = bisect_left(starts, span.end)
        if free <= first < stop:
            tagged.append(WordSpan(first, stop, span.label))
            free = stop
    return tags_from_spans(len(words), tagged)


def token_weighted_f1(
    sentences: Sequence[Sentence], found: Sequence[Collection[Span]], labels: Sequence[str]
) -> float:
    """Return the F1 of each IOBES tag averaged by its gold count: scikit-learn's `weighted`.

    :raises ValueError: if the numbers of sentences differ; KeyError for a label not in `labels`.
    """
    from sklearn.metrics import f1_score

    number = {tag: index for index, tag in enumerate(iobes_tags(labels))}
    gold = [number[tag] for sentence in sentences for tag in sentence.tags]
    predicted = [
        number[tag]
        for sentence, spans in zip(sentences, found, strict=True)
        for tag in found_tags(sentence.words, spans)
    ]
    if not gold:
        return 0.0
    return float(
        f1_score(
            np.array(gold, dtype=np.int32),
            np.array(predicted, dtype=np.int32),
            average="weighted",
            zero_division=0,
        )
    )
