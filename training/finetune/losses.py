"""What a step minimises: the cross entropy with gold tags and with teachers' soft tags."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from training.data.batches import Inputs
from training.recipes.recipe import Recipe
from worker.decoding.cpu import HeadLayout


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What the read pieces of a batch should be; shapes as in `Inputs`."""

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
    """Return the loss a piece: each head's over the pieces that teach it, summed.

    Gold tags teach the head of their own corpus alone. Nothing here waits for the device.

    :param logits: (pieces, tags of all heads), float32
    :param log_variances: (heads,), learned: weights of the heads (Kendall et al. 2018, for
        classification: a head's loss over its variance, and half the log variance)
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
            spread = log_variances[head]
            loss = loss * torch.exp(-spread) + 0.5 * spread * own.sum()
        total = total + loss
    return total / max(1, len(targets.tags))


def _own_loss(scores: Tensor, targets: Targets, part: slice, own: Tensor, recipe: Recipe) -> Tensor:
    """Return the loss of each piece by its own corpus's gold, 0 elsewhere; shape (pieces,)."""
    right = scores.gather(1, targets.tags.clamp(0, scores.shape[1] - 1).unsqueeze(1)).squeeze(1)
    losses = -right
    if targets.soft is not None and recipe.distil_weight:
        soft = targets.soft[:, part].float()
        there = ~soft[:, 0].isnan()
        taught = -(soft.nan_to_num() * scores).sum(dim=1)
        losses = torch.where(there, torch.lerp(losses, taught, recipe.distil_weight), losses)
    return losses * own


def _pseudo_loss(scores: Tensor, soft: Tensor, open_pieces: Tensor, threshold: float) -> Tensor:
    """Return each piece's loss by teachers' tags alone, where they are sure; shape (pieces,)."""
    soft = soft.float()
    sure = open_pieces & (soft.amax(dim=1) >= threshold)  # NaN is never sure
    return -(soft.nan_to_num() * scores).sum(dim=1) * sure
