"""The grid of blocks and the names of files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.blocks.keys import BlockKey, block_start, encode_source, file_name, parse_name
from schemas.errors import InputError

SOURCES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=15
)


@given(st.integers(0, 10**9), st.integers(1, 10**5))
def test_an_offset_lies_in_its_block(offset: int, size: int) -> None:
    start = block_start(offset, size)
    assert start % size == 0
    assert start <= offset < start + size


@given(SOURCES, st.integers(0, 999), st.integers(0, 10**13))
def test_names_are_reversible_and_valid_anywhere(source: str, partition: int, start: int) -> None:
    key = BlockKey(source, partition, start)
    name = file_name(key)
    assert parse_name(name) == key
    assert name[0] not in "._"
    assert name.isascii()
    assert not set(name) & set('\\/:*?"<>| {}^`[]#~')


def test_names_of_ordinary_sources_are_readable_and_sort_by_offset() -> None:
    assert file_name(BlockKey("pubmed26n1334.xml.gz", 0, 1000)) == (
        "pubmed26n1334.xml.gz-0-000000001000.parquet"
    )
    assert encode_source("_hidden") == "%5Fhidden"
    assert encode_source(".hidden") == "%2Ehidden"


@pytest.mark.parametrize(
    "name",
    [
        "x.parquet",
        "a-0-0.txt",
        ".a-0-000000000000.parquet",
        "a-0-0.parquet",
        "a-x-000000000000.parquet",
    ],
)
def test_other_names_are_no_blocks(name: str) -> None:
    assert parse_name(name) is None


def test_a_name_that_no_file_system_takes_is_refused() -> None:
    with pytest.raises(InputError, match="too long"):
        file_name(BlockKey("é" * 60, 0, 0))
