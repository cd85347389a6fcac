"""The layout `columns`: a word, a tab and a tag on each line; see `training.corpora.tsv`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from schemas.tags import OUTSIDE, split_tag
from training.corpora.layouts.protocol import Found, Reading
from training.corpora.tsv import Sentence, scan


@dataclass(frozen=True, slots=True)
class Columns:
    """Files of words and tags in any scheme."""

    suffix: str = ".tsv"
    folders: bool = False

    def scan(self, path: Path, reading: Reading) -> Iterator[Found]:
        """Yield the sentences and problems of `path`; dropped labels are tagged O."""
        labels = reading.labels
        if labels is not None:
            labels = (*labels, *reading.dropped)
        for found in scan(path, reading.scheme, labels):
            if reading.dropped and isinstance(found, Sentence):
                tags = tuple(
                    OUTSIDE if split_tag(tag)[1] in reading.dropped else tag for tag in found.tags
                )
                yield replace(found, tags=tags)
            else:
                yield found
