"""PubMed files in, citations out."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from os import PathLike, fspath

from pipelines.blocks.failures import dead_letter
from pipelines.blocks.keys import BlockKey
from pipelines.sources.fingerprint import open_file, reason_of
from pipelines.sources.inputs import resolve_inputs
from schemas.errors import InputError, SettingsError
from schemas.records import Citation, DeadLetter
from worker.readers.formats import Format, ReadRecord, detect_format, read_records
from worker.system.clock import utc_now


def read(
    paths: str | PathLike[str] | Iterable[str | PathLike[str]], format: str | None = None
) -> Iterator[Citation | DeadLetter]:
    """Yield the citations of files, one after the other; what cannot be read is a dead letter.

    `paths` are files, folders or globs, or one of them: PubMed XML, PubTator or JSON lines, plain
    or gzip. `format` is `pubmed-xml`, `pubtator` or `jsonl`; by default each file's name says it.
    Deleted citations come with `deleted` set. Memory holds one citation at a time.

        >>> import pubner
        >>> from pipelines.sample import sample_path
        >>> first = next(pubner.read(sample_path()))
        >>> first.pmid
        99000001

    :raises InputError: if a path names nothing, or a file cannot be read.
    """
    given = [paths] if isinstance(paths, str | PathLike) else list(paths)
    try:
        kind = None if format is None else Format(format)
    except ValueError:
        known = ", ".join(Format)
        raise SettingsError(f"format={format!r}: one of {known} was expected") from None
    files = resolve_inputs([fspath(path) for path in given], kind)

    def records() -> Iterator[Citation | DeadLetter]:
        for file in files:
            if file.refusal:
                raise InputError(file.refusal)
            try:
                with closing(open_file(file.path)) as stream:
                    for item in read_records(stream, kind or detect_format(file.source)):
                        if isinstance(item, ReadRecord):
                            yield item.citation
                        else:
                            block = BlockKey(file.source, 0, 0)
                            yield dead_letter(block, item.offset, item, utc_now())
            except OSError as error:
                raise InputError(reason_of(file.path, error)) from error

    return records()
