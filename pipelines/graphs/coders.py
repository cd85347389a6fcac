"""How Beam writes blocks down where it must, and how large it takes them to be where it asks.

A block never leaves the stage that read it. But Beam samples the size of elements for its metrics,
and its own coder would pickle a whole block each time to know it.
"""

import apache_beam as beam
from apache_beam.coders.typecoders import registry

from pipelines.blocks.elements import AnnotatedBlock, ReadBlock

_RECORD_BYTES = 100
"""About what a record takes beside its text."""


class BlockCoder(beam.coders.Coder):
    """Pickles blocks; their size is an estimate."""

    def encode(self, value: ReadBlock | AnnotatedBlock) -> bytes:
        """Return the block as bytes."""
        encoded: bytes = beam.coders.PickleCoder().encode(value)
        return encoded

    def decode(self, encoded: bytes) -> ReadBlock | AnnotatedBlock:
        """Return the block that `encode` wrote down."""
        block: ReadBlock | AnnotatedBlock = beam.coders.PickleCoder().decode(encoded)
        return block

    def estimate_size(self, value: ReadBlock | AnnotatedBlock) -> int:
        """Return about how many bytes `encode` gives, without mentions; Beam only shows it."""
        texts = sum(
            len(item.citation.title) + sum(len(part.text) for part in item.citation.abstract)
            for item in value.citations
        )
        letters = sum(len(letter.payload) for letter in value.dead_letters)
        records = len(value.citations) + len(value.dead_letters)
        return texts + letters + _RECORD_BYTES * records

    def is_deterministic(self) -> bool:
        """Whether equal blocks always give equal bytes: nothing relies on it."""
        return False


def register_coders() -> None:
    """Tell Beam of the coder; to be called before a graph of blocks is built."""
    for kind in (ReadBlock, AnnotatedBlock):
        registry.register_coder(kind, BlockCoder)
