"""The committed blocks of a file as a listing of the output showed them, small enough to travel."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipelines.blocks.tables import Footer
from worker.storage.objects import ObjectState


@dataclass(frozen=True, slots=True)
class KnownBlocks:
    """What was known of a file's committed blocks when the run began.

    Blocks of a file differ in little, so that is all that is kept of each: `kinds` are the footers
    that there are, without start, records and revision; `blocks` are (start, records, number of the
    kind, bytes of the citations file, its version). A version that may not be trusted is empty.
    """

    kinds: tuple[Footer, ...] = ()
    blocks: tuple[tuple[int, int, int, int, str], ...] = ()

    @classmethod
    def of(cls, found: Iterable[tuple[int, Footer, ObjectState]]) -> "KnownBlocks":
        """Return what is known of blocks: start, footer, and state of the citations file."""
        kinds: dict[Footer, int] = {}
        blocks = []
        for start, footer, state in found:
            kind = replace(footer, key=replace(footer.key, start=0), records=0, revision="")
            number = kinds.setdefault(kind, len(kinds))
            version = state.version if state.settled else ""
            blocks.append((start, footer.records, number, state.size, version))
        return cls(tuple(kinds), tuple(blocks))

    def footers(self) -> dict[int, Footer]:
        """Return the footers, without revision, by block start."""
        return {
            start: self._footer(start, records, number)
            for start, records, number, *_ in self.blocks
        }

    def unchanged(self, states: Iterable[tuple[int, ObjectState]]) -> dict[int, Footer]:
        """Return the footers of the blocks that are listed now, by start, as they were then."""
        now = dict(states)
        return {
            start: self._footer(start, records, number)
            for start, records, number, size, version in self.blocks
            if version and start in now and (size, version) == now[start][:2]
        }

    def _footer(self, start: int, records: int, number: int) -> Footer:
        kind = self.kinds[number]
        return replace(kind, key=replace(kind.key, start=start), records=records)
