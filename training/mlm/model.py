"""The network that guesses masked word pieces: an encoder under BERT's output head."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from schemas.errors import TrainingError


class MaskedModel(nn.Module):
    """An encoder with a masked-language-model head (Devlin et al. 2019, appendix A.1).

    The head is a dense layer, GELU and a layer norm; its decoder is the encoder's own table of word
    pieces (Press and Wolf 2017, "Using the Output Embedding to Improve Language Models") and a bias
    of its own. It starts afresh, and training drops it when it is done.
    """

    def __init__(self, encoder: nn.Module, bias: Tensor) -> None:
        """Put a fresh head on `encoder`; `bias` has shape (vocabulary,).

        :raises TrainingError: if the encoder has no table of word pieces.
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
        # A 4-dimensional mask is passed on as it is; a 2-dimensional one is looked at, for which
        # the host would wait for the device at every step. Other encoders make several of one.
        self._wide_mask = getattr(config, "model_type", "") == "bert"
        nn.init.normal_(self.dense.weight, std=0.02)
        nn.init.zeros_(self.dense.bias)

    def forward(self, ids: Tensor, mask: Tensor | None, case: Tensor | None, at: Tensor) -> Tensor:
        """Score the vocabulary at the chosen places alone.

        :param ids: vocabulary ids, special ones included, shape (windows, pieces)
        :param mask: true where a piece is no padding, same shape; None where there is no padding
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
        """Score the vocabulary for last hidden states, (chosen, hidden); (chosen, vocabulary)."""
        guess = self.norm(gelu(self.dense(states)))
        table: Tensor = self.encoder.get_input_embeddings().weight  # type: ignore[operator]
        return linear(guess, table, self.bias)


def frequency_bias(counts: Tensor) -> Tensor:
    """Return the logarithm of each word piece's smoothed share of `counts`, shape (vocabulary,).

    A head that starts from it does not have to learn first which pieces are common.
    """
    smoothed = counts.to(torch.float64) + 1.0
    return (smoothed / smoothed.sum()).log().to(torch.float32)
