"""The family of all encoders that transformers has."""

import inspect
from typing import Any

from torch import nn
from transformers import PretrainedConfig

from schemas.errors import CheckpointError
from worker.network.family import ModuleFamily
from worker.network.model import in_one_line


class TransformersFamily(ModuleFamily):
    """Encoders as transformers implements them."""

    name = "transformers"

    def is_supported(self, config: PretrainedConfig) -> bool:
        """Whether transformers has a configuration class for this model type."""
        return type(config) is not PretrainedConfig

    def build(self, config: PretrainedConfig) -> nn.Module:
        """Return an encoder with random weights, without a pooler.

        :raises CheckpointError: if transformers does not support the configuration.
        """
        from transformers import AutoModel  # slow to import, and not needed for BERT inference

        try:
            encoder: nn.Module = AutoModel.from_config(
                config, trust_remote_code=False, **model_options(config)
            )
        except Exception as error:  # each encoder raises its own exceptions for invalid values
            raise CheckpointError(
                f"transformers cannot build this encoder: {in_one_line(error)}"
            ) from error
        return encoder


def model_options(config: PretrainedConfig) -> dict[str, Any]:
    """Return the arguments that leave out the pooler, and choose an attention that there is."""
    from transformers import MODEL_MAPPING

    kind: Any = MODEL_MAPPING[type(config)]
    options: dict[str, Any] = {
        # Encoders with relative position biases, such as MPNet, have none but "eager".
        "attn_implementation": "sdpa" if getattr(kind, "_supports_sdpa", False) else "eager"
    }
    if "add_pooling_layer" in inspect.signature(kind.__init__).parameters:
        options["add_pooling_layer"] = False
    return options
