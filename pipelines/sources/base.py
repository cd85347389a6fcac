"""The interface of a source: what a bounded run annotates, and how it is read as blocks."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from pipelines.blocks.elements import ReadBlock

E = TypeVar("E")


class Source(Protocol[E]):
    """A bounded source of blocks. Workers get a pickled copy of it.

    `read` runs in a thread, one block ahead of the model. It should call `check` of the run's
    `WorkerChannel` between records, so that a request to stop ends it.
    """

    def elements(self) -> Sequence[E]:
        """Return the elements, which Beam distributes over the workers; each can be pickled."""

    def read(self, element: E) -> Iterator[ReadBlock]:
        """Yield the blocks of one element, in order.

        A record that cannot be read is a dead letter of its block, and raises nothing.
        """
