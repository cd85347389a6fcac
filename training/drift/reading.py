"""The stored output of `pubner annotate` and `stream`, block by block, in bounded memory.

The files of a block have the same name in each data set, and a mention has the offset of its
citation, so a block's mentions get the checkpoint and day of their citations without a global join.
Only the needed columns are read, mentions in batches of some tens of thousands.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from schemas.errors import InputError
from schemas.records import CitationStatus
from worker.drift.tally import CELLS, Counts, score_cells

_ROWS = 65_536
_CITATION_COLUMNS = ["offset", "status", "checkpoint_id", "annotated_at"]
_MENTION_COLUMNS = ["offset", "task", "score"]
_EPOCH = date(1970, 1, 1).toordinal()

Key = tuple[str, date]
"""A checkpoint's id, and a UTC day."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockDay:
    """The annotations of one checkpoint on one day in one block.

    `name` is the name of the block's files, `offsets` the annotated citations, ascending; `hashes`
    gives them a pseudo-random order that is the same each time. `cells` holds each head's mention
    counts by score cell.
    """

    key: Key
    name: str
    offsets: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    cells: dict[str, Counts]


class StoredOutput:
    """The data sets under a folder or a URL such as s3://bucket/folder."""

    def __init__(self, place: str) -> None:
        """Open it.

        :raises InputError: if there is no such output, or the file system cannot be reached.
        """
        self.place = place
        try:
            if "://" in place:
                self._files, self._root = fs.FileSystem.from_uri(place)
            else:
                self._files, self._root = fs.LocalFileSystem(), place
            self.names = self._list("citations")
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{place!r} is no output that can be read ({_reason(error)}); name the --output of "
                "an annotate or stream run"
            ) from error

    def _list(self, kind: str) -> tuple[str, ...]:
        found = self._files.get_file_info(fs.FileSelector(f"{self._root}/{kind}"))
        names = (info.base_name for info in found if info.type == fs.FileType.File)
        return tuple(
            sorted(name for name in names if name.endswith(".parquet") and name[0] not in "._")
        )

    def block_days(self, since: date | None, until: date | None) -> Iterator[BlockDay]:
        """Yield the annotations of the days `since` to `until` (inclusive), by block and day.

        :raises InputError: if a file cannot be read, or was not written by pubner.
        """
        for name in self.names:
            try:
                yield from self._block(name, since, until)
            except (OSError, pa.ArrowException, KeyError) as error:
                raise self._unreadable(name, error) from error

    def texts(self, name: str, offsets: npt.NDArray[np.int64]) -> list[str]:
        """Return the stored texts of a block's citations at `offsets`; empty if none are stored.

        :raises InputError: if the file cannot be read.
        """
        try:
            with self._open("citations", name) as file:
                wanted = pa.array(offsets)
                return [
                    text
                    for batch in file.iter_batches(_ROWS, columns=["offset", "text"])
                    for text in _texts_at(batch, wanted)
                ]
        except (OSError, pa.ArrowException, KeyError) as error:
            raise self._unreadable(name, error) from error

    def _block(self, name: str, since: date | None, until: date | None) -> Iterator[BlockDay]:
        with self._open("citations", name) as file:
            table = file.read(columns=_CITATION_COLUMNS)
        table = table.filter(pc.equal(table["status"], CitationStatus.ANNOTATED.value))
        days = table["annotated_at"].cast(pa.int64()).to_numpy() // 86_400_000_000 + _EPOCH
        kept = np.ones(len(days), dtype=np.bool_)
        if since is not None:
            kept &= days >= since.toordinal()
        if until is not None:
            kept &= days <= until.toordinal()
        if not kept.any():
            return
        table, days = table.filter(pa.array(kept)), days[kept]
        order = np.argsort(table["offset"].to_numpy(), kind="stable")
        offsets, days = table["offset"].to_numpy()[order], days[order]
        ids = table["checkpoint_id"].combine_chunks().dictionary_encode()
        checkpoints = ids.indices.to_numpy()[order]
        pairs, groups = np.unique(
            np.stack([checkpoints, days], axis=1), axis=0, return_inverse=True
        )
        groups = groups.reshape(-1)
        cells = self._cells(name, offsets, groups, len(pairs))
        seed = hashlib.sha256(name.encode()).digest()[:8]
        hashes = _mixed(offsets.astype(np.uint64) ^ np.uint64(int.from_bytes(seed, "little")))
        for number, (checkpoint, day) in enumerate(pairs.tolist()):
            ours = groups == number
            key = ids.dictionary[checkpoint].as_py(), date.fromordinal(day)
            yield BlockDay(key, name, offsets[ours], hashes[ours], cells[number])

    def _cells(
        self, name: str, offsets: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], count: int
    ) -> list[dict[str, Counts]]:
        """Return each head's mention counts by score cell, for each group of citations."""
        found: list[dict[str, Counts]] = [{} for _ in range(count)]
        with self._open("mentions", name) as file:
            for batch in file.iter_batches(_ROWS, columns=_MENTION_COLUMNS):
                at = batch["offset"].to_numpy()
                rows = np.minimum(np.searchsorted(offsets, at), len(offsets) - 1)
                theirs = np.where(offsets[rows] == at, groups[rows], -1)
                heads = batch["task"].dictionary_encode()
                numbers = heads.indices.to_numpy()
                scores = batch["score"].to_numpy()
                for number, head in enumerate(heads.dictionary.to_pylist()):
                    for group in range(count):
                        ours = scores[(numbers == number) & (theirs == group)]
                        if len(ours):
                            before = found[group].setdefault(head, np.zeros(CELLS, np.int64))
                            before += score_cells(ours)
        return found

    def _open(self, kind: str, name: str) -> pq.ParquetFile:
        return pq.ParquetFile(self._files.open_input_file(f"{self._root}/{kind}/{name}"))

    def _unreadable(self, name: str, error: Exception) -> InputError:
        return InputError(
            f"{self.place}: the block {name} cannot be read ({_reason(error)}); annotate it again, "
            "or run while nothing is being written"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A sample of a day's citations, those with the smallest hashes, by block name and offset."""

    size: int
    hashes: npt.NDArray[np.uint64]
    names: npt.NDArray[np.object_]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, size: int) -> "Sample":
        """Return an empty sample for at most `size` citations."""
        return cls(size, np.empty(0, np.uint64), np.empty(0, np.object_), np.empty(0, np.int64))

    def with_block(self, block: BlockDay) -> "Sample":
        """Return the sample extended by the citations of `block`."""
        names = np.full(len(block.offsets), block.name, dtype=np.object_)
        hashes = np.concatenate([self.hashes, block.hashes])
        kept = np.argsort(hashes, kind="stable")[: self.size]
        return Sample(
            self.size,
            hashes[kept],
            np.concatenate([self.names, names])[kept],
            np.concatenate([self.offsets, block.offsets])[kept],
        )

    def by_block(self) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
        """Yield each block's name and the offsets chosen in it, by name."""
        for name in sorted(set(self.names.tolist())):
            yield name, np.sort(self.offsets[self.names == name])


def _texts_at(batch: pa.RecordBatch, wanted: pa.Array) -> Sequence[str]:
    chosen = batch.filter(pc.is_in(batch["offset"], value_set=wanted))
    texts: list[str | None] = chosen["text"].to_pylist()
    return [text for text in texts if text is not None]


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return a hash of each number: SplitMix64's output function (Steele, Lea & Flood 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
