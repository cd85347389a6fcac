"""The commands `pubner corpora split` and `pubner corpora leaks`."""

import os
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import Field

from schemas.errors import SettingsError
from training.corpora.catalogue import Split
from training.corpora.corpus import Corpus, corpora_root, open_corpus
from training.corpora.leaks import RUN_WORDS, Leak, Part, find_leak, part_of
from training.corpora.splitting import draw_documents, write_documents
from training.reports.progress import show_work
from worker.cli.command import command, human_console, print_table, write_json
from worker.cli.common_options import CorporaOptions, json_option
from worker.cli.paths import FileToWrite

LEAKS = 3
"""The exit status if parts share documents or text."""


class SplitSettings(CorporaOptions):
    """The options of `pubner corpora split`."""

    corpus: str = Field(description="a corpus of whole documents, by name or TOML file")
    output: FileToWrite = Field(description="file for the names of the drawn documents")
    split: Split = Field(Split.TRAIN, description="the split that is divided")
    share: float = Field(0.2, gt=0, lt=1, description="the fraction of documents to draw")
    seed: int = Field(0, description="seed of the draw")


class LeaksSettings(CorporaOptions):
    """The options of `pubner corpora leaks`."""

    corpora: tuple[str, ...] = Field(
        (), description="corpora to compare, or single splits, as NAME or NAME:SPLIT"
    )
    json_file: str | None = json_option("what is shared")


@command(SplitSettings, prog="pubner corpora split")
def split(settings: SplitSettings) -> None:
    """Draw documents of a corpus by a seed, and write their names to a file, one a line.

    Documents of one PMID are drawn together. A corpus's description takes the file as `only` for
    one split, and as `without` for another.
    """
    corpus = open_corpus(corpora_root(settings.data, os.environ), settings.corpus)
    sentences = corpus.sentences(settings.split)
    names = draw_documents(sentences, settings.share, settings.seed)
    write_documents(Path(settings.output), names)
    total = len({sentence.document for sentence in sentences})
    human_console(None).print(
        f"{len(names):,} of {total:,} documents of {corpus.name} are listed in {settings.output}.",
        soft_wrap=True,
    )


@command(LeaksSettings, prog="pubner corpora leaks", positional="corpora")
def leaks(settings: LeaksSettings) -> int:
    """Find what splits of corpora share: PMIDs, titles, and runs of 13 words.

    Every two splits are compared. The exit status is 3 where any share something.
    """
    root = corpora_root(settings.data, os.environ)
    console = human_console(settings.json_file)
    wanted = [one for word in settings.corpora for one in _splits(root, word)]
    if len(wanted) < 2:
        raise SettingsError(
            f"{len(wanted)} splits were named; at least two were expected, such as "
            "'pubner corpora leaks bc5cdr biored:train'"
        )
    parts: list[Part] = []
    with show_work(console) as work, work.stage("reading", len(wanted), "splits") as stage:
        for corpus, one in wanted:
            parts.append(part_of(f"{corpus.name}:{one}", corpus.sentences(one)))
            stage.advance()
    found = [find_leak(left, right) for left, right in combinations(parts, 2)]
    print_table(
        console,
        [_row(leak) for leak in found if leak.found],
        columns=("split", "beside", "PMIDs", "titles", f"texts with {RUN_WORDS} words in a row"),
        right=(2, 3, 4),
    )
    shared = sum(leak.found for leak in found)
    console.print(f"{shared} of {len(found)} pairs of splits share documents or text.")
    write_json({"leaks": [_leak_json(leak) for leak in found]}, settings.json_file)
    return LEAKS if shared else 0


def _splits(root: Path, word: str) -> list[tuple[Corpus, Split]]:
    """Return the split that `NAME:SPLIT` names, or all of `NAME` that there are."""
    name, colon, last = word.rpartition(":")
    if colon and last in list(Split):
        return [(open_corpus(root, name), Split(last))]
    corpus = open_corpus(root, word)
    return [(corpus, one) for one in Split if corpus.has(one)]


def _row(leak: Leak) -> tuple[str, ...]:
    return (
        leak.right,
        leak.left,
        f"{len(leak.pmids):,}",
        f"{len(leak.titles):,}",
        f"{len(leak.runs):,} of {leak.units:,}",
    )


def _leak_json(leak: Leak) -> dict[str, Any]:
    return {
        "left": leak.left,
        "right": leak.right,
        "pmids": list(leak.pmids),
        "titles": list(leak.titles),
        "runs": list(leak.runs),
        "units": leak.units,
    }
