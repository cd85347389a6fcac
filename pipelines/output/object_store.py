"""An output in an object store: a journal for each partition makes the write of three files atomic.

An object store has no rename and no lock. So the three new files of a block are first written, as
one object, to the journal of its partition: this commits the replacement. Then the three objects
are written (mentions, dead letters, citations last), and the journal is overwritten by an empty
one. The next writer of the partition that finds a pending journal rolls it forward before anything
else, so a writer that is killed never leaves a block half replaced for good.

Where the store has conditional PUT, every PUT names the version that it replaces. A writer that
was overtaken gets a `ConflictError`, reads again and merges, however long it was stopped.
"""

import hashlib
import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, BinaryIO

from pydantic import BaseModel, NonNegativeInt

from pipelines.blocks.keys import BlockKey, encode_source, file_name
from pipelines.output.store import Content, Store
from schemas.arrow import KINDS
from schemas.errors import ConflictError, OutputError
from worker.storage.objects import ListedObjects, Objects

JOURNALS = ".journal"
_RECOVERY_ATTEMPTS = 100


class ObjectStore(Store):
    """An output prefix in an object store, which has no locks."""

    def __init__(self, objects: ListedObjects) -> None:
        self._objects = objects

    @property
    def objects(self) -> ListedObjects:
        """The objects below the prefix."""
        return self._objects

    @contextmanager
    def replacing(self, key: BlockKey) -> Iterator["_ObjectReplacement"]:
        """Recover the block's partition; other writers are detected, not locked out."""
        journal = f"{JOURNALS}/{encode_source(key.source)}-{key.partition}"
        version = self._recover(journal)
        yield _ObjectReplacement(self.objects, file_name(key), journal, version)

    def _recover(self, journal: str) -> str | None:
        """Roll a pending journal forward; return the version of the then empty journal."""
        for _ in range(_RECOVERY_ATTEMPTS):
            found = self.objects.get(journal)
            if found is None:
                return None
            entry = JournalEntry.from_bytes(found.data, journal)
            if not entry.files:
                return found.version
            try:
                _apply_journal(self.objects, entry, journal, found.version)
                return self.objects.put(
                    journal, JournalEntry(found.version).to_bytes(), over=found.version
                )
            except ConflictError:
                continue
        raise OutputError(f"{journal} in the output: too many concurrent writers")

    def recover(self, sources: Iterable[str]) -> None:
        """Roll the pending journals of all partitions of `sources` forward."""
        known = {encode_source(source) for source in sources}
        for name in self.objects.names(JOURNALS) if known else ():
            if name.rpartition("-")[0] in known:
                self._recover(f"{JOURNALS}/{name}")

    def scratch(self) -> IO[bytes]:
        """Return a temporary file on this machine."""
        return tempfile.TemporaryFile()


def _apply_journal(objects: Objects, entry: "JournalEntry", journal: str, version: str) -> None:
    """Write the files of a pending journal to their paths, unless another writer did."""
    there = {kind: objects.get(f"{kind}/{entry.name}") for kind in KINDS}
    # The entry may replace only objects that existed while the journal held it.
    again = objects.get(journal)
    if again is None or again.version != version:
        raise ConflictError(f"{journal} in the output was applied by another writer")
    for kind in KINDS:
        before = there[kind]
        if before is None or before.data != entry.files[kind]:
            over = None if before is None else before.version
            objects.put(f"{kind}/{entry.name}", entry.files[kind], over=over)


@dataclass(slots=True)
class _ObjectReplacement:
    """A replacement of a block in an object store, with the versions that were read."""

    objects: Objects
    name: str
    journal: str
    journal_version: str | None
    versions: dict[str, str | None] = field(default_factory=dict)

    def open(self, kind: str) -> BinaryIO | None:
        found = self.objects.get(f"{kind}/{self.name}")
        self.versions[kind] = None if found is None else found.version
        return None if found is None else io.BytesIO(found.data)

    def check(self) -> None:
        found = self.objects.get(self.journal)
        if (None if found is None else found.version) != self.journal_version:
            raise ConflictError(f"{self.name} is being replaced by another writer")

    def replace(self, files: Mapping[str, Content]) -> None:
        contents = {kind: _bytes_of(file) for kind, file in files.items()}
        for kind in KINDS:
            if kind not in self.versions:
                self.open(kind)
        entry = JournalEntry(self.journal_version or "", self.name, contents)
        version = self.objects.put(self.journal, entry.to_bytes(), over=self.journal_version)
        for kind in KINDS:
            self.objects.put(f"{kind}/{self.name}", contents[kind], over=self.versions[kind])
        self.objects.put(self.journal, JournalEntry(version).to_bytes(), over=version)


def _bytes_of(content: Content) -> bytes:
    if isinstance(content, bytes):
        return content
    content.seek(0)
    return content.read()


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """The content of a journal: the new files of a block; none if all were written.

    `after` is the version of the journal that this one replaced, so that no two journals are equal.
    """

    after: str
    name: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return a line of JSON, followed by the files."""
        body = b"".join(self.files[kind] for kind in KINDS if kind in self.files)
        head = _JournalHead(
            after=self.after,
            name=self.name,
            sizes={kind: len(self.files[kind]) for kind in KINDS if kind in self.files},
            sha256=hashlib.sha256(body).hexdigest(),
        )
        return json.dumps(head.model_dump()).encode("ascii") + b"\n" + body

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> "JournalEntry":
        """Return the entry from bytes written by `to_bytes`.

        :raises OutputError: if it is damaged.
        """
        line, _, body = data.partition(b"\n")
        try:
            head = _JournalHead.model_validate_json(line)
        except ValueError:
            head = None
        if head is None or hashlib.sha256(body).hexdigest() != head.sha256:
            raise OutputError(
                f"{path} in the output is damaged; remove it, and run the command again: a "
                "block that was being replaced is then written again"
            )
        files, begin = {}, 0
        for kind, size in head.sizes.items():
            files[kind] = body[begin : begin + size]
            begin += size
        return cls(head.after, head.name, files)


class _JournalHead(BaseModel):
    """The first line of a journal: the sizes of the files that follow, and their digest."""

    after: str
    name: str
    sizes: dict[str, NonNegativeInt]
    sha256: str
