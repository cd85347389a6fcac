"""`pubner checkpoint reference`: writes a checkpoint's reference for the detection of drift."""

from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipelines.settings.reference import ReferenceSettings
from schemas.errors import InputError
from worker.checkpoint.folder import read_manifest, resolve_checkpoint
from worker.checkpoint.reference import write_reference
from worker.cli.command import human_console, print_table, write_json
from worker.cli.input_files import regular_file
from worker.cli.progress import Meter, show_progress
from worker.drift.tally import reference_of
from worker.readers.formats import Format, ReadRecord, detect_format, read_records


def make_reference(settings: ReferenceSettings) -> int:
    """Run `pubner checkpoint reference` with `settings`; return its exit code.

    :raises PubnerError: with one line to show.
    """
    folder = resolve_checkpoint(settings.checkpoint)
    manifest = read_manifest(folder)
    regular_file(str(settings.texts))
    format = detect_format(settings.texts.name)
    texts = list(_spread(settings.texts, format, settings.limit))
    from worker.tagger import load_tagger

    tagger = load_tagger([folder], device=settings.device, threads=settings.threads)
    console = human_console(settings.json_file)
    with show_progress(Meter()) as meter:
        meter.begin("annotating", total=len(texts), unit="citations")
        reference = reference_of(tagger, meter.each(texts), name=settings.texts.name)
    write_reference(folder, manifest, reference)
    console.print(
        f"Reference of checkpoint {manifest.id}: {reference.citations:,} citations of "
        f"{reference.name}, {reference.word_pieces:,} word pieces, "
        f"{reference.unknown_share or 0:.3%} of them unknown",
        soft_wrap=True,
    )
    print_table(
        console,
        [
            (head, f"{found.mentions:,}", f"{found.mentions_per_citation:.3f}", len(found.shares))
            for head, found in reference.heads.items()
        ],
        columns=("head", "mentions", "per citation", "score bins"),
        right=(1, 2, 3),
    )
    write_json(
        {
            "id": manifest.id,
            "path": str(folder.resolve()),
            "reference": reference.model_dump(mode="json"),
        },
        settings.json_file,
    )
    return 0


def _spread(path: Path, format: Format, limit: int) -> Iterator[str]:
    """Yield the texts of at most `limit` citations, evenly spaced in the file.

    The file is read twice, so that no other texts are held in memory.

    :raises InputError: if the file cannot be read, or has no text.
    """
    try:
        with path.open("rb") as stream:
            count = sum(1 for _ in _texts(stream, format))
        if not count:
            raise InputError(
                f"{path} has no citation with text; give a file of citations like those "
                "that the checkpoint will annotate"
            )
        taken = np.zeros(count, dtype=np.bool_)
        taken[np.linspace(0, count - 1, min(limit, count)).round().astype(int)] = True
        with path.open("rb") as stream:
            yield from compress(_texts(stream, format), taken)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _texts(stream: BinaryIO, format: Format) -> Iterator[str]:
    for item in read_records(stream, format):
        if isinstance(item, ReadRecord) and item.citation.text is not None:
            yield item.citation.text
