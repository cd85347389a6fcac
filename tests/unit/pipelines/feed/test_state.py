"""The state of a feed in its file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.blocks.elements import InputFile
from pipelines.feed.state import (
    FeedState,
    FileProgress,
    drop_state,
    inputs_id,
    load_state,
    save_state,
)
from schemas.errors import InputError, OutputError

STATE = FeedState(
    "cluster",
    "topic",
    "inputs",
    {0: 5, 3: 0},
    {"aa": FileProgress("a.xml", 7, finished=False), "bb": FileProgress("β", 9, finished=True)},
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "new" / "state.json"
    assert load_state(file) is None
    save_state(file, STATE)
    assert load_state(file) == STATE
    assert [path.name for path in file.parent.iterdir()] == ["state.json"]
    drop_state(file)
    drop_state(file)
    assert list(file.parent.iterdir()) == []


def test_how_far_each_file_is() -> None:
    assert [STATE.first_unacknowledged(digest) for digest in ("aa", "bb", "cc")] == [7, 9, 0]
    assert [STATE.is_finished(digest) for digest in ("aa", "bb", "cc")] == [False, True, False]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"null", b'{"format_version": 2}', b"\xff", b'{"format_version": 1}'],
)
def test_what_is_no_state(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match="not a feed state"):
        load_state(file)


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        save_state(tmp_path / "file" / "state.json", STATE)


@given(st.permutations([("a", 1), ("b", 2), ("c", 3)]))
def test_inputs_are_the_same_in_any_order(files: list[tuple[str, int]]) -> None:
    same = inputs_id(InputFile(f"/x/{name}", name, size) for name, size in files)
    assert same == inputs_id(
        [InputFile("a", "a", 1), InputFile("b", "b", 2), InputFile("c", "c", 3)]
    )
    for other in (
        [("a", 1), ("b", 2)],
        [("a", 1), ("b", 2), ("c", 4)],
        [("a", 1), ("b", 2), ("d", 3)],
    ):
        assert inputs_id(InputFile(name, name, size) for name, size in other) != same
