"""A compact summary of a file's committed blocks, small enough to send to the workers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipelines.blocks.tables import Footer
from worker.storage.objects import ObjectState


@dataclass(frozen=True, slots=True)
class KnownBlocks:
    """The committed blocks of a file when the run began, from a listing of the output.

    The footers of a file's blocks differ in few fields, so they are stored once: `kinds` are the
    distinct footers, without start, records and revision; `blocks` are (start, records, index in
    `kinds`, bytes of the citations file, its version). A version that may be stale is empty.
    """

    kinds: tuple[Footer, ...] = ()
    blocks: tuple[tuple[int, int, int, int, str], ...] = ()

    @classmethod
    def of(cls, found: Iterable[tuple[int, Footer, ObjectState]]) -> "KnownBlocks":
        """Return the summary of blocks, given as start, footer, and state of the citations file."""
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
        """Return, by start, the footers of blocks whose files are unchanged in a new listing."""
        now = dict(states)
        return {
            start: self._footer(start, records, number)
            for start, records, number, size, version in self.blocks
            if version and start in now and (size, version) == now[start][:2]
        }

    def _footer(self, start: int, records: int, number: int) -> Footer:
        kind = self.kinds[number]
        return replace(kind, key=replace(kind.key, start=start), records=records)
