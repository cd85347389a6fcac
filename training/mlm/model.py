"""The MLM network: an encoder with BERT's masked-language-model head."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from schemas.errors import TrainingError


class MaskedModel(nn.Module):
    """An encoder with a masked-language-model head (Devlin et al. 2019, appendix A.1).

    The head is a dense layer, GELU and a layer norm; its decoder is the encoder's own table of word
    pieces (Press and Wolf 2017, "Using the Output Embedding to Improve Language Models") and a
    bias of its own. The head is newly initialised, and is not exported.
    """

    def __init__(self, encoder: nn.Module, bias: Tensor) -> None:
        """Put a newly initialised head on `encoder`; `bias` has shape (vocabulary,).

        :raises TrainingError: if the encoder has no word-piece embedding table.
        """
        super().__init__()
        table = getattr(encoder, "get_input_embeddings", lambda: None)()
        if not isinstance(table, nn.Embedding):
            raise TrainingError(
                f"the encoder {type(encoder).__name__} has no table of word pieces to guess with; "
                "take a BERT-like one"
            )
        config = encoder.config
        hidden = int(config.hidden_size)  # type: ignore[union-attr,arg-type]
        self.encoder = encoder
        self.dense = nn.Linear(hidden, table.embedding_dim)
        self.norm = nn.LayerNorm(
            table.embedding_dim, eps=float(getattr(config, "layer_norm_eps", 1e-12))
        )
        self.bias = nn.Parameter(bias.clone())
        # A 4-dimensional mask is passed on as it is; the values of a 2-dimensional one
        # are inspected, which would synchronise with the device at every step.
        self._wide_mask = getattr(config, "model_type", "") == "bert"
        nn.init.normal_(self.dense.weight, std=0.02)
        nn.init.zeros_(self.dense.bias)

    def forward(self, ids: Tensor, mask: Tensor | None, case: Tensor | None, at: Tensor) -> Tensor:
        """Return the vocabulary logits at the chosen positions.

        :param ids: vocabulary ids, special pieces included, shape (windows, pieces)
        :param mask: false at padding, same shape; None if there is no padding
        :param case: letter-case classes as token types, same shape, or None
        :param at: indices into the flattened batch, shape (chosen,)
        :returns: logits, shape (chosen, vocabulary)
        """
        inputs = {"input_ids": ids}
        if mask is not None:
            inputs["attention_mask"] = mask[:, None, None, :] if self._wide_mask else mask
        if case is not None:
            inputs["token_type_ids"] = case
        states: Tensor = self.encoder(**inputs).last_hidden_state
        return self.guess(states.reshape(-1, states.shape[-1]).index_select(0, at))

    def guess(self, states: Tensor) -> Tensor:
        """Return the logits (chosen, vocabulary) of last hidden states (chosen, hidden)."""
        guess = self.norm(gelu(self.dense(states)))
        table: Tensor = self.encoder.get_input_embeddings().weight  # type: ignore[operator]
        return linear(guess, table, self.bias)


def frequency_bias(counts: Tensor) -> Tensor:
    """Return the log of each word piece's smoothed relative frequency, shape (vocabulary,).

    A head with this bias starts from the unigram distribution of the text.
    """
    smoothed = counts.to(torch.float64) + 1.0
    return (smoothed / smoothed.sum()).log().to(torch.float32)
