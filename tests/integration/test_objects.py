"""Objects on a disk, in S3 and in Google Cloud Storage: the same promises, against real servers."""

import io
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.output.store import open_store
from pipelines.output.writer import read_block
from pubner import cli
from schemas.errors import ConflictError, OutputError
from tests.support.annotating import annotate, articles, check_output, pubmed_xml
from tests.support.blocks import all_rows, rows
from tests.support.gcs import GcsServer
from tests.support.object_servers import running, skip_without_go
from tests.support.parts import KEY, SIZE, part, writer_to
from tests.support.s3 import S3Server, download, versions
from tests.support.services import run_local
from worker.storage.gcs import GcsObjects
from worker.storage.opening import open_bucket, open_objects
from worker.storage.s3 import S3Objects


class Disk:
    """A folder, where the others are servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}

    def up(self) -> None:
        pass

    def down(self) -> None:
        pass

    def url(self, path: str) -> str:
        return str(self.folder / path)


Server = Disk | S3Server | GcsServer


@pytest.fixture(scope="module", params=[Disk, S3Server, GcsServer])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One server of each kind; each test takes a prefix of its own."""
    if request.param is not Disk:
        skip_without_go()
    with running(request.param(tmp_path_factory.mktemp("objects"))) as found:
        yield found


@pytest.fixture
def root(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The folder or URL of an output of this test's own; this process can reach it."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server.url(f"{tmp_path.name}/out")


@pytest.fixture
def bucket(root: str) -> S3Objects | GcsObjects:
    """The objects below a URL."""
    found = open_bucket(root)
    if found is None:
        pytest.skip("a folder is no bucket")
    assert isinstance(found, S3Objects | GcsObjects)
    return found


def test_the_server_is_started_once_and_says_whether_it_runs(
    server: Server, tmp_path: Path
) -> None:
    if isinstance(server, Disk):
        pytest.skip("a folder is no server")
    name = "s3" if isinstance(server, S3Server) else "gcs"
    before = dict(server.environment)
    server.up()
    assert server.environment == before
    folder = f"--folder={tmp_path / 'other'}"
    assert run_local(name, "status", folder).returncode == 3
    url = before["AWS_ENDPOINT_URL" if name == "s3" else "STORAGE_EMULATOR_HOST"]
    port = url.rpartition(":")[2]
    refused = run_local(name, "up", folder, f"--port={port}")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"deploy/local/{name}: port {port} is taken")


def test_objects_are_replaced_where_the_version_is_the_one_given(root: str) -> None:
    objects = pickle.loads(pickle.dumps(open_objects(root)))
    assert objects.get("k/a") is None
    assert objects.open("k/a") is None
    assert objects.names("k") == []
    first = objects.put("k/a", b"one", over=None)
    assert objects.get("k/a") == (b"one", first)
    other = '"other"' if root.startswith("s3://") else "12345"
    for path, over in (("k/a", None), ("k/a", other), ("k/none", first)):
        with pytest.raises(ConflictError):
            objects.put(path, b"two", over=over)
    second = objects.put("k/a", b"two", over=first)
    third = objects.put("k/a", b"two", over=second)
    # The same bytes again are another generation in Google Cloud Storage, where no digest counts.
    assert (third != second) == root.startswith("gs://")
    assert objects.get("k/a") == (b"two", third)
    objects.put("k/below/b", b"", over=None)
    objects.put("k/c", b"", over=None)
    assert objects.names("k") == ["a", "c"]
    assert objects.names("k", "c") == ["c"]
    objects.remove("k/a")
    objects.remove("k/a")
    assert objects.get("k/a") is None
    assert objects.names("k") == ["c"]


def test_an_object_is_read_by_ranges(root: str) -> None:
    objects = open_objects(root)
    data = os.urandom(400_000)
    version = objects.put("k/big", data, over=None)
    objects.put("k/small", b"small", over=None)
    objects.put("k/empty", b"", over=None)
    for name, content in (("empty", b""), ("small", b"small")):
        whole = objects.open(f"k/{name}")
        assert whole is not None
        with whole:
            assert whole.read() == content
    stream = objects.open("k/big")
    assert stream is not None
    with stream:
        assert stream.seek(-8, io.SEEK_END) == len(data) - 8
        assert stream.read() == data[-8:]
        assert stream.seek(1000) == 1000
        assert stream.read(5) == data[1000:1005]
        stream.seek(0)
        assert stream.read() == data
        objects.put("k/big", data[::-1], over=version)
        stream.seek(0)
        if "://" not in root:  # the file that was opened stays
            assert stream.read(5) == data[:5]
            return
        with pytest.raises(OutputError, match=r"cannot read '(gs|s3)://.*k/big'"):
            stream.read(5)  # never a part of another version


def test_of_many_writers_one_wins(root: str) -> None:
    objects = open_objects(root)
    version = objects.put("k/a", b"-", over=None)

    def write(number: int) -> bool:
        try:
            objects.put("k/a", b"%d" % number, over=version)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(32)))
    assert won.count(True) == 1
    found = objects.get("k/a")
    assert found is not None
    assert found.data == b"%d" % won.index(True)


def test_a_bucket_that_is_not_there_is_one_error(bucket: S3Objects | GcsObjects) -> None:
    objects = type(bucket)(f"{bucket.scheme}://no-such-bucket/out")
    attempts: list[Callable[[], object]] = [
        lambda: objects.names("a"),
        lambda: objects.put("a", b"", over=None),
    ]
    said = r"://no-such-bucket/out/a'.*(Not Found|bucket does not exist).*check the b"
    for action in attempts:
        with pytest.raises(OutputError, match=said):
            action()


def test_a_listing_tells_versions(bucket: S3Objects | GcsObjects) -> None:
    versions = {x: bucket.put(f"a/{x}", x.encode(), over=None) for x in ("b-1", "b-2", "c", "d")}
    bucket.put("a/e/f", b"below", over=None)
    assert bucket.states("none") == {}
    listed = bucket.states("a", ("b", "d"))
    assert {name: state.version for name, state in listed.items()} == {
        name: versions[name] for name in ("b-1", "b-2", "d")
    }
    assert [(x.size, x.settled) for x in listed.values()] == [(3, True), (3, True), (1, True)]
    bucket.put("a/c", b"x", over=versions["c"])
    assert bucket.states("a")["c"].version != versions["c"]
    assert bucket.names("a") == ["b-1", "b-2", "c", "d"]


def test_annotate_writes_there_what_it_writes_to_a_disk(
    tmp_path: Path, checkpoint: Path, root: str
) -> None:
    source = pubmed_xml(tmp_path / "a.xml", [*articles(12), "<PubmedArticle/>"])
    annotate([source], tmp_path / "disk", checkpoint)
    options = [f"--output={root}", f"--checkpoint={checkpoint}", "--threads=1", "--block-size=5"]
    words = ["annotate", str(source), *options]
    assert cli.main(words) == 0
    assert check_output(download(root, tmp_path / "there")) == all_rows(tmp_path / "disk")
    before = versions(root)
    assert len(before) == 9
    file = tmp_path / "again.json"
    assert cli.main([*words, f"--json={file}"]) == 0
    assert '"citations_annotated_now": 0' in file.read_text()
    assert versions(root) == before


def test_writers_that_race_on_one_block_lose_nothing(tmp_path: Path, root: str) -> None:
    def write(number: int) -> None:
        place = number % SIZE
        writer_to(open_store(root)).write(part(place, place + 1, number))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(16)))
    found = read_block(open_store(root), KEY)
    assert found is not None
    assert found.consistent
    assert found.footer.covered == ((0, SIZE),)
    check = download(root, tmp_path / "there")
    assert [row["offset"] for row in rows(check, "citations")] == list(range(SIZE))
    assert len(rows(check, "mentions")) == 2 * SIZE
