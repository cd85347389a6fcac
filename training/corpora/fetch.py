"""Gets corpora from their public repository, verified by git blob id, resumable."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from schemas.errors import CorpusError, OutputError
from training.corpora.catalogue import PUBLIC_URL, CatalogueEntry, CatalogueFile
from training.corpora.corpus import mention_count
from training.corpora.digests import blob_id, file_blob_id
from training.corpora.download import Patience, Progress, download
from training.corpora.sentence_breaks import mend_file
from training.corpora.tsv import read_sentences


class FetchStatus(StrEnum):
    """How a file came to be in place."""

    PRESENT = "present"
    FETCHED = "fetched"
    RESUMED = "resumed"
    REPAIRED = "fetched and repaired"


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """One file in place, with its git blob id and how it came there."""

    corpus: str
    split: str
    path: Path
    blob: str
    status: FetchStatus


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Where files come from and how they are asked for; `sleep` takes seconds.

    `progress` is told the file that is on its way and its bytes. `replace` overwrites files that
    are in place with other content.
    """

    sleep: Callable[[float], None]
    progress: Callable[[str, int, int | None], None]
    base_url: str = PUBLIC_URL
    patience: Patience = field(default_factory=Patience)
    replace: bool = False

    def fetch(self, entries: Sequence[CatalogueEntry], root: Path) -> list[FetchedFile]:
        """Put every file of `entries` in place under `root`; what is verified there is kept.

        :raises CorpusError: if a corpus cannot be fetched, or content is not what was expected.
        :raises InputError: if the public source cannot be reached.
        :raises OutputError: if `root` cannot be written.
        """
        for entry in entries:
            if not entry.fetched:
                raise CorpusError(f"corpus {entry.name!r} is not fetched: {entry.broken}")
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
            part.replace(path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        return FetchedFile(entry.name, file.split, path, blob, status)

    def _verified_part(self, url: str, part: Path, file: CatalogueFile, name: str) -> bool:
        """Download `url` to `part` until it has the public blob id; tell whether it was resumed.

        What an earlier, resumed attempt left may be of another file: then it starts over once.
        """

        def told(have: int, total: int | None) -> None:
            self.progress(name, have, total)

        for _ in range(2):
            resumed = self._download(url, part, told)
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
    """Mend the drifted breaks of the verified public file at `part`; return the new blob id.

    The outcome is either the very file that was expected, or legal with the published number of
    mentions.
    """
    content = mend_file(part.read_bytes())
    mended = part.with_suffix(".mended")
    mended.write_bytes(content)
    try:
        if blob_id(content) != file.repaired_blob:
            sentences = list(read_sentences(mended, entry.scheme, entry.labels))
            mentions = sum(mention_count(sentence) for sentence in sentences)
            if mentions != file.mentions:
                raise CorpusError(
                    f"{entry.folder}/{file.split}.tsv: its breaks could not be mended: "
                    f"{mentions} mentions, expected {file.mentions}; please report this"
                )
        mended.replace(part)
    finally:
        with contextlib.suppress(FileNotFoundError):
            mended.unlink()
    return blob_id(content)
