"""The fine-tuning loop: a shared encoder and all heads on mixed batches; seeded and resumable."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schemas.errors import DivergenceError
from training.data.batches import Inputs, collate
from training.data.examples import Window
from training.data.sampling import Material, draw_epoch
from training.encoders.training_network import training_network
from training.finetune.losses import Targets, head_loss
from training.finetune.optimisation import make_optimiser, rate_factor, set_rates
from training.finetune.regularisation import AveragedWeights, perturbed_embeddings
from training.finetune.run_state import RunState, with_prefix, without_prefix
from training.recipes.recipe import Recipe
from training.reports.progress import LoopProgress
from worker.decoding.cpu import HeadLayout
from worker.network.model import MultiHeadModel
from worker.text.tokenisation import WordPieceTokeniser

_READ_EVERY = 25
"""Steps between two readings of the loss on a GPU, since each reading synchronises with it."""

_AVERAGE = "average/"


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """The settings of a run that do not change its result.

    `bf16` switches mixed precision on; `save_seconds` is the time between two saved training
    states.
    """

    device: torch.device
    bf16: bool
    save_seconds: float = 300.0


class Trainer:
    """A run of one recipe over the corpora of all heads.

    `identity` holds everything that determines the result; the saved state of a run with another
    identity is refused.
    """

    def __init__(
        self,
        model: MultiHeadModel,
        tokeniser: WordPieceTokeniser,
        layout: HeadLayout,
        material: Material,
        recipe: Recipe,
        settings: LoopSettings,
        folder: Path,
        identity: dict[str, Any],
    ) -> None:
        self.model = model.to(settings.device)
        self._tokeniser = tokeniser
        self._layout = layout
        self._material = material
        self._recipe = recipe
        self._settings = settings
        self._log_variances: nn.Parameter | None = None
        parameters: dict[str, nn.Parameter] = dict(model.named_parameters())
        extra: tuple[nn.Parameter, ...] = ()
        if recipe.uncertainty_weighting:
            self._log_variances = nn.Parameter(
                torch.zeros(len(layout.slices), device=settings.device)
            )
            extra = (self._log_variances,)
            parameters["log_variances"] = self._log_variances
        self._parameters = tuple(parameters.values())
        self._optimiser = make_optimiser(
            model,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            layer_decay=recipe.layer_decay,
            head_rate_factor=recipe.head_rate_factor,
            extra=extra,
        )
        self._network = training_network(
            model, tokeniser.pad_id, settings.device, bf16=settings.bf16
        )
        self._average = AveragedWeights(model, recipe.ema) if recipe.ema else None
        self._at = RunState(folder, identity, model, parameters, self._optimiser, settings.device)
        self._scores: list[dict[str, float]] = []

    @property
    def seconds(self) -> float:
        """Seconds spent in training steps, summed over all starts of the run."""
        return self._at.seconds

    @property
    def scores(self) -> list[dict[str, float]]:
        """The values that `on_epoch` returned, one per epoch."""
        return list(self._scores)

    @property
    def resumed_step(self) -> int:
        """The number of steps done so far."""
        return self._at.step

    def resume(self) -> bool:
        """Load the latest saved state, if there is one; return whether there was.

        :raises TrainingError: if the state belongs to a run with other settings.
        """
        state = self._at.resume()
        if state is None:
            return False
        if self._log_variances is not None:
            self._log_variances.data.copy_(state.tensors["log_variances"])
        if self._average is not None:
            self._average.load(without_prefix(state.tensors, _AVERAGE))
        self._scores = state.values["scores"]
        return True

    def save(self) -> None:
        """Save the current state."""
        tensors = {}
        if self._log_variances is not None:
            tensors["log_variances"] = self._log_variances.detach().cpu()
        if self._average is not None:
            tensors |= with_prefix(self._average.tensors, _AVERAGE)
        self._at.save(tensors, {"scores": self._scores})

    def run(
        self,
        on_progress: Callable[[LoopProgress], None],
        on_epoch: Callable[[int, MultiHeadModel], dict[str, float]],
        should_stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> bool:
        """Train to the end of the recipe, or until `should_stop`; return whether training ended.

        `on_epoch` is called after each epoch with its number and the model in evaluation mode,
        with averaged weights if the recipe averages. The state is saved after each epoch, every
        `save_seconds`, and when training is stopped.

        :raises DivergenceError: if the loss is not finite.
        """
        at = self._at
        if at.step == 0:
            torch.manual_seed(self._recipe.seed)
        recipe = self._recipe
        saved = clock()
        meter = _Meter(1 if self._settings.device.type == "cpu" else _READ_EVERY)
        while at.epoch < recipe.epochs:
            batches = draw_epoch(self._material, recipe, at.epoch)
            total = len(batches) * recipe.epochs
            self.model.train()
            while at.batch < len(batches):
                begun = clock()
                batch = batches[at.batch]
                loss = self._train_step(batch, at.epoch * len(batches) + at.batch, total)
                at.batch += 1
                at.step += 1
                meter.take(loss, at.step)
                spent = clock() - begun
                at.seconds += spent
                rate = meter.rate(sum(window.length for window in batch), spent)
                left = len(batches) * (recipe.epochs - at.epoch) - at.batch
                on_progress(LoopProgress(at.step, at.step + left, at.epoch, meter.loss, rate))
                stop = should_stop()
                if stop or clock() - saved >= self._settings.save_seconds:
                    self.save()
                    saved = clock()
                if stop:
                    return False
            self._end_epoch(on_epoch)
            saved = clock()
            if at.epoch < recipe.epochs and should_stop():
                return False
        return True

    def _end_epoch(self, on_epoch: Callable[[int, MultiHeadModel], dict[str, float]]) -> None:
        """Score the epoch on devel and save the state."""
        at = self._at
        self.model.eval()
        generator = torch.get_rng_state()
        with self._average.applied() if self._average is not None else nullcontext():
            scores = on_epoch(at.epoch, self.model)
        torch.set_rng_state(generator)
        self._scores.append(scores)
        at.epoch, at.batch = at.epoch + 1, 0
        self.save()

    def _train_step(self, batch: Sequence[Window], done: int, total: int) -> Tensor:
        recipe = self._recipe
        set_rates(self._optimiser, rate_factor(done, total, recipe.warmup))
        inputs = collate(batch, self._tokeniser, self._settings.device)
        loss = self._loss(inputs)
        loss.backward()
        if recipe.fgm:
            with perturbed_embeddings(self._word_table(), recipe.fgm):
                self._loss(inputs).backward()
        nn.utils.clip_grad_norm_(self._parameters, recipe.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update(self._at.step)
        return loss.detach()

    def _loss(self, inputs: Inputs) -> Tensor:
        with torch.autocast(
            self._settings.device.type, torch.bfloat16, enabled=self._settings.bf16
        ):
            chosen = self._network.states(
                inputs.rows, letter_case=self._recipe.letter_case, chosen=inputs.read_rows
            )
            logits = self.model.heads(self.model.dropout(chosen))
        return head_loss(
            self._layout, logits.float(), Targets.of(inputs), self._recipe, self._log_variances
        )

    def _word_table(self) -> nn.Parameter:
        encoder: Any = self.model.encoder
        table: nn.Parameter = encoder.get_input_embeddings().weight
        return table


class _Meter:
    """Smoothed loss and speed; reads and checks the losses every `every` steps."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._unread: list[Tensor] = []
        self._rate = math.nan
        self.loss = math.nan

    def take(self, loss: Tensor, step: int) -> None:
        """Add the loss of a step.

        :raises DivergenceError: if a loss is not finite.
        """
        self._unread.append(loss)
        if len(self._unread) < self._every:
            return
        for value in torch.stack(self._unread).tolist():
            if not math.isfinite(value):
                raise DivergenceError(
                    f"the loss is {value} at step {step}: the run diverged; lower the learning "
                    "rate (--learning-rate)"
                )
            self.loss = value if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * value
        self._unread.clear()

    def rate(self, pieces: int, seconds: float) -> float:
        """Add `pieces` processed in `seconds`; return the smoothed word pieces per second."""
        now = pieces / max(seconds, 1e-9)
        self._rate = now if math.isnan(self._rate) else 0.95 * self._rate + 0.05 * now
        return self._rate
