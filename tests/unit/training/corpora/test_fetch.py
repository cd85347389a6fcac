import fcntl
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from schemas.errors import CorpusError, InputError, OutputError
from tests.support.corpus_server import CorpusServer, serving
from training.corpora.catalogue import CatalogueEntry, CatalogueFile, Split, catalogue
from training.corpora.digests import blob_id, file_blob_id
from training.corpora.download import RetryPolicy
from training.corpora.fetch import Fetcher, FetchStatus
from training.corpora.schemes import Scheme

CONTENT = {split: (f"{split}\tO\ncancer\tS-Disease\n\n" * 500).encode() for split in Split}
ENTRY = CatalogueEntry(
    "tiny",
    "TINY-IOBES",
    Scheme.IOBES,
    ("Disease",),
    tuple(CatalogueFile(split, blob_id(CONTENT[split])) for split in Split),
    "ours",
)
PATH = "/TINY-IOBES/train.tsv"
TRAIN = CONTENT[Split.TRAIN]


@pytest.fixture
def server() -> Iterator[CorpusServer]:
    files = {f"/TINY-IOBES/{split}.tsv": content for split, content in CONTENT.items()}
    with serving(CorpusServer(files)) as running:
        yield running


class Waits(list[float]):
    """Stands in for `time.sleep` and remembers for how long it was asked."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def fetcher(server: CorpusServer, waits: Waits | None = None, *, replace: bool = False) -> Fetcher:
    return Fetcher(
        sleep=waits if waits is not None else Waits(),
        progress=lambda name, have, total: None,
        base_url=server.url,
        patience=RetryPolicy(attempts=3, timeout=5),
        replace=replace,
    )


def only_train() -> CatalogueEntry:
    return CatalogueEntry(
        ENTRY.name, ENTRY.folder, ENTRY.scheme, ENTRY.labels, ENTRY.files[:1], ENTRY.licence
    )


def test_a_blob_id_is_what_git_says() -> None:
    # `printf 'what is up, doc?' | git hash-object --stdin`, from the book "Pro Git".
    assert blob_id(b"what is up, doc?") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"


def test_fetches_every_file_and_keeps_what_is_verified(
    server: CorpusServer, tmp_path: Path
) -> None:
    first = fetcher(server).fetch([ENTRY], tmp_path)
    assert [file.status for file in first] == [FetchStatus.FETCHED] * 3
    for file, split in zip(first, Split, strict=True):
        assert file.path.read_bytes() == CONTENT[split]
        assert file.blob == file_blob_id(file.path) == ENTRY.file(split).blob
    assert sorted(path.name for path in (tmp_path / "TINY-IOBES").iterdir()) == [
        "devel.tsv",
        "test.tsv",
        "train.tsv",
    ]
    second = fetcher(server).fetch([ENTRY], tmp_path)
    assert [file.status for file in second] == [FetchStatus.PRESENT] * 3
    assert len(server.ranges) == 3


def test_a_broken_transfer_goes_on_where_it_broke(server: CorpusServer, tmp_path: Path) -> None:
    server.troubles = [1000, 500]
    waits = Waits()
    (file,) = fetcher(server, waits).fetch([only_train()], tmp_path)
    assert file.status == FetchStatus.RESUMED
    assert file.path.read_bytes() == TRAIN
    assert server.ranges == [None, "bytes=1000-", "bytes=1500-"]
    assert waits == [1.0, 2.0]


def test_a_later_run_goes_on_where_the_last_one_gave_up(
    server: CorpusServer, tmp_path: Path
) -> None:
    server.troubles = [100, 100, 100]
    with pytest.raises(InputError, match=r"broke off after 300 of \d+ bytes; gave up after 3"):
        fetcher(server).fetch([only_train()], tmp_path)
    assert not (tmp_path / "TINY-IOBES" / "train.tsv").exists()
    (file,) = fetcher(server).fetch([only_train()], tmp_path)
    assert server.ranges[-1] == "bytes=300-"
    assert file.path.read_bytes() == TRAIN


def test_a_part_that_is_already_whole_is_taken(server: CorpusServer, tmp_path: Path) -> None:
    part = tmp_path / "TINY-IOBES" / ".train.tsv.part"
    part.parent.mkdir()
    part.write_bytes(TRAIN)
    (file,) = fetcher(server).fetch([only_train()], tmp_path)
    assert file.path.read_bytes() == TRAIN
    assert not part.exists()


@pytest.mark.parametrize("left", [b"x" * 100, b"x" * (len(TRAIN) + 1)], ids=["short", "long"])
def test_a_part_of_another_file_is_thrown_away(
    server: CorpusServer, tmp_path: Path, left: bytes
) -> None:
    part = tmp_path / "TINY-IOBES" / ".train.tsv.part"
    part.parent.mkdir()
    part.write_bytes(left)
    (file,) = fetcher(server).fetch([only_train()], tmp_path)
    assert file.path.read_bytes() == TRAIN


def test_a_server_without_ranges_sends_the_whole_file_again(
    server: CorpusServer, tmp_path: Path
) -> None:
    server.knows_ranges = False
    server.troubles = [1000]
    (file,) = fetcher(server).fetch([only_train()], tmp_path)
    assert file.path.read_bytes() == TRAIN
    assert server.ranges == [None, "bytes=1000-"]


def test_a_busy_server_is_given_the_time_it_asks_for(server: CorpusServer, tmp_path: Path) -> None:
    server.troubles = [HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS]
    server.retry_after = "7"
    waits = Waits()
    fetcher(server, waits).fetch([only_train()], tmp_path)
    assert waits == [7.0, 7.0]


def test_wrong_content_is_refused_and_removed(server: CorpusServer, tmp_path: Path) -> None:
    server.files[PATH] = TRAIN.replace(b"S-Disease", b"S-disease", 1)
    expected = f"got a file with git blob id {blob_id(server.files[PATH])}, expected"
    with pytest.raises(CorpusError, match=expected):
        fetcher(server).fetch([only_train()], tmp_path)
    assert list((tmp_path / "TINY-IOBES").iterdir()) == []
    assert len(server.ranges) == 1


def test_a_file_that_is_not_served_is_not_asked_for_again(
    server: CorpusServer, tmp_path: Path
) -> None:
    del server.files[PATH]
    with pytest.raises(InputError, match="the server answered 404 Not Found"):
        fetcher(server).fetch([only_train()], tmp_path)
    assert len(server.ranges) == 1


def test_a_file_with_other_content_is_replaced_only_on_request(
    server: CorpusServer, tmp_path: Path
) -> None:
    path = tmp_path / "TINY-IOBES" / "train.tsv"
    path.parent.mkdir()
    path.write_bytes(b"mine\tO\n")
    with pytest.raises(CorpusError, match="is there with other content"):
        fetcher(server).fetch([only_train()], tmp_path)
    assert path.read_bytes() == b"mine\tO\n"
    fetcher(server, replace=True).fetch([only_train()], tmp_path)
    assert path.read_bytes() == TRAIN


def test_no_network_is_one_clear_error_at_once(tmp_path: Path) -> None:
    waits = Waits()
    with serving(CorpusServer({})) as gone:
        pass
    with pytest.raises(InputError, match=r"cannot be reached \(Connection refused\); check"):
        fetcher(gone, waits).fetch([only_train()], tmp_path)
    assert waits == []


def test_only_web_addresses_are_opened(tmp_path: Path) -> None:
    local = CorpusServer({}, url=f"file://{tmp_path}")
    with pytest.raises(InputError, match="expected an https:// or http:// address"):
        fetcher(local).fetch([only_train()], tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(server: CorpusServer, tmp_path: Path) -> None:
    (tmp_path / "TINY-IOBES").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        fetcher(server).fetch([only_train()], tmp_path)


def test_two_fetches_do_not_write_one_file(server: CorpusServer, tmp_path: Path) -> None:
    part = tmp_path / "TINY-IOBES" / ".train.tsv.part"
    part.parent.mkdir()
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="is being written by another process"):
            fetcher(server).fetch([only_train()], tmp_path)


def test_the_broken_folder_is_not_fetched(server: CorpusServer, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="corpus 'jnlpba-iobes' is not fetched"):
        fetcher(server).fetch([catalogue()["jnlpba-iobes"]], tmp_path)


DRIFTED = b"A\tO\n\nB\tB-X\n.\tO\nC\tO\n\nD\tO\n\n.\tO\nE\tO\n.\tO\n"
MENDED = b"A\tO\nB\tB-X\n.\tO\n\nC\tO\nD\tO\n.\tO\n\nE\tO\n.\tO\n\n"


@pytest.mark.parametrize("repaired", [blob_id(MENDED), "0" * 40], ids=["known", "unknown"])
def test_drifted_breaks_are_mended_after_the_check(
    server: CorpusServer, tmp_path: Path, repaired: str
) -> None:
    drifted = CatalogueFile(Split.TRAIN, blob_id(DRIFTED), repaired, mentions=1)
    entry = CatalogueEntry("tiny", "TINY-IOBES", Scheme.IOB2, ("X",), (drifted,), "ours")
    server.files[PATH] = DRIFTED
    (file,) = fetcher(server).fetch([entry], tmp_path)
    assert file.status == FetchStatus.REPAIRED
    assert file.path.read_bytes() == MENDED
    assert file.blob == blob_id(MENDED)
    assert len(list(file.path.parent.iterdir())) == 1


def test_a_mend_that_loses_mentions_is_refused(server: CorpusServer, tmp_path: Path) -> None:
    drifted = CatalogueFile(Split.TRAIN, blob_id(DRIFTED), "0" * 40, mentions=2)
    entry = CatalogueEntry("tiny", "TINY-IOBES", Scheme.IOB2, ("X",), (drifted,), "ours")
    server.files[PATH] = DRIFTED
    with pytest.raises(CorpusError, match="could not be repaired: 1 mentions, expected 2"):
        fetcher(server).fetch([entry], tmp_path)
    assert not (tmp_path / "TINY-IOBES" / "train.tsv").exists()
