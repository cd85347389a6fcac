"""Rows in columns, compared with rows made one by one."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.blocks.elements import AnnotatedBlock, AnnotatedCitation, BlockHeader
from pipelines.blocks.keys import BlockKey
from pipelines.blocks.refusals import refuse_unstorable
from pipelines.blocks.rows import Columns, block_rows
from schemas.entity_types import KNOWN_TYPES, EntityType
from schemas.records import Annotation, Citation, Mention, Section, Stage, text_digest
from tests.support.blocks import NOW

TITLES = st.sampled_from(["", "BRCA1", "β 🧬", "\ud800"])
SPANS = st.tuples(st.integers(-1, 7), st.integers(0, 9))


@st.composite
def items(draw: st.DrawFn) -> AnnotatedCitation:
    citation = Citation(
        draw(st.sampled_from([1, 2**63 - 1, 2**63])),
        draw(st.sampled_from([1, 2**15])),
        draw(TITLES),
        draw(st.sampled_from([(), (Section("cell"),)])),
        year=draw(st.sampled_from([None, 2026, 2**15])),
        deleted=draw(st.booleans()),
    )
    if citation.text is None:
        return AnnotatedCitation(draw(st.integers(0, 99)), citation, None)
    mentions = tuple(
        Mention(
            task=draw(st.sampled_from("ab")),
            label="L",
            entity_type=draw(st.sampled_from([*KNOWN_TYPES, EntityType("Body-part")])),
            start=start,
            end=end,
            score=0.5,
            preferred=True,
            checkpoint_id="c",
        )
        for start, end in draw(st.lists(SPANS, max_size=3))
    )
    return AnnotatedCitation(
        draw(st.integers(0, 99)), citation, Annotation(mentions, truncated=draw(st.booleans()))
    )


def keeps_the_contract(item: AnnotatedCitation, *, store_text: bool) -> bool:
    citation, text = item.citation, item.citation.text or ""
    mentions = () if item.annotation is None else item.annotation.mentions
    inside = all(0 <= x.start < x.end <= len(text) for x in mentions)
    kept = [text] if store_text else [text[x.start : x.end] for x in mentions]
    return (
        inside
        and citation.pmid < 2**63
        and citation.version < 2**15
        and (citation.year or 0) < 2**15
        and "\ud800" not in "".join(kept)
    )


def in_rows(columns: Columns) -> list[dict[str, Any]]:
    plain = {
        name: values.to_pylist() if hasattr(values, "to_pylist") else list(values)
        for name, values in columns.items()
    }
    return [dict(zip(plain, values, strict=True)) for values in zip(*plain.values(), strict=True)]


@given(st.lists(items(), max_size=5), st.booleans())
def test_columns_hold_what_rows_would(given_items: list[AnnotatedCitation], store: bool) -> None:
    header = BlockHeader(BlockKey("s", 0, 0), "d")
    read = AnnotatedBlock(header, "c", NOW, tuple(given_items), ())
    checked = refuse_unstorable(read, store_text=store)
    citations, mentions = block_rows(checked.citations, store_text=store)
    good = [x for x in given_items if keeps_the_contract(x, store_text=store)]
    refused = [x for x in given_items if not keeps_the_contract(x, store_text=store)]
    dead_letters = [(x.position.offset, x.stage) for x in checked.dead_letters]
    assert dead_letters == [(x.offset, Stage.WRITE) for x in refused]
    assert list(checked.citations) == good
    assert in_rows(citations) == [
        {
            "pmid": item.citation.pmid,
            "pmid_version": item.citation.version,
            "offset": item.offset,
            "status": "deleted"
            if item.citation.deleted
            else "no_text"
            if item.annotation is None
            else "annotated",
            "text": item.citation.text if store else None,
            "text_sha256": None if item.citation.text is None else text_digest(item.citation.text),
            "retracted": False,
            "date_revised": None,
            "year": item.citation.year,
            "mention_count": 0 if item.annotation is None else len(item.annotation.mentions),
            "truncated": item.annotation is not None and item.annotation.truncated,
        }
        for item in good
    ]
    assert in_rows(mentions) == [
        {
            "pmid": item.citation.pmid,
            "pmid_version": item.citation.version,
            "offset": item.offset,
            "task": mention.task,
            "label": mention.label,
            "entity_type": mention.entity_type,
            "start": mention.start,
            "end": mention.end,
            "text": (item.citation.text or "")[mention.start : mention.end],
            "section": "title" if mention.start < len(item.citation.title) else "abstract",
            "score": mention.score,
            "preferred": mention.preferred,
            "checkpoint_id": mention.checkpoint_id,
        }
        for item in good
        if item.annotation is not None
        for mention in item.annotation.mentions
    ]
