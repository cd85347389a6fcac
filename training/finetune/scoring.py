"""Devel scores during training: strict F1 of the current model, decoded as at inference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from schemas.tasks import Task
from training.corpora.spans import spans_of
from training.corpora.tsv import Sentence
from training.evaluation.bootstrap import sentence_counts
from training.evaluation.predict import Context, predict
from worker.network.encoder import Encoder, choose_precision
from worker.network.families import family_of
from worker.network.family import NetworkOptions
from worker.network.model import MultiHeadModel
from worker.tagger import BatchLimits, CheckpointTagger, Tagger
from worker.text.tokenisation import WordPieceTokeniser


@dataclass(frozen=True, slots=True)
class DevelSet:
    """The devel sentences of one head."""

    task: Task
    sentences: tuple[Sentence, ...]


def encoder_of(
    model: MultiHeadModel,
    tokeniser: WordPieceTokeniser,
    tasks: Sequence[Task],
    *,
    letter_case: bool,
    max_pieces: int,
    device: torch.device,
) -> Encoder:
    """Return a copy of a model in memory as an encoder, as if loaded from its checkpoint."""
    encoder: Any = model.encoder
    weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    options = NetworkOptions(
        tokeniser.pad_id, letter_case, device, choose_precision("auto", device)
    )
    network = family_of(encoder.config).network(weights, encoder.config, options)
    return Encoder(
        network,
        tokeniser,
        checkpoint_id="in training",
        tasks=tasks,
        max_pieces=max_pieces,
        device=device,
    )


def score_devel(
    model: MultiHeadModel,
    tokeniser: WordPieceTokeniser,
    tasks: Sequence[Task],
    devel: Sequence[DevelSet],
    *,
    letter_case: bool,
    max_pieces: int,
    device: torch.device,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, float]:
    """Return the strict entity F1 of each head on its devel sentences, read one by one.

    :param progress: called with the number of sentences read
    """
    encoder = encoder_of(
        model, tokeniser, tasks, letter_case=letter_case, max_pieces=max_pieces, device=device
    )
    tagger = Tagger([CheckpointTagger(encoder, BatchLimits())])
    return {part.task.name: _f1(tagger, part, progress) for part in devel}


def _f1(tagger: Tagger, devel: DevelSet, progress: Callable[[int], None]) -> float:
    found = predict(tagger, devel.task.name, devel.sentences, Context.SENTENCE, progress)
    right, made, true = sentence_counts([spans_of(s) for s in devel.sentences], found).sum(axis=0)
    return float(2 * right / (made + true)) if made + true else 0.0
