"""Devel scores during training: strict F1 of the model as it stands, read as inference reads it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from schemas.tasks import Task
from training.corpora.spans import spans_of
from training.corpora.tsv import Sentence
from training.evaluation.predict import Context, predict
from training.evaluation.strict import strict_score
from worker.encoder import Encoder, choose_precision, network_of
from worker.model import MultiHeadModel
from worker.tagger import BatchLimits, CheckpointTagger, Tagger
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
    network = network_of(
        copy.deepcopy(model),
        pad_id=tokeniser.pad_id,
        letter_case=letter_case,
        device=device,
        precision=choose_precision("auto", device),
    )
    encoder = Encoder(
        network,
        tokeniser,
        checkpoint_id="in training",
        tasks=tasks,
        max_pieces=max_pieces,
        device=device,
    )
    tagger = Tagger([CheckpointTagger(encoder, BatchLimits())])
    return {part.task.name: _f1(tagger, part) for part in devel}


def _f1(tagger: Tagger, devel: DevelSet) -> float:
    found = predict(tagger, devel.task.name, devel.sentences, Context.SENTENCE)
    gold = [spans_of(sentence) for sentence in devel.sentences]
    return strict_score(gold, found, devel.task.label_names).overall.f1
