"""Reparsing the dead letters of a block."""

from datetime import timedelta

import pytest

from pipelines.blocks.keys import BlockKey
from pipelines.blocks.tables import Footer
from pipelines.dead_letters.reading import BlockDeadLetters
from pipelines.dead_letters.reprocess import RowOptions, parse_dead_letters, row_options
from pipelines.settings.annotate import AnnotateSettings
from schemas.citation_message import to_message
from schemas.records import Citation, DeadLetter, Stage
from tests.support.blocks import NOW
from tests.support.dead_letters import BLOCK_SIZE, DIGEST, dead_letter
from worker.readers.formats import Format

LATER = NOW + timedelta(days=1)


def read_again(
    *dead_letters: DeadLetter, digest: str = DIGEST, settings: str = ""
) -> BlockDeadLetters:
    key = BlockKey(dead_letters[0].position.source, 0, 0)
    footer = Footer(key, BLOCK_SIZE, digest, "c", settings, len(dead_letters), True, True)
    return BlockDeadLetters(footer, dead_letters)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, RowOptions()),
        ({"format": "jsonl", "store_text": False}, RowOptions(False, None, Format.JSONL)),
        ({"max_text_chars": 60}, RowOptions(True, 60)),
    ],
)
def test_the_options_are_those_of_the_run_before(
    given: dict[str, object], expected: RowOptions
) -> None:
    settings = AnnotateSettings.model_validate(given)
    assert row_options(settings.row_settings) == expected


def test_rows_of_several_runs_have_the_defaults() -> None:
    assert row_options("several") == RowOptions()


def test_what_fails_as_before_stays_as_it_is() -> None:
    failing = dead_letter(1, b"[]", error="another reason")
    block = read_again(failing, dead_letter(2, to_message(Citation(5, title="T"))))
    read = parse_dead_letters(block, lambda: LATER)
    assert [(x.offset, x.citation) for x in read.citations] == [(2, Citation(5, title="T"))]
    [still] = read.dead_letters
    assert (still.payload, still.seen_at, still.stage) == (b"[]", LATER, Stage.PARSE)
    assert "array" in still.error
    assert parse_dead_letters(read_again(still), lambda: LATER + timedelta(1)).dead_letters == ()


def test_a_record_of_a_file_fails_with_its_reader_s_reason() -> None:
    failing = dead_letter(1, b"<PubmedArticle><x", source="a.xml", error="old")
    [still] = parse_dead_letters(read_again(failing, digest="0" * 64), lambda: LATER).dead_letters
    assert still.error_type != "RefusedRecordError"
    assert parse_dead_letters(read_again(still, digest="0" * 64), lambda: LATER).dead_letters == ()


def test_a_dead_letter_of_reading_stays_as_it_is() -> None:
    failing = dead_letter(1, b"", source="a.xml", stage=Stage.READ)
    read = parse_dead_letters(read_again(failing, digest="0" * 64), lambda: LATER)
    assert (read.citations, read.dead_letters) == ((), ())


def test_the_format_of_a_file_is_that_which_it_was_read_by() -> None:
    message = dead_letter(1, to_message(Citation(5, title="T")), source="a.xml")
    settings = AnnotateSettings(format="jsonl").row_settings
    block = read_again(message, digest="0" * 64, settings=settings)
    assert [x.offset for x in parse_dead_letters(block, lambda: LATER).citations] == [1]
