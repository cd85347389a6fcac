"""The network: one shared encoder, and all task heads as one matrix product.

Multi-task learning with a shared encoder follows Caruana 1997; a linear tagging head on BERT's last
layer follows Devlin et al. 2019.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from schemas.errors import CheckpointError
from worker.text.tokenisation import CASE_CLASSES


class MultiHeadModel(nn.Module):
    """An encoder with one linear layer over the concatenated tags of all heads.

    `encoder` is any transformers encoder without a pooler; `tags` the number of tags of all
    heads together.
    """

    def __init__(self, encoder: nn.Module, hidden_size: int, tags: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.Linear(hidden_size, tags)

    def hidden(self, ids: Tensor, mask: Tensor, case: Tensor | None) -> Tensor:
        """Encode padded word pieces.

        :param ids: vocabulary ids, special ones included, shape (texts, pieces), int64
        :param mask: true where a piece is not padding, same shape
        :param case: letter-case classes as token types, same shape, or None
        :returns: the last hidden states, shape (texts, pieces, hidden)
        """
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if case is not None:
            inputs["token_type_ids"] = case
        states: Tensor = self.encoder(**inputs).last_hidden_state
        return states

    def forward(self, ids: Tensor, mask: Tensor, case: Tensor | None, select: Tensor) -> Tensor:
        """Score the tags of the selected pieces only.

        :param select: true at the pieces to score, shape (texts, pieces)
        :returns: logits, shape (selected pieces, tags), in row order
        """
        states = self.hidden(ids, mask, case)
        chosen = states.reshape(-1, states.shape[-1])[select.reshape(-1).nonzero().squeeze(1)]
        logits: Tensor = self.heads(self.dropout(chosen))
        return logits


def use_case_classes(encoder: nn.Module, config: PretrainedConfig) -> None:
    """Let the encoder read letter-case classes as token types, in full_name.

    The token-type table is widened to `CASE_CLASSES` rows, each a copy of the pretrained row 0: the
    network starts with the pretrained output and learns the meaning of case.

    :raises CheckpointError: if the encoder has no token types.
    """
    embeddings = getattr(encoder, "embeddings", None)
    old = getattr(embeddings, "token_type_embeddings", None)
    if not isinstance(embeddings, nn.Module) or not isinstance(old, nn.Embedding):
        raise CheckpointError(
            f"the encoder {config.model_type!r} has no token types to carry letter case; "
            "train it without letter_case"
        )
    table = nn.Embedding(CASE_CLASSES, old.embedding_dim)
    with torch.no_grad():
        table.weight.copy_(old.weight[0].expand(CASE_CLASSES, -1))
    embeddings.token_type_embeddings = table
    config.type_vocab_size = CASE_CLASSES


def in_one_line(error: Exception) -> str:
    """Return the text of a library's exception in one line, shortened."""
    return " ".join(str(error).split())[:300] or type(error).__name__
