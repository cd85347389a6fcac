"""Texts in, mentions out: a loaded checkpoint."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import Final
from zlib import crc32

from schemas.errors import InputError, RecordError
from schemas.records import Annotation, Citation
from worker.registry.names import checkpoint_folder
from worker.tagger import Tagger as _Loaded
from worker.tagger import load_tagger

_CHUNK: Final = 250
"""Texts that are annotated at once, as many as `pubner annotate` takes."""

_COLOURS: Final = {
    "Gene": "#b7e4c7",
    "Protein": "#a8dadc",
    "DNA": "#bde0fe",
    "RNA": "#cdb4db",
    "CellLine": "#ffe5a0",
    "CellType": "#ffd6a5",
    "Chemical": "#e7c6ff",
    "Disease": "#ffb3b3",
}


@dataclass(frozen=True, slots=True)
class Mention:
    """An entity in a text: `text[start:end]`, in code points.

    `task` is the head that found it, `label` that corpus's own name of the entity, `entity_type`
    the name that all heads share. `score` is the probability that the mention is right, from 0 to
    1. `preferred` is false where another head's mention of the same type overlaps and counts more.
    """

    task: str
    label: str
    entity_type: str
    start: int
    end: int
    text: str
    score: float
    preferred: bool


@dataclass(frozen=True, slots=True)
class Document:
    """A text and its mentions, in order of their heads and positions; a notebook shows it coloured.

    >>> document = Document("A cold.", (Mention("ncbi-disease", "Disease", "Disease", 2, 6, "cold",
    ...                                         0.9, True),))
    >>> document.text[document.mentions[0].start : document.mentions[0].end]
    'cold'
    """

    text: str
    mentions: tuple[Mention, ...]

    def _repr_html_(self) -> str:
        """Return the text as HTML with the preferred mentions that do not overlap in colour."""
        parts: list[str] = []
        at = 0
        for mention in sorted(self.mentions, key=lambda x: (x.start, -x.end)):
            if not mention.preferred or mention.start < at:
                continue
            colour = _colour(mention.entity_type)
            title = escape(f"{mention.entity_type}, {mention.task}, {mention.score:.2f}")
            parts.append(escape(self.text[at : mention.start]))
            parts.append(
                f'<mark style="background:{colour};color:#000" title="{title}">'
                f"{escape(mention.text)} <small>{escape(mention.entity_type)}</small></mark>"
            )
            at = mention.end
        parts.append(escape(self.text[at:]))
        return f'<div style="white-space:pre-wrap">{"".join(parts)}</div>'


def _colour(entity_type: str) -> str:
    """Return the background of an entity type as CSS, always the same one."""
    other = f"hsl({crc32(entity_type.encode()) % 360}, 65%, 84%)"
    return _COLOURS.get(entity_type, other)


class Tagger:
    """A loaded checkpoint: see `load`.

    `id` is the checkpoint's; `tasks` names its heads.
    """

    def __init__(self, loaded: _Loaded) -> None:
        self._loaded = loaded
        self.id = loaded.id
        self.tasks = tuple(task.name for task in loaded.tasks)

    def annotate(self, texts: Iterable[str | Citation]) -> list[Document]:
        """Return a document for each text, in order; of a citation its title and abstract are read.

        The mentions are those that `pubner annotate` writes for the same texts. `texts` may be any
        iterable; what it gives is annotated 250 at a time.

            >>> import pubner
            >>> documents = pubner.load().annotate(["No entity here.", "Aspirin against pain."])
            >>> [len(document.mentions) > 0 for document in documents]
            [False, True]

        :raises InputError: if `texts` is one string, or holds what is no text or citation.
        :raises RecordError: if a text holds a lone surrogate (half of a character).
        """
        if isinstance(texts, str | bytes):
            raise InputError(
                f"annotate() was given one {type(texts).__name__}, a list of texts was expected; "
                "put it into a list: [text]"
            )
        return list(self._documents(iter(texts)))

    def _documents(self, texts: Iterator[str | Citation]) -> Iterator[Document]:
        number = 0
        while chunk := [_text(item, number + n) for n, item in enumerate(islice(texts, _CHUNK))]:
            try:
                found = self._loaded.annotate(chunk)
            except RecordError as error:
                raise RecordError(self._named(error, chunk, number)) from error
            for text, annotation in zip(chunk, found, strict=True):
                yield Document(text, _mentions(text, annotation))
            number += len(chunk)

    def _named(self, error: RecordError, chunk: list[str], begin: int) -> str:
        """Return what is wrong, and with which text."""
        for number, text in enumerate(chunk):
            try:
                text.encode()
            except UnicodeEncodeError:
                return f"text {begin + number}: {error}"
        return f"texts {begin} to {begin + len(chunk) - 1}: {error}"


def load(name: str = "default", registry: str | None = None, device: str = "auto") -> Tagger:
    """Load a checkpoint: `default` (which pubner ships), a folder, or one of a registry.

    With `registry`, a folder or an s3:// or gs:// URL, `name` may also be an id there, the
    beginning of one, or `active`. `device` is `cpu`, `cuda`, `cuda:1` and so on; `auto` takes a GPU
    where there is one.

        >>> import pubner
        >>> pubner.load("default").tasks
        ('ncbi-disease', 'bc5cdr', 'bc2gm', 'jnlpba')

    :raises CheckpointError: if there is no such checkpoint, or it is not what its manifest says.
    :raises RegistryError: if the registry has no such checkpoint.
    """
    return Tagger(load_tagger([checkpoint_folder(name, registry)], device=device))


def _text(item: object, number: int) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, Citation):
        return item.text or ""
    raise InputError(
        f"text {number} is a {type(item).__name__}, a string or a pubner.Citation was expected"
    )


def _mentions(text: str, annotation: Annotation) -> tuple[Mention, ...]:
    return tuple(
        Mention(
            task=mention.task,
            label=mention.label,
            entity_type=str(mention.entity_type),
            start=mention.start,
            end=mention.end,
            text=text[mention.start : mention.end],
            score=mention.score,
            preferred=mention.preferred,
        )
        for mention in annotation.mentions
    )
