"""From words to input files."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.inputs import resolve_inputs
from pipelines.records import InputFile
from schemas.errors import InputError
from tests.support.memory_files import SCHEME, MemoryFiles
from worker.readers.records import Format


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.xml", "a.xml.gz", "a.xml.gz.md5", "c.jsonl", "notes.txt", ".hidden.xml"):
        (tmp_path / name).write_text(name)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "d.xml").write_text("d")
    return tmp_path


def names(*patterns: object, format: Format | None = None) -> list[str]:
    return [file.source for file in resolve_inputs([str(p) for p in patterns], format)]


def test_paths_keep_their_order_and_size(folder: Path) -> None:
    path = str(folder / "b.xml")
    assert resolve_inputs([path], None) == [InputFile(path, "b.xml", 5)]
    assert resolve_inputs([f"file://{path}"], None) == [InputFile(path, "b.xml", 5)]
    assert names(folder / "c.jsonl", folder / "b.xml") == ["c.jsonl", "b.xml"]


def test_globs_are_sorted_and_leave_sidecars_out(folder: Path) -> None:
    assert names(folder / "*.xml*") == ["a.xml.gz", "b.xml"]
    assert names(folder / "[ab].*") == ["a.xml.gz", "b.xml"]
    assert names(folder / "**" / "*.xml") == ["b.xml", "d.xml"]


def test_a_folder_gives_its_files_of_known_formats(folder: Path) -> None:
    assert names(folder) == ["a.xml.gz", "b.xml", "c.jsonl"]


def test_a_name_that_looks_like_a_glob_is_a_path_where_it_exists(folder: Path) -> None:
    (folder / "[0-9],*.xml").write_text("x")
    assert names(folder / "[0-9],*.xml") == ["[0-9],*.xml"]


@pytest.mark.parametrize("name", ["missing.xml", "*.nothing", "[0-9]*.xml", "deep/none"])
def test_what_names_nothing_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="no input at"):
        resolve_inputs([str(folder / name)], None)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no input at"):
        resolve_inputs([str(tmp_path)], None)


def test_broken_links_are_found_by_globs_and_folders_but_missing_by_name(folder: Path) -> None:
    (folder / "deep" / "gone.xml").symlink_to("nowhere")
    assert names(folder / "deep" / "*.xml") == ["d.xml", "gone.xml"]
    assert names(folder / "deep") == ["d.xml", "gone.xml"]
    with pytest.raises(InputError, match="no input at"):
        names(folder / "deep" / "gone.xml")


def test_two_files_of_one_name_are_refused_and_one_file_twice_is_one(folder: Path) -> None:
    (folder / "deep" / "b.xml").write_text("other")
    with pytest.raises(InputError, match=r"two inputs are called 'b\.xml'"):
        names(folder / "b.xml", folder / "deep" / "b.xml")
    assert names(folder / "b.xml", folder / "*.xml", f"{folder}/deep/../b.xml") == ["b.xml"]


def test_an_unknown_format_is_refused_unless_it_is_given(folder: Path) -> None:
    with pytest.raises(InputError, match=r"notes\.txt"):
        names(folder / "notes.txt")
    assert names(folder / "notes.txt", format=Format.PUBTATOR) == ["notes.txt"]


def test_a_name_that_cannot_stand_in_the_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"{'x' * 230}.xml").write_text("")
    with pytest.raises(InputError, match="too long"):
        names(tmp_path)
    (tmp_path / f"{'x' * 230}.xml").unlink()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.xml")).write_text("")
    with pytest.raises(InputError, match="not UTF-8"):
        names(tmp_path / "*.xml")


@pytest.fixture
def bucket() -> Iterator[str]:
    MemoryFiles.objects.clear()
    root = f"{SCHEME}://bucket/in"
    for name in ("a.xml", "b.xml.gz", "b.xml.gz.md5", "n.txt"):
        MemoryFiles.objects[f"{root}/{name}"] = b"123"
    yield root
    MemoryFiles.objects.clear()


def test_object_stores_are_listed_by_beam(bucket: str) -> None:
    assert resolve_inputs([f"{bucket}/*.xml"], None) == [InputFile(f"{bucket}/a.xml", "a.xml", 3)]
    assert names(f"{bucket}/*.xml*") == ["a.xml", "b.xml.gz"]
    assert names(bucket) == ["a.xml", "b.xml.gz"]
    with pytest.raises(InputError, match="no input at"):
        names(f"{bucket}/c*")
    with pytest.raises(InputError, match="cannot list"):
        names("unknown-scheme://bucket/x.xml")
