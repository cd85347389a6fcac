"""The loss of a training step: cross entropy with gold tags and with teachers' soft labels."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from training.data.batches import Inputs
from training.recipes.recipe import Recipe
from worker.decoding.cpu import HeadLayout


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The targets of a batch's first pieces; shapes as in `Inputs`."""

    tags: Tensor
    heads: Tensor
    soft: Tensor | None

    @classmethod
    def of(cls, inputs: Inputs) -> "Targets":
        """Return the targets of a batch."""
        return cls(inputs.tags, inputs.heads, inputs.soft)


def head_loss(
    layout: HeadLayout,
    logits: Tensor,
    targets: Targets,
    recipe: Recipe,
    log_variances: Tensor | None = None,
) -> Tensor:
    """Return the mean loss per piece, summed over heads; each head learns from its own targets.

    Gold tags train only the head of their own corpus. Nothing here synchronises with the device.

    :param logits: (pieces, tags of all heads), float32
    :param log_variances: (heads,), learned task weights (Kendall et al. 2018, for classification:
        a head's loss divided by its variance, plus half the log variance)
    """
    total = logits.new_zeros(())
    for head, part in enumerate(layout.slices):
        scores = log_softmax(logits[:, part], dim=1)
        own = (targets.heads == head) & (targets.tags >= 0)
        losses = _own_loss(scores, targets, part, own, recipe)
        if targets.soft is not None and recipe.pseudo_weight:
            losses = losses + recipe.pseudo_weight * _pseudo_loss(
                scores, targets.soft[:, part], ~own, recipe.pseudo_threshold
            )
        loss = losses.sum()
        if log_variances is not None:
            log_variance = log_variances[head]
            loss = loss * torch.exp(-log_variance) + 0.5 * log_variance * own.sum()
        total = total + loss
    return total / max(1, len(targets.tags))


def _own_loss(scores: Tensor, targets: Targets, part: slice, own: Tensor, recipe: Recipe) -> Tensor:
    """Return each piece's loss for the head of its own corpus, 0 elsewhere; shape (pieces,)."""
    right = scores.gather(1, targets.tags.clamp(0, scores.shape[1] - 1).unsqueeze(1)).squeeze(1)
    losses = -right
    if targets.soft is not None and recipe.distil_weight:
        soft = targets.soft[:, part].float()
        has_soft = ~soft[:, 0].isnan()
        soft_loss = -(soft.nan_to_num() * scores).sum(dim=1)
        losses = torch.where(has_soft, torch.lerp(losses, soft_loss, recipe.distil_weight), losses)
    return losses * own


def _pseudo_loss(scores: Tensor, soft: Tensor, open_pieces: Tensor, threshold: float) -> Tensor:
    """Return each piece's loss from confident soft labels alone; shape (pieces,)."""
    soft = soft.float()
    confident = open_pieces & (soft.amax(dim=1) >= threshold)  # NaN is never confident
    return -(soft.nan_to_num() * scores).sum(dim=1) * confident
