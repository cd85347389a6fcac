"""The state of a training run, saved so that a resumed run gives bit-identical results."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from schemas.errors import TrainingError
from training.finetune.state import SavedState, load_state, save_state

_MODEL = "model/"
_OPTIMISER = "optimiser/"
_CPU_GENERATOR, _DEVICE_GENERATOR = "random/cpu", "random/device"


class RunState:
    """A run's position in its data, and everything else that its next step depends on.

    `epoch` counts from 0, `batch` from the start of the epoch, `step` from the start of the run;
    `seconds` is the time spent in steps, over all starts. `identity` holds everything that
    determines the result, as JSON values; a saved state with another identity is refused.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        model: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        optimiser: torch.optim.Optimizer,
        device: torch.device,
    ) -> None:
        """Create the state of a run before its first step.

        :param parameters: all parameters that the optimiser updates, by name
        """
        self.epoch = self.batch = self.step = 0
        self.seconds = 0.0
        self._folder = folder
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._model = model
        self._parameters = parameters
        self._optimiser = optimiser
        self._device = device

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Save the current state, with the loop's own tensors and values."""
        saved = with_prefix(self._model.state_dict(), _MODEL) | dict(tensors)
        for name, parameter in self._parameters.items():
            moments = self._optimiser.state.get(parameter, {})
            saved |= with_prefix(moments, f"{_OPTIMISER}{name}/")
        saved[_CPU_GENERATOR] = torch.get_rng_state()
        if self._device.type == "cuda":
            saved[_DEVICE_GENERATOR] = torch.cuda.get_rng_state(self._device)
        place = {
            "identity": self._identity,
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "seconds": self.seconds,
        }
        save_state(self._folder, self.step, SavedState(saved, {**place, **values}))

    def resume(self) -> SavedState | None:
        """Load the latest saved state and return it; None if there is none.

        :raises TrainingError: if it belongs to a run with another identity, or cannot be read.
        """
        state = load_state(self._folder)
        if state is None:
            return None
        was = state.values["identity"]
        if was != self._identity:
            differing = [key for key in self._identity if was.get(key) != self._identity[key]]
            raise TrainingError(
                f"{self._folder} holds the state of another run (differing: "
                f"{', '.join(differing) or 'keys'}); give another --output, or --restart"
            )
        self._model.load_state_dict(without_prefix(state.tensors, _MODEL))
        for place, tensor in without_prefix(state.tensors, _OPTIMISER).items():
            name, key = place.split("/")
            parameter = self._parameters[name]
            # AdamW keeps its step count on the CPU.
            value = tensor if key == "step" else tensor.to(parameter.device)
            self._optimiser.state[parameter][key] = value.clone()
        torch.set_rng_state(state.tensors[_CPU_GENERATOR])
        if _DEVICE_GENERATOR in state.tensors:
            torch.cuda.set_rng_state(state.tensors[_DEVICE_GENERATOR], self._device)
        self.epoch, self.batch = state.values["epoch"], state.values["batch"]
        self.step, self.seconds = state.values["step"], state.values["seconds"]
        return state


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return `tensors` on the CPU, contiguous, with `prefix` before their names."""
    return {prefix + name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the `tensors` whose names begin with `prefix`, with the prefix removed."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
