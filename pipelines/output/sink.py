"""The sink of a run: where annotated blocks go. The Parquet output is one; see docs/how-to."""

from typing import Protocol

from pipelines.blocks.elements import AnnotatedBlock, WrittenBlock


class Sink(Protocol):
    """Writes annotated blocks; it is pickled, and each worker writes with a copy of its own.

    What no row can hold was made a dead letter of the block before. A worker that fails is replaced
    by another, which writes the same block again: the same block must then leave the same result.
    Blocks come in any order, and from several workers at once; one copy is called by one thread at
    a time.
    """

    def write(self, block: AnnotatedBlock) -> WrittenBlock | None:
        """Write `block`; return how many rows were written.

        A large block comes in consecutive pieces (`block.header.piece`); the result may be None
        while more of them follow (`block.header.more`).

        :raises PubnerError: if it cannot be written; that ends the run.
        """
