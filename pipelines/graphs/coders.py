"""Beam coder for blocks: pickle, with a cheap size estimate.

A block never leaves the fused stage that read it. But Beam samples the size of elements for its
metrics, for which its default coder would pickle a whole block each time.
"""

import apache_beam as beam
from apache_beam.coders.typecoders import registry

from pipelines.blocks.elements import AnnotatedBlock, ReadBlock

_RECORD_BYTES = 100
"""Approximate size of a record without its text, in bytes."""


class BlockCoder(beam.coders.Coder):
    """Coder that pickles blocks and estimates their size."""

    def encode(self, value: ReadBlock | AnnotatedBlock) -> bytes:
        """Return the block as bytes."""
        encoded: bytes = beam.coders.PickleCoder().encode(value)
        return encoded

    def decode(self, encoded: bytes) -> ReadBlock | AnnotatedBlock:
        """Return the block that `encode` pickled."""
        block: ReadBlock | AnnotatedBlock = beam.coders.PickleCoder().decode(encoded)
        return block

    def estimate_size(self, value: ReadBlock | AnnotatedBlock) -> int:
        """Return the approximate encoded size without mentions; Beam uses it for metrics only."""
        texts = sum(
            len(item.citation.title) + sum(len(part.text) for part in item.citation.abstract)
            for item in value.citations
        )
        dead_letters = sum(len(dead_letter.payload) for dead_letter in value.dead_letters)
        records = len(value.citations) + len(value.dead_letters)
        return texts + dead_letters + _RECORD_BYTES * records

    def is_deterministic(self) -> bool:
        """Whether equal blocks have equal bytes: not guaranteed, and not needed."""
        return False


def register_coders() -> None:
    """Register the coder with Beam; call it before building a graph of blocks."""
    for kind in (ReadBlock, AnnotatedBlock):
        registry.register_coder(kind, BlockCoder)
