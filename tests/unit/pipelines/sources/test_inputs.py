"""From words to input files."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.blocks.elements import InputFile
from pipelines.blocks.keys import BlockKey, file_name
from pipelines.sources.inputs import _Found, resolve_inputs, warn_of_refused
from schemas.errors import InputError
from tests.support.memory_files import SCHEME, MemoryFiles
from worker.readers.formats import Format


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


def test_a_folder_gives_its_files_of_known_formats_and_those_below(folder: Path) -> None:
    (folder / "deep" / "deeper").mkdir()
    (folder / "deep" / "deeper" / "e.pubtator").write_text("e")
    (folder / ".git").mkdir()
    (folder / ".git" / "f.xml").write_text("f")
    assert names(folder) == ["a.xml.gz", "b.xml", "c.jsonl", "d.xml", "e.pubtator"]
    assert names(folder / "deep") == ["d.xml", "e.pubtator"]
    assert names(f"file://{folder}/deep") == ["d.xml", "e.pubtator"]
    assert names(folder / "d*") == ["d.xml", "e.pubtator"]


def test_links_between_folders_end(folder: Path) -> None:
    for name in ("up", "again"):
        (folder / "deep" / name).symlink_to(folder, target_is_directory=True)
    assert names(folder) == ["a.xml.gz", "b.xml", "c.jsonl", "d.xml"]
    assert names(folder / "**" / "*.xml") == ["b.xml", "d.xml"]
    (folder / "loop.xml").symlink_to("loop.xml")
    assert "loop.xml" in names(folder)


def test_a_name_that_looks_like_a_glob_is_a_path_where_it_exists(folder: Path) -> None:
    (folder / "[0-9],*.xml").write_text("x")
    assert names(folder / "[0-9],*.xml") == ["[0-9],*.xml"]


@pytest.mark.parametrize("name", ["missing.xml", "*.nothing", "[0-9]*.xml", "deep/none"])
def test_what_names_nothing_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="no input at"):
        resolve_inputs([str(folder / name)], None)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match="nothing to read") as refused:
            resolve_inputs([str(tmp_path)], None)
        for looked_for in (str(tmp_path), "sub-folders", ".xml", ".jsonl", ".pubtator", ".gz"):
            assert looked_for in str(refused.value)
        (tmp_path / "a.xml.md5").write_text("x")
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / "notes.txt").write_text("x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_cannot_be_listed_is_named(folder: Path) -> None:
    (folder / "deep").chmod(0)
    with pytest.raises(InputError, match=r"cannot list the folder .*deep"):
        names(folder)
    (folder / "deep").chmod(0o700)


def test_broken_links_are_found_by_globs_and_folders_but_missing_by_name(folder: Path) -> None:
    (folder / "deep" / "gone.xml").symlink_to("nowhere")
    assert names(folder / "deep" / "*.xml") == ["d.xml", "gone.xml"]
    assert names(folder / "deep") == ["d.xml", "gone.xml"]
    with pytest.raises(InputError, match="no input at"):
        names(folder / "deep" / "gone.xml")


def test_two_files_of_one_name_are_refused_and_one_file_twice_is_one(folder: Path) -> None:
    (folder / "deep" / "b.xml").write_text("other")
    for words in ([folder / "b.xml", folder / "deep" / "b.xml"], [folder], [folder / "**/*.xml"]):
        with pytest.raises(InputError, match=r"two inputs are called 'b\.xml'") as refused:
            names(*words)
        assert repr(str(folder / "b.xml")) in str(refused.value)
        assert repr(str(folder / "deep" / "b.xml")) in str(refused.value)
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


def test_names_that_cannot_stand_in_the_output_do_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.xml"))
    greek = "\u03b1" * 110
    long = [tmp_path / f"{greek}{end}.xml" for end in "ab"]
    os.mkfifo(tmp_path / "pipe.jsonl")
    for path in (bad, *long, tmp_path / "good.xml"):
        path.write_text("<PubmedArticleSet/>")
    for words in ([str(tmp_path)], [str(bad), *map(str, long), str(tmp_path / "good.xml")]):
        files = {file.source: file for file in resolve_inputs(words, None)}
        assert files.pop("good.xml").refusal == ""
        assert files["\\xff\n.xml"].refusal == (
            "the file name '\\\\xff\\n.xml' is not UTF-8; rename the file"
        )
        assert sum("too long" in file.refusal for file in files.values()) == 2
        pipe = files.pop("pipe.jsonl", None)
        assert (pipe is not None) == (len(words) == 1)
        assert pipe is None or "is a pipe" in pipe.refusal
        assert len(files) == 3
        for file in files.values():
            file.path.encode("utf-8")
            file_name(BlockKey(file.source, 0, 0))
    warn_of_refused(files.values())
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.parametrize(
    "word",
    [
        "https://ftp.ncbi.nlm.nih.gov/pubmed/baseline/pubmed26n0001.xml.gz",
        "HTTP://somebody:secret@example.org/a.xml",
        "ftp://example.org/a.xml",
    ],
)
def test_addresses_of_the_web_say_what_to_do(word: str) -> None:
    with pytest.raises(InputError, match="download the file first") as refused:
        names(word)
    assert "secret" not in str(refused.value)


def test_pipes_and_devices_are_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.xml")
    reading, writing = os.pipe()
    try:
        for word in (tmp_path / "a.xml", f"/dev/fd/{reading}"):
            with pytest.raises(InputError, match=r"is a pipe; .* write it to a file first"):
                names(word, format=Format.PUBMED_XML)
    finally:
        os.close(reading)
        os.close(writing)
    with pytest.raises(InputError, match="is a device"):
        names("/dev/zero", format=Format.PUBMED_XML)


def test_a_file_that_is_open_is_read_under_its_own_name(folder: Path) -> None:
    with (folder / "b.xml").open() as stream:
        word = f"/dev/fd/{stream.fileno()}"
        assert resolve_inputs([word], None) == [
            InputFile(str((folder / "b.xml").resolve()), "b.xml", 5)
        ]
        (folder / "b.xml").unlink()
        with pytest.raises(InputError, match="without a name"):
            names(word)


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
    for name in ("deep/c.xml", "deep/er/d.jsonl", ".hidden/e.xml", "deep/.f.xml"):
        MemoryFiles.objects[f"{bucket}/{name}"] = b"123"
    for root in (bucket, f"{bucket}/"):
        assert names(root) == ["a.xml", "b.xml.gz", "c.xml", "d.jsonl"]
    MemoryFiles.objects[f"{bucket}/deep/a.xml"] = b"123"
    with pytest.raises(InputError, match=r"two inputs are called 'a\.xml'"):
        names(bucket)
    MemoryFiles.objects[f"{SCHEME}://other/in/n.txt"] = b"123"
    with pytest.raises(InputError, match=r"nothing to read in the folder .*sub-folders"):
        names(f"{SCHEME}://other/in")
    with pytest.raises(InputError, match="no input at"):
        names(f"{bucket}/c*")
    with pytest.raises(InputError, match="cannot list"):
        names("unknown-scheme://bucket/x.xml")


def test_a_folder_whose_name_is_not_utf_8_is_named(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff"))
    folder.mkdir()
    (folder / "a.jsonl").write_text("")
    (tmp_path / "b.jsonl").write_text("")
    bad, good = sorted(resolve_inputs([str(tmp_path)], None), key=lambda file: file.source)
    assert r"b\\xff/a.jsonl' is not in the locale's encoding; rename" in bad.refusal
    assert (good.source, good.refusal) == ("b.jsonl", "")


def test_a_name_in_utf_8_is_not_called_otherwise_in_another_locale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ü.jsonl").write_text("")
    latin = f"{tmp_path}/{'ü.jsonl'.encode().decode('latin-1')}"
    monkeypatch.setattr("pipelines.sources.inputs._expand", lambda _: [_Found(latin, 0)])
    monkeypatch.setattr(os, "fsencode", lambda name: name.encode("latin-1"))
    (file,) = resolve_inputs([latin], None)
    assert (file.source, file.path, file.refusal) == ("ü.jsonl", latin, "")
