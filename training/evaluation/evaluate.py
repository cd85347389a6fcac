"""Scores of a tagger's heads on corpus splits."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from schemas.records import Span
from schemas.tasks import Task
from training.corpora.corpus import mention_count
from training.corpora.spans import spans_of, tags_of, word_offsets
from training.corpora.tsv import Sentence
from training.evaluation.calibration import calibration_bins, outcomes_of
from training.evaluation.predict import Annotator, Context, ScoredSpan, predict_scored, readings_of
from training.evaluation.report import HeadReport
from training.evaluation.strict import strict_score
from training.evaluation.tokens import token_weighted_f1
from training.reports.progress import Work


def score_sentences(
    task: Task,
    sentences: Sequence[Sentence],
    found: Sequence[Collection[Span]],
) -> HeadReport:
    """Score the predicted spans `found` of each sentence, with offsets in the sentence's text."""
    gold = [spans_of(sentence) for sentence in sentences]
    return HeadReport(
        strict=strict_score(gold, found, task.label_names),
        token_weighted_f1=token_weighted_f1(sentences, found, task.label_names),
        sentences=len(sentences),
        mentions=sum(mention_count(sentence) for sentence in sentences),
        off_boundary=sum(
            len(tags_of(word_offsets(sentence.words), spans).off_boundary)
            for sentence, spans in zip(sentences, found, strict=True)
            if spans
        ),
    )


def evaluate_head(
    tagger: Annotator,
    task: Task,
    sentences: Sequence[Sentence],
    *,
    context: Context = Context.SENTENCE,
    progress: Callable[[int], None] = lambda _: None,
    keep: Callable[[Sequence[tuple[ScoredSpan, ...]]], None] = lambda _: None,
) -> HeadReport:
    """Score the head of `task` on `sentences`.

    `progress` is called with the number of texts read so far, a text being a sentence or a window;
    `keep` is called with the predicted spans of each sentence.
    """
    found = predict_scored(tagger, task.name, sentences, context, progress)
    keep(found)
    report = score_sentences(task, sentences, [[one.span for one in spans] for spans in found])
    outcomes = outcomes_of([spans_of(sentence) for sentence in sentences], found)
    return replace(report, bins=calibration_bins(outcomes))


def evaluate_heads(
    tagger: Annotator,
    corpora: Sequence[tuple[Task, Sequence[Sentence]]],
    context: Context,
    work: Work,
    found: dict[str, Sequence[tuple[ScoredSpan, ...]]] | None = None,
) -> dict[str, HeadReport]:
    """Score heads, each on its sentences; the predicted spans by head are added to `found`."""
    kept = {} if found is None else found
    heads = {}
    for task, sentences in corpora:
        total = len(readings_of(sentences, context))
        with work.stage(task.name, total, "texts") as stage:
            heads[task.name] = evaluate_head(
                tagger,
                task,
                sentences,
                context=context,
                progress=stage.advance,
                keep=partial(kept.__setitem__, task.name),
            )
    return heads
