"""The benchmark's citations, as texts and as PubMed XML."""

import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape

_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z0-9])")


@dataclass(frozen=True, slots=True)
class BenchCitation:
    """A real citation, with the number of word pieces of its text."""

    pmid: int
    title: str
    abstract: str
    pieces: int = 0

    @property
    def text(self) -> str:
        """The annotated text: title and abstract."""
        return f"{self.title}\n{self.abstract}"


def read_citations(data: Path, count: int | None = None) -> list[BenchCitation]:
    """Return `count` abstracts, evenly spaced over the data folder, whose first ones are long."""
    with gzip.open(data / "abstracts" / "abstracts.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    if count is not None:
        found = found[:: max(1, len(found) // count)][:count]
    return [BenchCitation(item["pmid"], item["title"], item["abstract"]) for item in found]


def with_pieces(citations: Sequence[BenchCitation], counts: Sequence[int]) -> list[BenchCitation]:
    """Return the citations with the numbers of word pieces set."""
    return [
        replace(citation, pieces=count) for citation, count in zip(citations, counts, strict=True)
    ]


def save_citations(path: Path, citations: Sequence[BenchCitation]) -> None:
    """Write citations for another process."""
    path.write_text(json.dumps([asdict(citation) for citation in citations]), "utf-8")


def load_citations(path: Path) -> list[BenchCitation]:
    """Read what `save_citations` wrote."""
    return [BenchCitation(**item) for item in json.loads(path.read_text("utf-8"))]


def mixed(citations: Sequence[BenchCitation]) -> list[BenchCitation]:
    """Return the citations in an order in which every run has a similar distribution of lengths.

    So a slow row, which processes few of them, is measured on the same lengths as a fast one.
    """
    ordered = sorted(citations, key=lambda citation: (citation.pieces, citation.pmid))
    bits = max(1, (len(ordered) - 1).bit_length())
    places = (int(f"{n:0{bits}b}"[::-1], 2) for n in range(2**bits))
    return [ordered[place] for place in places if place < len(ordered)]


def repeated(citations: Sequence[BenchCitation], count: int) -> list[BenchCitation]:
    """Return `count` citations by repetition, each with a unique PMID."""
    return [
        BenchCitation(number + 1, item.title, item.abstract, item.pieces)
        for number, item in zip(range(count), _endless(citations), strict=False)
    ]


def cut_citations(
    citations: Sequence[BenchCitation], count: int, *, share: float, seed: int = 0
) -> Iterator[BenchCitation]:
    """Yield `count` citations: repetitions of the real ones, shuffled and cut at random.

    Of each abstract a run of whole sentences is kept, a random fraction between 0 and twice
    `share`; a `share` of 1 keeps all. So texts differ in length and content, and batches differ
    between repetitions.
    """
    chance = random.Random(seed)
    number = 0
    while number < count:
        for item in chance.sample(list(citations), len(citations)):
            if number == count:
                return
            number += 1
            sentences = _SENTENCE.split(item.abstract)
            kept = len(sentences)
            if share < 1:
                kept = min(kept, round(chance.uniform(0, 2 * share) * len(sentences)))
            first = chance.randint(0, len(sentences) - kept)
            body = " ".join(sentences[first : first + kept])
            yield BenchCitation(number, item.title, body)


def write_xml(path: Path, citations: Iterable[BenchCitation]) -> None:
    """Write citations as PubMed XML."""
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<PubmedArticleSet>\n')
        for item in citations:
            file.write(
                f'<PubmedArticle><MedlineCitation Status="MEDLINE"><PMID Version="1">{item.pmid}'
                f"</PMID><Article><ArticleTitle>{escape(item.title)}</ArticleTitle><Abstract>"
                f"<AbstractText>{escape(item.abstract)}</AbstractText></Abstract></Article>"
                "</MedlineCitation></PubmedArticle>\n"
            )
        file.write("</PubmedArticleSet>\n")


def _endless(citations: Sequence[BenchCitation]) -> Iterator[BenchCitation]:
    while True:
        yield from citations
