"""Strict entity scores: a predicted mention is correct only with the gold start, end and label.

The scores are seqeval's (strict mode, IOBES), which reads one tag per unit. The units of a text are
not its words but the segments between all start and end offsets of gold and predicted spans. So a
predicted span that starts or ends within a word has its own units: it is a false positive, and is
never aligned to the word. If spans of one side overlap each other, the text is encoded in several
layers, each span in one layer, equal spans of both sides in the same layer.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from schemas.records import Span
from training.corpora.schemes import WordSpan, tags_from_spans
from training.evaluation.report import Score, StrictScore, TypeScore


@dataclass(slots=True)
class _Layer:
    """Spans of one text of which no two on the same side overlap."""

    gold: list[Span] = field(default_factory=list)
    found: list[Span] = field(default_factory=list)


def _clear(span: Span, others: Iterable[Span]) -> bool:
    return all(span.end <= other.start or other.end <= span.start for other in others)


def _layers(gold: Collection[Span], found: Collection[Span]) -> list[_Layer]:
    """Assign each distinct span to the first layer in which it overlaps none of its side."""
    gold_spans, found_spans = set(gold), set(found)
    layers = [_Layer()]
    for span in sorted(gold_spans | found_spans):
        in_gold, in_found = span in gold_spans, span in found_spans
        for layer in layers:
            if not (in_gold and not _clear(span, layer.gold)) and not (
                in_found and not _clear(span, layer.found)
            ):
                break
        else:
            layer = _Layer()
            layers.append(layer)
        if in_gold:
            layer.gold.append(span)
        if in_found:
            layer.found.append(span)
    return layers


def unit_tags(gold: Collection[Span], found: Collection[Span]) -> list[tuple[list[str], list[str]]]:
    """Return the IOBES tags of a text's units, gold and predicted, one pair of lists per layer.

    Duplicate spans count once.

    :raises ValueError: if a span is empty.
    """
    for span in (*gold, *found):
        if span.end <= span.start:
            raise ValueError(f"{span} is empty: a mention holds at least one character")
    pairs = []
    for layer in _layers(gold, found):
        edges = sorted(
            {place for span in layer.gold + layer.found for place in (span.start, span.end)}
        )
        unit = {place: index for index, place in enumerate(edges)}
        length = max(1, len(edges) - 1)
        true, predicted = (
            list(
                tags_from_spans(
                    length,
                    [WordSpan(unit[span.start], unit[span.end], span.label) for span in side],
                )
            )
            for side in (layer.gold, layer.found)
        )
        pairs.append((true, predicted))
    return pairs


def strict_score(
    gold: Sequence[Collection[Span]], found: Sequence[Collection[Span]], labels: Sequence[str]
) -> StrictScore:
    """Return the strict scores of `found` against `gold`, one collection of spans a text each.

    `labels` names the labels to report; one without a mention has zeros.

    :raises ValueError: if the numbers of texts differ, or a span's label is not among `labels`.
    """
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOBES

    true: list[list[str]] = []
    predicted: list[list[str]] = []
    support = dict.fromkeys(labels, 0)
    seen: set[str] = set()
    for gold_spans, found_spans in zip(gold, found, strict=True):
        for span in (*gold_spans, *found_spans):
            if span.label not in support:
                raise ValueError(f"label {span.label!r} is not among {tuple(labels)}")
            seen.add(span.label)
        for span in set(gold_spans):
            support[span.label] += 1
        if not gold_spans and not found_spans:
            continue  # adds nothing to any count
        for true_tags, predicted_tags in unit_tags(gold_spans, found_spans):
            true.append(true_tags)
            predicted.append(predicted_tags)
    if not seen:
        return StrictScore(
            Score(0.0, 0.0, 0.0), {label: TypeScore(0.0, 0.0, 0.0, 0) for label in labels}
        )
    scores = [
        precision_recall_fscore_support(
            true, predicted, average=average, scheme=IOBES, zero_division=0
        )
        for average in (None, "micro")
    ]
    by_label = {
        label: (float(precision), float(recall), float(f1))
        for label, precision, recall, f1 in zip(sorted(seen), *scores[0][:3], strict=True)
    }
    return StrictScore(
        Score(*(float(value) for value in scores[1][:3])),
        {
            label: TypeScore(*by_label.get(label, (0.0, 0.0, 0.0)), support[label])
            for label in labels
        },
    )
