"""The contracts: tasks, tags, a citation's text, and the Arrow schemas."""

import dataclasses
import itertools

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.arrow import CITATIONS, DEAD_LETTERS, KINDS, MENTIONS
from schemas.errors import (
    CheckpointError,
    CorpusError,
    InputError,
    OutputError,
    PubnerError,
    RecordError,
    SettingsError,
    TrainingError,
)
from schemas.records import Citation, Section, SourcePosition, text_digest
from schemas.tags import iobes_tags, may_end, may_follow, may_start
from schemas.tasks import TASKS, EntityType


def test_the_five_corpora_are_the_heads() -> None:
    assert list(TASKS) == ["ncbi-disease", "bc5cdr", "bc2gm", "jnlpba", "bc4chemd"]
    assert TASKS["bc5cdr"].label_names == ("Chemical", "Disease")
    assert TASKS["jnlpba"].entity_type("cell_line") is EntityType.CELL_LINE
    assert TASKS["bc2gm"].entity_type("GENE") == "Gene"
    with pytest.raises(PubnerError, match="has no label 'Planet'"):
        TASKS["bc2gm"].entity_type("Planet")


def test_the_tag_scheme_is_iobes() -> None:
    assert iobes_tags(["A"]) == ("O", "B-A", "I-A", "E-A", "S-A")
    assert iobes_tags([]) == ("O",)


@given(
    st.lists(
        st.tuples(st.sampled_from(["A", "B-x"]), st.integers(1, 3), st.integers(0, 2)), max_size=5
    )
)
def test_tags_of_mentions_are_legal(mentions: list[tuple[str, int, int]]) -> None:
    tags = []
    for label, length, gap in mentions:
        inner = ["S"] if length == 1 else ["B", *["I"] * (length - 2), "E"]
        tags += [f"{position}-{label}" for position in inner] + ["O"] * gap
    if tags:
        assert may_start(tags[0])
        assert may_end(tags[-1])
    assert all(may_follow(left, right) for left, right in itertools.pairwise(tags))


@pytest.mark.parametrize(
    ("before", "after"),
    [("B-A", "O"), ("B-A", "B-A"), ("I-A", "S-A"), ("O", "I-A"), ("E-A", "E-A"), ("B-A", "I-B")],
)
def test_illegal_transitions_are_illegal(before: str, after: str) -> None:
    assert not may_follow(before, after)


def test_a_citations_text_is_title_newline_sections() -> None:
    plain = Citation(1, title="Aspirin", abstract=(Section("It helps."),))
    assert plain.text == "Aspirin\nIt helps."
    labelled = Citation(
        1,
        title="Aspirin",
        abstract=(Section("Pain.", "AIM"), Section("It helps.", None), Section("Ja.", "RÉSULTAT")),
    )
    assert labelled.text == "Aspirin\nAIM: Pain.\nIt helps.\nRÉSULTAT: Ja."
    assert Citation(1, title="Aspirin").text == "Aspirin\n"
    assert Citation(1, abstract=(Section("It helps."),)).text == "\nIt helps."
    assert Citation(1).text is None
    assert Citation(1, title="Gone", deleted=True).text is None


def test_positions_sort_by_source_partition_and_offset() -> None:
    positions = [SourcePosition("b", 0, 0), SourcePosition("a", 1, 0), SourcePosition("a", 0, 9)]
    assert [p.offset for p in sorted(positions)] == [9, 0, 0]


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Citation(1).pmid = 2  # type: ignore[misc]  # that it cannot be set is the point


def test_the_digest_of_a_text_is_of_its_utf8() -> None:
    assert text_digest("abc").startswith("ba7816bf")
    assert text_digest("β") != text_digest("b")
    assert text_digest("\ud800") != text_digest("?")


def test_citations_are_the_commit_record() -> None:
    assert list(KINDS) == ["mentions", "dead_letters", "citations"]


def test_the_published_columns_are_these() -> None:
    assert MENTIONS.names == [
        "pmid", "pmid_version", "task", "label", "entity_type", "start", "end", "text", "section",
        "score", "preferred", "checkpoint_id", "source", "partition", "offset",
    ]  # fmt: skip
    assert CITATIONS.names == [
        "pmid", "pmid_version", "status", "text", "text_sha256", "retracted", "date_revised",
        "year", "mention_count", "truncated", "checkpoint_id", "annotated_at", "source",
        "partition", "offset",
    ]  # fmt: skip
    assert DEAD_LETTERS.names == [
        "source", "partition", "offset", "stage", "error_type", "error", "key", "headers",
        "payload", "seen_at", "header_list",
    ]  # fmt: skip
    assert [field.name for field in CITATIONS if field.nullable] == [
        "text", "text_sha256", "date_revised", "year",
    ]  # fmt: skip
    assert CITATIONS.field("date_revised").type == pa.date32()


@pytest.mark.parametrize(
    "kind",
    [
        CheckpointError, CorpusError, InputError, OutputError, RecordError, SettingsError,
        TrainingError,
    ],
)  # fmt: skip
def test_every_error_is_of_one_family(kind: type[PubnerError]) -> None:
    assert issubclass(kind, PubnerError)
    assert kind("x").exit_code == 2
