"""Devel scores during training: strict F1 of the model as it stands, read as inference reads it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from schemas.records import Span
from schemas.tasks import Task
from training.corpora.spans import sentence_text, spans_of
from training.corpora.tsv import Sentence
from worker.encoder import Encoder, choose_precision
from worker.model import MultiHeadModel
from worker.tagger import BatchLimits, CheckpointTagger
from worker.tokenisation import WordPieceTokeniser


@dataclass(frozen=True, slots=True)
class DevelSet:
    """The devel sentences of one head."""

    task: Task
    sentences: tuple[Sentence, ...]


def score_devel(
    model: MultiHeadModel,
    tokeniser: WordPieceTokeniser,
    tasks: Sequence[Task],
    devel: Sequence[DevelSet],
    *,
    letter_case: bool,
    max_pieces: int,
    device: torch.device,
) -> dict[str, float]:
    """Return the strict entity F1 of each head on its devel sentences, read one by one."""
    tagger = CheckpointTagger(
        Encoder(
            copy.deepcopy(model),
            tokeniser,
            checkpoint_id="in training",
            tasks=tasks,
            letter_case=letter_case,
            max_pieces=max_pieces,
            device=device,
            precision=choose_precision("auto", device),
        ),
        BatchLimits(),
    )
    return {part.task.name: _f1(tagger, part) for part in devel}


def _f1(tagger: CheckpointTagger, devel: DevelSet) -> float:
    right = wrong = missed = 0
    group = 1024
    for begin in range(0, len(devel.sentences), group):
        sentences = devel.sentences[begin : begin + group]
        texts = [sentence_text(sentence.words)[0] for sentence in sentences]
        for sentence, mentions in zip(sentences, tagger.mentions(texts), strict=True):
            gold = set(spans_of(sentence))
            found = {
                Span(mention.start, mention.end, mention.label)
                for mention in mentions
                if mention.task == devel.task.name
            }
            right += len(gold & found)
            wrong += len(found - gold)
            missed += len(gold - found)
    return 2 * right / max(1, 2 * right + wrong + missed)
