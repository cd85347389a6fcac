"""The training loop: one shared encoder, all heads, mixed batches; seeded and resumable."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from schemas.errors import TrainingError
from training.examples import IGNORED, HeadData, Window
from training.recipe import Recipe
from training.sampling import draw_epoch
from training.state import SavedState, load_state, optimiser_tensors, restore_optimiser, save_state
from worker.decoding import HeadLayout
from worker.model import MultiHeadModel
from worker.tokenisation import WordPieceTokeniser
from worker.windows import SPECIAL_PIECES


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: steps done of all, epoch from 0, smoothed loss, word pieces a second."""

    step: int
    steps: int
    epoch: int
    loss: float
    pieces_per_second: float


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What surrounds a run and does not shape its result.

    `bf16` switches mixed precision on; `save_seconds` is the time between two saved states.
    """

    device: torch.device
    bf16: bool
    save_seconds: float = 300.0


class Trainer:
    """A run of one recipe over the corpora of all heads.

    `identity` names everything that shapes the result; a saved state of another is refused.
    """

    def __init__(
        self,
        model: MultiHeadModel,
        tokeniser: WordPieceTokeniser,
        layout: HeadLayout,
        corpora: Sequence[HeadData],
        recipe: Recipe,
        settings: LoopSettings,
        folder: Path,
        identity: dict[str, Any],
    ) -> None:
        self.model = model.to(settings.device)
        self._tokeniser = tokeniser
        self._layout = layout
        self._corpora = tuple(corpora)
        self._recipe = recipe
        self._settings = settings
        self._folder = folder
        self._identity = identity
        self._parameters = dict(model.named_parameters())
        self._optimiser = _optimiser(model, recipe)
        self._epoch = 0
        self._batch = 0
        self._step = 0
        self._seconds = 0.0
        self._scores: list[dict[str, float]] = []

    @property
    def seconds(self) -> float:
        """Seconds spent in training steps, over all starts of the run."""
        return self._seconds

    @property
    def scores(self) -> list[dict[str, float]]:
        """What `on_epoch` returned, one entry an epoch."""
        return list(self._scores)

    @property
    def resumed_step(self) -> int:
        """The step at which the run stands; 0 before the first."""
        return self._step

    def resume(self) -> bool:
        """Go to the latest saved state, if there is one; say whether there was.

        :raises TrainingError: if it is of a run with other settings.
        """
        state = load_state(self._folder)
        if state is None:
            return False
        if state.values["identity"] != self._identity:
            was = state.values["identity"]
            differing = [key for key in self._identity if was.get(key) != self._identity[key]]
            raise TrainingError(
                f"{self._folder} holds the state of another run (differing: "
                f"{', '.join(differing) or 'keys'}); give another --output, or --restart"
            )
        weights = {
            name.removeprefix("model/"): tensor
            for name, tensor in state.tensors.items()
            if name.startswith("model/")
        }
        self.model.load_state_dict(weights)
        restore_optimiser(self._optimiser, self._parameters, state.tensors)
        torch.set_rng_state(state.tensors["random/cpu"])
        if "random/device" in state.tensors:
            torch.cuda.set_rng_state(state.tensors["random/device"], self._settings.device)
        self._epoch, self._batch, self._step = (
            state.values[key] for key in ("epoch", "batch", "step")
        )
        self._seconds, self._scores = state.values["seconds"], state.values["scores"]
        return True

    def save(self) -> None:
        """Save the state as it is now."""
        tensors = {
            f"model/{name}": tensor.detach().cpu().contiguous()
            for name, tensor in self.model.state_dict().items()
        }
        names = {id(parameter): name for name, parameter in self._parameters.items()}
        tensors |= optimiser_tensors(self._optimiser, names)
        tensors["random/cpu"] = torch.get_rng_state()
        if self._settings.device.type == "cuda":
            tensors["random/device"] = torch.cuda.get_rng_state(self._settings.device)
        values = {
            "identity": self._identity,
            "epoch": self._epoch,
            "batch": self._batch,
            "step": self._step,
            "seconds": self._seconds,
            "scores": self._scores,
        }
        save_state(self._folder, self._step, SavedState(tensors, values))

    def run(
        self,
        on_progress: Callable[[Progress], None],
        on_epoch: Callable[[int, MultiHeadModel], dict[str, float]],
        should_stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> bool:
        """Train to the end of the recipe, or until `should_stop`; return whether it was the end.

        `on_epoch` is called behind each epoch with its number and the model in evaluation mode; the
        state is saved after it, every `save_seconds`, and when stopped.

        :raises TrainingError: if the loss is no longer a number.
        """
        if self._step == 0:
            torch.manual_seed(self._recipe.seed)
        recipe = self._recipe
        lengths = [len(draw_epoch(self._corpora, recipe, e)) for e in range(recipe.epochs)]
        total = sum(lengths)
        saved = clock()
        smooth = math.nan
        rate = math.nan
        while self._epoch < recipe.epochs:
            batches = draw_epoch(self._corpora, recipe, self._epoch)
            self.model.train()
            while self._batch < len(batches):
                begun = clock()
                batch = batches[self._batch]
                loss = self._train_step(batch, total)
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"the loss is {loss} at step {self._step}: the run diverged; lower the "
                        "learning rate (--learning-rate)"
                    )
                self._batch += 1
                self._step += 1
                spent = clock() - begun
                self._seconds += spent
                now = sum(window.length for window in batch) / max(spent, 1e-9)
                smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
                rate = now if math.isnan(rate) else 0.95 * rate + 0.05 * now
                on_progress(Progress(self._step, total, self._epoch, smooth, rate))
                stop = should_stop()
                if stop or clock() - saved >= self._settings.save_seconds:
                    self.save()
                    saved = clock()
                if stop:
                    return False
            self.model.eval()
            generator = torch.get_rng_state()
            self._scores.append(on_epoch(self._epoch, self.model))
            torch.set_rng_state(generator)
            self._epoch, self._batch = self._epoch + 1, 0
            self.save()
            saved = clock()
        return True

    def _train_step(self, batch: Sequence[Window], total: int) -> float:
        recipe, settings = self._recipe, self._settings
        factor = rate_factor(self._step, total, recipe.warmup)
        for group in self._optimiser.param_groups:
            group["lr"] = group["base_rate"] * factor
        inputs = collate(batch, self._tokeniser, settings.device)
        with torch.autocast(settings.device.type, torch.bfloat16, enabled=settings.bf16):
            logits = self.model(
                inputs.ids, inputs.mask, inputs.case if recipe.letter_case else None, inputs.select
            )
        loss = head_loss(self._layout, logits.float(), inputs.tags, inputs.heads)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), recipe.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())


def rate_factor(step: int, total: int, warmup: float) -> float:
    """Return the share of the full learning rate at `step` of `total`: a rise, then a fall to 0."""
    rising = warmup * total
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (total - step) / max(1.0, total - rising))


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A batch as tensors of shape (windows, pieces); `tags` and `heads` (selected pieces,)."""

    ids: Tensor
    mask: Tensor
    case: Tensor
    select: Tensor
    tags: Tensor
    heads: Tensor


def collate(batch: Sequence[Window], tokeniser: WordPieceTokeniser, device: torch.device) -> Inputs:
    """Pad windows to the longest and frame them by special pieces."""
    shape = (len(batch), max(window.length for window in batch))
    ids = np.full(shape, tokeniser.pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.bool_)
    case = np.zeros(shape, dtype=np.int64)
    tags = np.full(shape, IGNORED, dtype=np.int64)
    heads = np.zeros(shape, dtype=np.int64)
    for row, window in enumerate(batch):
        inside = slice(1, window.length - SPECIAL_PIECES + 1)
        ids[row, 0] = tokeniser.start_id
        ids[row, inside] = window.pieces.ids
        ids[row, window.length - 1] = tokeniser.end_id
        mask[row, : window.length] = True
        case[row, inside] = window.pieces.case
        tags[row, inside] = window.pieces.tags
        heads[row] = window.head
    select = tags != IGNORED
    return Inputs(
        *(
            torch.from_numpy(array).to(device)
            for array in (ids, mask, case, select, tags[select], heads[select])
        )
    )


def head_loss(layout: HeadLayout, logits: Tensor, tags: Tensor, heads: Tensor) -> Tensor:
    """Mean cross entropy over pieces, each read by the head of its own corpus alone.

    :param logits: (pieces, tags of all heads); :param tags: (pieces,) within the head's own tags
    :param heads: (pieces,) head numbers
    """
    total = logits.new_zeros(())
    for head, part in enumerate(layout.slices):
        chosen = (heads == head).nonzero().squeeze(1)
        if len(chosen):
            total = total + cross_entropy(logits[chosen, part], tags[chosen], reduction="sum")
    return total / max(1, len(tags))


def _optimiser(model: MultiHeadModel, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); no weight decay on biases and norms, as BERT does."""
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((name.startswith("heads."), parameter.dim() > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "base_rate": recipe.learning_rate * (recipe.head_rate_factor if of_heads else 1.0),
                "weight_decay": recipe.weight_decay if matrix else 0.0,
            }
            for (of_heads, matrix), parameters in groups.items()
        ],
        lr=recipe.learning_rate,
        fused=True,
    )
