"""Files as blocks; written blocks are passed over."""

import gzip
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.blocks.elements import AnnotatedBlock, AnnotatedCitation, InputFile, ReadBlock
from pipelines.blocks.keys import BlockKey
from pipelines.blocks.known import KnownBlocks
from pipelines.output.index import read_index
from pipelines.output.store import DiskStore
from pipelines.output.writer import BlockWriter, committed_blocks, read_pmids
from pipelines.sources.files import BlockReader
from pipelines.sources.fingerprint import UNREADABLE
from pipelines.telemetry.run_channel import WorkerChannel
from tests.support.blocks import NOW, as_of_an_older_reader, with_header
from tests.support.memory_files import SCHEME, MemoryFiles
from worker.readers.formats import READER_VERSION
from worker.storage.objects import ObjectState


def reader(size: int = 3, checkpoint_id: str = "c1", settings: str = "") -> BlockReader:
    return BlockReader(size, checkpoint_id, settings, None, lambda: NOW, WorkerChannel())


def jsonl(path: Path, count: int, *, bad: tuple[int, ...] = (), first: int = 0) -> InputFile:
    lines = [
        "broken"
        if number in bad
        else json.dumps({"pmid": 1 + number, "title": f"T{number}", "abstract": ""})
        for number in range(first, first + count)
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return InputFile(str(path), path.name, path.stat().st_size)


def write(store: DiskStore, blocks: Iterator[ReadBlock], checkpoint_id: str = "c1") -> list[int]:
    """Write blocks without annotations; return their starts."""
    writer = BlockWriter(store=store, block_size=3, settings="")
    starts = []
    for block in blocks:
        writer.write(
            AnnotatedBlock(
                block.header,
                checkpoint_id,
                NOW,
                tuple(AnnotatedCitation(x.offset, x.citation, None) for x in block.citations),
                block.dead_letters,
            )
        )
        starts.append(block.header.key.start)
    return starts


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 13), st.integers(1, 5), st.sets(st.integers(0, 12)))
def test_every_record_is_in_one_block_of_the_grid(
    tmp_path_factory: pytest.TempPathFactory, count: int, size: int, bad: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("in")
    file = jsonl(folder / "x.jsonl", count, bad=tuple(bad))
    blocks = list(reader(size).read(file, DiskStore(folder / "out")))
    offsets: list[int] = []
    for block in blocks:
        here = [c.offset for c in block.citations]
        here += [dead_letter.position.offset for dead_letter in block.dead_letters]
        assert all(
            block.header.key.start <= offset < block.header.key.start + size for offset in here
        )
        assert block.header.key.start % size == 0
        offsets += here
    assert sorted(offsets) == list(range(count))
    assert [block.header.last for block in blocks] == [False] * (len(blocks) - 1) + [True]
    assert all(block.header.complete for block in blocks)
    dead_letters = {
        dead_letter.position.offset for block in blocks for dead_letter in block.dead_letters
    }
    assert dead_letters == {offset for offset in bad if offset < count}


def test_the_digest_is_the_file_s(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "x.jsonl", 2)
    [block] = reader().read(file, DiskStore(tmp_path / "out"))
    assert block.header.input_digest == hashlib.sha256(Path(file.path).read_bytes()).hexdigest()


def test_what_is_in_place_is_not_read_again(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "out")
    file = jsonl(tmp_path / "x.jsonl", 8)
    assert write(store, reader().read(file, store)) == [0, 3, 6]
    assert write(store, reader().read(file, store)) == []
    for start in (0, 6):
        store.remove("citations", f"x.jsonl-0-{start:012d}.parquet")
        assert write(store, reader().read(file, store)) == [start]
    store.remove("mentions", f"x.jsonl-0-{3:012d}.parquet")
    assert write(store, reader().read(file, store)) == [3]


def test_another_checkpoint_settings_or_content_is_read_again(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "out")
    file = jsonl(tmp_path / "x.jsonl", 8)
    write(store, reader().read(file, store))
    assert len(list(reader(settings="other").read(file, store))) == 3
    assert write(store, reader(checkpoint_id="c2").read(file, store), "c2") == [0, 3, 6]
    file = jsonl(tmp_path / "x.jsonl", 4)
    assert write(store, reader(checkpoint_id="c2").read(file, store), "c2") == [0, 3]
    assert sorted(committed_blocks(store, "x.jsonl")) == [0, 3]
    file = jsonl(tmp_path / "x.jsonl", 0)
    assert write(store, reader().read(file, store)) == [0]
    assert sorted(committed_blocks(store, "x.jsonl")) == [0]


def test_a_sidecar_is_checked(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "x.jsonl", 2)
    store = DiskStore(tmp_path / "out")
    sidecar = tmp_path / "x.jsonl.md5"
    md5 = hashlib.md5(Path(file.path).read_bytes()).hexdigest()
    sidecar.write_text(f"MD5(x.jsonl)= {md5}\n")
    [block] = reader().read(file, store)
    assert len(block.citations) == 2
    for text in (f"MD5(x.jsonl)= {'0' * 32}\n", "", " ", "nonsense"):
        sidecar.write_text(text)
        [refused] = reader().read(file, store)
        [dead_letter] = refused.dead_letters
        assert refused.citations == ()
        assert (refused.header.complete, refused.header.last) == (True, True)
        assert dead_letter.position.offset == 0
        assert (str(dead_letter.stage), dead_letter.payload) == ("read", text.encode())
        assert dead_letter.error_type == "InputError"
    assert write(store, reader().read(file, store)) == [0]
    assert write(store, reader().read(file, store)) == []
    sidecar.unlink()
    assert write(store, reader().read(file, store)) == [0]
    assert committed_blocks(store, "x.jsonl")[0].records == 2


def test_a_file_that_cannot_be_read_is_one_dead_letter_until_it_can(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "out")
    place = tmp_path / "x.jsonl"
    place.mkdir()
    file = InputFile(str(place), "x.jsonl")
    [refused] = reader().read(file, store)
    [dead_letter] = refused.dead_letters
    assert (refused.header.input_digest, dead_letter.error_type) == (
        UNREADABLE,
        "IsADirectoryError",
    )
    assert dead_letter.error == "x.jsonl cannot be read: Is a directory"
    assert write(store, reader().read(file, store)) == [0]
    place.rmdir()
    assert write(store, reader().read(jsonl(place, 5), store)) == [0, 3]
    place.unlink()
    place.mkdir()
    assert list(reader().read(file, store)) == []
    assert sorted(committed_blocks(store, "x.jsonl")) == [0, 3]


def test_what_an_older_reader_made_is_read_again_where_that_is_asked(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    store = DiskStore(folder)
    file = jsonl(tmp_path / "x.jsonl", 8)
    again = replace(reader(), reread_older=True)
    assert write(store, reader().read(file, store)) == [0, 3, 6]
    assert {x.reader_version for x in committed_blocks(store, "x.jsonl").values()} == {
        READER_VERSION
    }
    assert write(store, again.read(file, store)) == []
    as_of_an_older_reader(folder)
    assert write(store, reader().read(file, store)) == []
    (folder / "citations" / f"x.jsonl-0-{3:012d}.parquet").unlink()
    assert write(store, reader().read(file, store)) == [3]
    older = {
        start: footer.is_of_older_reader
        for start, footer in committed_blocks(store, "x.jsonl").items()
    }
    assert older == {0: True, 3: False, 6: True}
    assert write(store, again.read(file, store)) == [0, 6]
    assert write(store, again.read(file, store)) == []


def test_blocks_in_which_an_older_reader_counted_otherwise_are_not_gone_on_from(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "out"
    store = DiskStore(folder)
    file = jsonl(tmp_path / "x.jsonl", 9)
    digest = next(iter(reader().read(file, store))).header.input_digest
    # An older reader that lost the file's second record, and was stopped in the third block.
    shifted = [
        with_header(block, input_digest=digest, last=False)
        for block in reader().read(jsonl(tmp_path / "y" / "x.jsonl", 8, first=1), store)
    ]
    assert write(store, iter(shifted[1:2])) == [3]
    first = next(iter(reader().read(file, store)))
    assert write(store, iter([first])) == [0]
    as_of_an_older_reader(folder)
    assert write(store, reader().read(file, store)) == [3, 6]
    pmids = [
        pmid
        for start in (0, 3, 6)
        for pmid in read_pmids(store, BlockKey("x.jsonl", 0, start)).values()
    ]
    assert pmids == list(range(1, 10))


class _Breaking(io.BytesIO):
    """A stream that fails behind its first 300 bytes, when it is read for the second time."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(min(300, len(self.getvalue())))
        if not data:
            raise OSError(5, "Input/output error")
        return data


def test_a_stream_that_breaks_off_is_read_again_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DiskStore(tmp_path / "out")
    data = Path(jsonl(tmp_path / "x.jsonl", 20).path).read_bytes()
    path = f"{SCHEME}://bucket/x.jsonl"
    MemoryFiles.objects[path] = data
    file = InputFile(path, "x.jsonl")
    opened: list[str] = []
    original = MemoryFiles.open

    def breaking(self: MemoryFiles, path: str, *args: object, **options: object) -> BinaryIO:
        opened.append(path)
        return _Breaking(data) if len(opened) == 2 else original(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFiles, "open", breaking)
        blocks = list(reader().read(file, store))
    assert not blocks[-1].header.last
    assert blocks[-1].header.input_digest == UNREADABLE
    assert blocks[-1].dead_letters[-1].error == "x.jsonl cannot be read: Input/output error"
    good = write(store, iter(blocks))[:-1]
    again = write(store, reader().read(file, store))
    assert again == [start for start in range(0, 20, 3) if start not in good]
    footers = committed_blocks(store, "x.jsonl")
    assert sum(footer.records for footer in footers.values()) == 20
    MemoryFiles.objects.clear()


def test_damaged_gzip_gives_what_came_before_the_damage(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "x.jsonl", 400)
    packed = gzip.compress(Path(file.path).read_bytes())
    place = tmp_path / "y.jsonl.gz"
    place.write_bytes(packed[: len(packed) // 2])
    blocks = list(reader(100).read(InputFile(str(place), place.name), DiskStore(tmp_path / "out")))
    good = sum(len(block.citations) for block in blocks)
    assert 50 < good < 350
    [dead_letter] = blocks[-1].dead_letters
    assert (dead_letter.position.offset, str(dead_letter.stage)) == (good, "read")
    assert blocks[-1].header.last


class UnaskedStore(DiskStore):
    """A store that may not be asked for anything."""

    def open(self, kind: str, name: str) -> BinaryIO | None:
        raise AssertionError(f"{kind}/{name} was opened")

    def states(self, kind: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        raise AssertionError(f"{kind} was listed for {prefixes}")


def test_a_file_that_is_known_to_be_done_is_skipped_without_asking_the_store(
    tmp_path: Path,
) -> None:
    file = jsonl(tmp_path / "in" / "x.jsonl", 8)
    store = DiskStore(tmp_path / "out")
    write(store, reader().read(file, store))
    known = read_index(store, ["x.jsonl"]).known()["x.jsonl"]
    unasked = UnaskedStore(tmp_path / "out")
    assert list(reader().read(replace(file, known=known), unasked)) == []
    # Another checkpoint wants all blocks again, and so does another content.
    again = replace(file, known=known)
    assert len(list(reader(checkpoint_id="c2").read(again, store))) == 3
    changed = replace(jsonl(tmp_path / "in" / "x.jsonl", 8, first=1), known=known)
    assert len(list(reader().read(changed, store))) == 3


def test_blocks_that_were_written_since_the_listing_are_not_read_again(tmp_path: Path) -> None:
    """A runner that begins a job again gives the same elements again."""
    file = jsonl(tmp_path / "in" / "x.jsonl", 8)
    store = DiskStore(tmp_path / "out")
    known = replace(file, known=KnownBlocks())
    assert write(store, islice(reader().read(known, store), 2)) == [0, 3]
    assert write(store, reader().read(known, store)) == [6]
    assert list(reader().read(known, store)) == []


def test_an_unreadable_file_whose_blocks_are_known_leaves_them(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "in" / "x.jsonl", 8)
    store = DiskStore(tmp_path / "out")
    write(store, reader().read(file, store))
    known = read_index(store, ["x.jsonl"]).known()["x.jsonl"]
    Path(file.path).unlink()
    assert list(reader().read(replace(file, known=known), store)) == []
    [refused] = reader().read(replace(file, known=KnownBlocks()), DiskStore(tmp_path / "other"))
    assert len(refused.dead_letters) == 1
