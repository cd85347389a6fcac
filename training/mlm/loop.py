"""The MLM training loop: seeded, resumable, and free of device synchronisation within steps."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from schemas.errors import DivergenceError
from training.encoders.rows import Rows
from training.encoders.training_network import fast_network
from training.finetune.loop import LoopSettings
from training.finetune.optimisation import make_optimiser, rate_factor, set_rates
from training.finetune.run_state import RunState
from training.mlm.masking import MaskedBatch, draw_batches, mask_batch, mask_pieces
from training.mlm.model import MaskedModel
from training.mlm.text import Pieces, pack_windows
from training.recipes.mlm import MlmRecipe
from training.reports.progress import LoopProgress, Work
from worker.text.packing import to_device
from worker.text.tokenisation import WordPieceTokeniser

REPORT_STEPS = 50
"""Steps between two readings of the loss on a GPU, since each reading synchronises with it."""

_EPOCH, _BATCH, _MEASURE = 1, 2, 3  # purpose of a random generator, as part of its seed


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The MLM metrics on held-out text after `epoch` epochs (0: before training).

    `loss` is the mean cross entropy in nats and `accuracy` the fraction predicted correctly of
    `pieces` masked word pieces, which are the same at every measurement.
    """

    epoch: int
    loss: float
    accuracy: float
    pieces: int


class MlmTrainer:
    """A run of one recipe over the documents `train`, measured on `held`.

    `identity` holds everything that determines the result; the saved state of a run with another
    identity is refused.
    """

    def __init__(
        self,
        model: MaskedModel,
        tokeniser: WordPieceTokeniser,
        train: Pieces,
        held: Pieces,
        recipe: MlmRecipe,
        settings: LoopSettings,
        folder: Path,
        identity: dict[str, Any],
    ) -> None:
        self.model = model.to(settings.device)
        self._tokeniser = tokeniser
        self._train, self._held = train, held
        self._windows = pack_windows(train, recipe.max_pieces)
        self._held_windows = pack_windows(held, recipe.max_pieces)
        self._known = mask_pieces(tokeniser.vocabulary(), len(model.bias))
        self._recipe = recipe
        self._settings = settings
        parameters = dict(model.named_parameters())
        self._parameters = tuple(parameters.values())
        self._optimiser = make_optimiser(
            model, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        # On a GPU batches are large enough for the unpacked network of transformers.
        on_cpu = settings.device.type == "cpu"
        self._packed = fast_network(model, settings.device, bf16=settings.bf16) if on_cpu else None
        self._at = RunState(folder, identity, model, parameters, self._optimiser, settings.device)
        self._measured: list[HeldOut] = []

    @property
    def seconds(self) -> float:
        """Seconds spent in training steps, summed over all starts of the run."""
        return self._at.seconds

    @property
    def step(self) -> int:
        """The number of steps done, over all starts of the run."""
        return self._at.step

    @property
    def windows(self) -> int:
        """The number of windows in an epoch."""
        return len(self._windows)

    @property
    def measured(self) -> tuple[HeldOut, ...]:
        """The held-out metrics before training and after each epoch so far."""
        return tuple(self._measured)

    def resume(self) -> bool:
        """Load the latest saved state, if there is one; return whether there was.

        :raises TrainingError: if the state belongs to a run with other settings.
        """
        state = self._at.resume()
        if state is None:
            return False
        self._measured = [HeldOut(**values) for values in state.values["measured"]]
        return True

    def save(self) -> None:
        """Save the current state."""
        self._at.save({}, {"measured": [asdict(found) for found in self._measured]})

    def run(
        self,
        on_progress: Callable[[LoopProgress], None],
        on_measured: Callable[[HeldOut], None],
        should_stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        work: Work | None = None,
    ) -> bool:
        """Train to the end of the recipe, or until `should_stop`; return whether training ended.

        `on_measured` is called with the held-out metrics before training and after each epoch;
        `on_progress` is called every `REPORT_STEPS` steps on a GPU, at every step elsewhere. The
        state is saved after each epoch, every `save_seconds`, and when training is stopped. `work`
        receives the progress of measurements.

        :raises DivergenceError: if the loss is not finite.
        """
        recipe, at = self._recipe, self._at
        work = work or Work()
        if not self._measured:
            torch.manual_seed(recipe.seed)
            self._measured.append(self.measure(0, work))
            on_measured(self._measured[-1])
        total = sum(len(self._draw(epoch)) for epoch in range(recipe.epochs))
        total = min(total, recipe.max_steps or total)
        watch = _LossMeter(self._settings.device, clock)
        saved = clock()
        # A run that was stopped at its last step has not been measured yet.
        while at.epoch < recipe.epochs and (at.step < total or at.batch):
            batches = self._draw(at.epoch)
            self.model.train()
            watch.begin()
            while at.batch < len(batches) and at.step < total:
                numbers = batches[at.batch]
                loss, pieces = self._train_step(self._windows[numbers], total)
                at.batch += 1
                at.step += 1
                watch.add(loss, pieces)
                ends = at.batch == len(batches) or at.step == total
                stop = should_stop()
                due = stop or clock() - saved >= self._settings.save_seconds
                if ends or due or watch.due(at.step):
                    at.seconds += watch.read(at.step)
                    on_progress(LoopProgress(at.step, total, at.epoch, watch.loss, watch.rate))
                if due:
                    self.save()
                    saved = clock()
                    watch.begin()
                if stop:
                    return False
            at.epoch, at.batch = at.epoch + 1, 0
            self._measured.append(self.measure(at.epoch, work))
            on_measured(self._measured[-1])
            self.save()
            saved = clock()
        return True

    def measure(self, epoch: int, work: Work) -> HeldOut:
        """Compute the held-out metrics, with the same masking each time."""
        total = len(self._held_windows)
        with work.stage("reading held-out text", total, "windows") as stage:
            return self._measure(epoch, stage.advance)

    def _measure(self, epoch: int, progress: Callable[[int], None]) -> HeldOut:
        recipe = self._recipe
        generator = np.random.default_rng([recipe.seed, _MEASURE])
        sums: list[Tensor] = []
        pieces = 0
        self.model.eval()
        with torch.inference_mode():
            for numbers in draw_batches(self._held_windows, recipe.batch_pieces, generator):
                batch = self._mask(self._held, self._held_windows[numbers], generator)
                logits, targets = self._guess(batch)
                loss = cross_entropy(logits, targets, reduction="sum")
                right = (logits.argmax(dim=1) == targets).sum()
                sums.append(torch.stack((loss.double(), right.double())))
                pieces += len(batch.targets)
                progress(len(numbers))
        loss_sum, right_sum = torch.stack(sums).sum(dim=0).tolist()
        return HeldOut(epoch, loss_sum / pieces, right_sum / pieces, pieces)

    def _draw(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        generator = np.random.default_rng([self._recipe.seed, _EPOCH, epoch])
        return draw_batches(self._windows, self._recipe.batch_pieces, generator)

    def _mask(
        self, pieces: Pieces, windows: npt.NDArray[np.int64], generator: np.random.Generator
    ) -> MaskedBatch:
        recipe = self._recipe
        return mask_batch(
            pieces,
            windows,
            self._tokeniser,
            self._known,
            recipe.mask_share,
            recipe.max_pieces,
            generator,
        )

    def _guess(self, batch: MaskedBatch) -> tuple[Tensor, Tensor]:
        """Return fp32 logits (chosen, vocabulary), and the true ids (chosen,)."""
        device = self._settings.device
        if self._packed is not None:
            rows, chosen = packed_rows(batch)
            states = self._packed.states(rows, letter_case=self._recipe.letter_case, chosen=chosen)
            return self.model.guess(states), torch.from_numpy(batch.targets)
        ids, case, chosen, targets = (
            to_device(array, device)
            for array in (batch.ids, batch.case, batch.chosen, batch.targets)
        )
        mask = None if batch.mask.all() else to_device(batch.mask, device)
        types = case.long() if self._recipe.letter_case else None
        with torch.autocast(device.type, torch.bfloat16, enabled=self._settings.bf16):
            logits: Tensor = self.model(ids.long(), mask, types, chosen)
        return logits.float(), targets

    def _train_step(self, windows: npt.NDArray[np.int64], total: int) -> tuple[Tensor, int]:
        """Do a step; return its loss, still on the device, and its number of word pieces."""
        recipe = self._recipe
        set_rates(self._optimiser, rate_factor(self._at.step, total, recipe.warmup))
        generator = np.random.default_rng([recipe.seed, _BATCH, self._at.epoch, self._at.batch])
        batch = self._mask(self._train, windows, generator)
        loss = cross_entropy(*self._guess(batch))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, recipe.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return loss.detach(), int(batch.mask.sum())


def packed_rows(batch: MaskedBatch) -> tuple[Rows, Tensor]:
    """Return masked windows packed without padding, and the rows to predict."""
    there = np.flatnonzero(batch.mask)
    lengths = batch.mask.sum(axis=1)
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    rows = Rows(
        torch.from_numpy(batch.ids.ravel()[there].astype(np.int64)),
        torch.from_numpy(np.arange(len(there)) - np.repeat(bounds[:-1], lengths)),
        torch.from_numpy(batch.case.ravel()[there].astype(np.int64)),
        torch.from_numpy(bounds.astype(np.int32)),
        tuple(lengths.tolist()),
    )
    return rows, torch.from_numpy(np.searchsorted(there, batch.chosen))


class _LossMeter:
    """Losses and word pieces since the last reading, and the smoothed loss and speed."""

    def __init__(self, device: torch.device, clock: Callable[[], float]) -> None:
        self.loss = math.nan
        self.rate = math.nan
        self._every = REPORT_STEPS if device.type == "cuda" else 1
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Start timing; earlier losses and pieces are discarded."""
        self._begun = self._clock()
        self._losses: list[Tensor] = []
        self._pieces = 0

    def add(self, loss: Tensor, pieces: int) -> None:
        self._losses.append(loss)
        self._pieces += pieces

    def due(self, step: int) -> bool:
        return step % self._every == 0

    def read(self, step: int) -> float:
        """Read the losses, which synchronises with the device; return the seconds since `begin`."""
        loss = float(torch.stack(self._losses).mean())
        if not math.isfinite(loss):
            raise DivergenceError(
                f"the loss is {loss} at step {step}: the run diverged; lower the learning rate "
                "(--learning-rate)"
            )
        spent = self._clock() - self._begun
        now = self._pieces / max(spent, 1e-9)
        keep = 0.98 ** len(self._losses)
        self.loss = loss if math.isnan(self.loss) else keep * self.loss + (1 - keep) * loss
        self.rate = now if math.isnan(self.rate) else 0.8 * self.rate + 0.2 * now
        self.begin()
        return spent
