"""Resumable download of corpora from their public repository, verified by git blob id."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from schemas.errors import CorpusError, OutputError
from training.corpora.catalogue import PUBLIC_URL, CatalogueEntry, CatalogueFile
from training.corpora.corpus import mention_count
from training.corpora.digests import blob_id, file_blob_id
from training.corpora.download import Progress, RetryPolicy, download
from training.corpora.sentence_breaks import repair_file
from training.corpora.tsv import read_sentences
from worker.storage.atomic import commit_file


class FetchStatus(StrEnum):
    """How a file was obtained."""

    PRESENT = "present"
    FETCHED = "fetched"
    RESUMED = "resumed"
    REPAIRED = "fetched and repaired"


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A verified file, with its git blob id and how it was obtained."""

    corpus: str
    split: str
    path: Path
    blob: str
    status: FetchStatus


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Downloads corpora; `sleep` takes seconds.

    `progress` is called with the name of the file, its bytes so far and its size. `replace`
    overwrites existing files with other content.
    """

    sleep: Callable[[float], None]
    progress: Callable[[str, int, int | None], None]
    base_url: str = PUBLIC_URL
    patience: RetryPolicy = field(default_factory=RetryPolicy)
    replace: bool = False

    def fetch(self, entries: Sequence[CatalogueEntry], root: Path) -> list[FetchedFile]:
        """Download every file of `entries` to `root`; verified existing files are kept.

        :raises CorpusError: if a corpus cannot be fetched, or a file does not match its digest.
        :raises InputError: if the public source cannot be reached.
        :raises OutputError: if `root` cannot be written.
        """
        for entry in entries:
            if not entry.fetched:
                raise CorpusError(
                    f"corpus {entry.name!r} is not fetched: "
                    f"{entry.broken or f'its files come from {entry.url}, in another form'}"
                )
        return [self._put(entry, file, root) for entry in entries for file in entry.files]

    def _put(self, entry: CatalogueEntry, file: CatalogueFile, root: Path) -> FetchedFile:
        name = f"{entry.folder}/{file.split}.tsv"
        path = root / name
        if path.is_file():
            found = file_blob_id(path)
            if found == (file.repaired_blob or file.blob):
                return FetchedFile(entry.name, file.split, path, found, FetchStatus.PRESENT)
            if not self.replace:
                raise CorpusError(
                    f"{path} is there with other content (git blob id {found}, expected "
                    f"{file.repaired_blob or file.blob}); move it away, or give --replace"
                )
        part = path.with_name(f".{path.name}.part")
        resumed = self._verified_part(f"{self.base_url}/{name}", part, file, name)
        try:
            if file.repaired_blob is not None:
                blob = _repair(part, entry, file)
                status = FetchStatus.REPAIRED
            else:
                blob = file_blob_id(part)
                status = FetchStatus.RESUMED if resumed else FetchStatus.FETCHED
            commit_file(part, path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        return FetchedFile(entry.name, file.split, path, blob, status)

    def _verified_part(self, url: str, part: Path, file: CatalogueFile, name: str) -> bool:
        """Download `url` to `part` and verify its blob id; return whether it was resumed.

        A resumed partial file may belong to another file: then the download starts over once.
        """

        def report(have: int, total: int | None) -> None:
            self.progress(name, have, total)

        for _ in range(2):
            resumed = self._download(url, part, report)
            found = file_blob_id(part)
            if found == file.blob:
                return resumed
            part.unlink()
            if not resumed:
                break
        raise CorpusError(
            f"{url}: got a file with git blob id {found}, expected {file.blob}; it was removed. "
            "The source may have changed, or something on the way alters files"
        )

    def _download(self, url: str, part: Path, progress: Progress) -> bool:
        return download(url, part, sleep=self.sleep, progress=progress, patience=self.patience)


def _repair(part: Path, entry: CatalogueEntry, file: CatalogueFile) -> str:
    """Repair the sentence breaks of the verified public file at `part`; return the new blob id.

    The result either has the expected digest, or is valid with the published number of mentions.
    """
    content = repair_file(part.read_bytes())
    repaired = part.with_suffix(".repaired")
    repaired.write_bytes(content)
    try:
        if blob_id(content) != file.repaired_blob:
            sentences = list(read_sentences(repaired, entry.scheme, entry.labels))
            mentions = sum(mention_count(sentence) for sentence in sentences)
            if mentions != file.mentions:
                raise CorpusError(
                    f"{entry.folder}/{file.split}.tsv: its sentence breaks could not be repaired: "
                    f"{mentions} mentions, expected {file.mentions}; please report this"
                )
        repaired.replace(part)
    finally:
        with contextlib.suppress(FileNotFoundError):
            repaired.unlink()
    return blob_id(content)
