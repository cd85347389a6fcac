"""Files written whole: the new content, or the old one and nothing else."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from worker.storage.atomic import temporary_of, write_whole, written_whole


@pytest.mark.parametrize("shared", [False, True])
def test_the_content_is_replaced_and_nothing_else_is_left(tmp_path: Path, shared: bool) -> None:
    file = tmp_path / "a"
    for content in ("grün", b"\xff"):
        write_whole(file, content, shared=shared)
        assert file.read_bytes() == (content if isinstance(content, bytes) else content.encode())
        assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("shared", [False, True])
def test_a_failure_leaves_the_old_content(tmp_path: Path, shared: bool) -> None:
    file = tmp_path / "a"
    write_whole(file, "old", shared=shared)

    def fail() -> None:
        with written_whole(file, shared=shared) as temporary:
            temporary.write_text("ne")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        fail()
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_writer_left_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a"
    temporary_of(file).write_text("a longer half")
    write_whole(file, "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "new")]


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    temporary_of(tmp_path / "a").symlink_to(other)
    write_whole(tmp_path / "a", "new")
    assert (other.read_text(), (tmp_path / "a").read_text()) == ("precious", "new")


def test_many_writers_of_one_file_each_write_it_whole(tmp_path: Path) -> None:
    file = tmp_path / "a"
    contents = [str(number) * 1000 for number in range(32)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_whole(file, content, shared=True), contents))
    assert file.read_text() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_it_has_the_mode_that_the_user_s_mask_gives(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    write_whole(tmp_path / "a", "x")
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode
