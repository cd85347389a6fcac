"""The example sentence."""

from pathlib import Path

from pipelines.blocks.elements import AnnotatedBlock, AnnotatedCitation, BlockHeader
from pipelines.blocks.keys import BlockKey
from pipelines.output.store import DiskStore
from pipelines.output.writer import BlockWriter
from pipelines.runtime.example import Example, Mark, find_example
from schemas.records import Annotation, Citation, Mention, Section
from schemas.tasks import EntityType
from tests.support.blocks import NOW, block

TITLE = "Mutated BRCA1 raises the risk of breast cancer in carriers."
BODY = (
    "Cells were grown for a week on plates. Cisplatin killed BRCA1 deficient HeLa cells, but "
    "few others. Cells died."
)


def plain(example: Example) -> str:
    """Return the sentence with each mention as `[BRCA1 Gene]`."""
    return "".join(f"[{text} {kind}]" if kind else text for text, kind in example.segments())


def found(text: str, word: str, kind: EntityType, *, preferred: bool = True) -> Mention:
    start = text.index(word)
    return Mention("t", "l", kind, start, start + len(word), 0.9, preferred, "c")


def write(root: Path, mentions: list[Mention], *, store_text: bool = True) -> DiskStore:
    store = DiskStore(root)
    citation = Citation(42, title=TITLE, abstract=(Section(BODY),))
    whole = AnnotatedBlock(
        BlockHeader(BlockKey("s", 0, 0), "d", complete=True, last=True),
        checkpoint_id="c",
        annotated_at=NOW,
        citations=(AnnotatedCitation(0, citation, Annotation(tuple(mentions))),),
        dead_letters=(),
    )
    BlockWriter(store, 10, "", store_text=store_text).write(whole)
    return store


def test_the_sentence_with_most_types_is_shown_and_marked(tmp_path: Path) -> None:
    text = f"{TITLE}\n{BODY}"
    store = write(
        tmp_path,
        [
            found(text, "BRCA1", EntityType.GENE),
            found(text, "breast cancer", EntityType.DISEASE),
            found(text, "Cisplatin", EntityType.CHEMICAL),
            found(text, "BRCA1 deficient", EntityType.GENE),
            found(text, "HeLa cells", EntityType.CELL_LINE),
            found(text, "cells", EntityType.CELL_TYPE),
            found(text, "deficient HeLa", EntityType.DISEASE, preferred=False),
        ],
    )
    example = find_example(store, [BlockKey("s", 0, 0)])
    assert example is not None
    assert example.pmid == 42
    assert plain(example) == (
        "[Cisplatin Chemical] killed [BRCA1 deficient Gene] [HeLa cells CellLine], but few others."
    )
    assert "".join(part for part, _ in example.segments()) == example.sentence


def test_without_mentions_or_text_there_is_no_example(tmp_path: Path) -> None:
    keys = [BlockKey("s", 0, 0), BlockKey("s", 0, 10)]
    assert find_example(write(tmp_path / "a", []), keys) is None
    mention = found(TITLE, "BRCA1", EntityType.GENE)
    assert find_example(write(tmp_path / "b", [mention], store_text=False), keys) is None
    assert find_example(write(tmp_path / "c", [mention]), keys) is not None


def test_sentences_too_short_to_show_much_are_passed_over(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    BlockWriter(store, 10, "").write(block([0, 1]))
    assert find_example(store, [BlockKey("s.xml", 0, 0)]) is None


def test_marks_at_the_edges() -> None:
    example = Example(1, "ab cd", (Mark(0, 2, "Gene"), Mark(3, 5, "DNA")))
    assert example.segments() == [("ab", "Gene"), (" ", None), ("cd", "DNA")]
    assert plain(example) == "[ab Gene] [cd DNA]"
