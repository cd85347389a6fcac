"""Several processes and threads that write to one block on a disk; some are killed or stopped."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.output.store import LOCKS, DiskStore
from pipelines.output.writer import committed_blocks, read_block
from schemas.errors import LockedError
from tests.support.blocks import hidden_files, rows
from tests.support.parts import KEY, part, writer_to
from tests.support.writing import start_writer
from worker.system.locks import exclusive

PLACES = ["commit mentions", "commit dead_letters", "commit citations"]


def checkpoints(root: Path) -> dict[int, str]:
    return {row["offset"]: row["checkpoint_id"] for row in rows(root, "citations")}


@pytest.mark.parametrize("step", ["stage citations", *PLACES])
def test_a_process_killed_between_two_renames_leaves_nothing_mixed(
    tmp_path: Path, step: str
) -> None:
    writer = writer_to(DiskStore(tmp_path))
    writer.write(part(0, 4, 1))
    dying = start_writer(str(tmp_path), 2, 6, 2, step, "SIGKILL")
    _, said = dying.communicate(timeout=120)
    assert dying.returncode == -signal.SIGKILL, said
    assert hidden_files(tmp_path) != []
    begun = step in PLACES[1:]
    assert (committed_blocks(DiskStore(tmp_path), KEY.source) == {}) == begun
    writer.write(part(6, 8, 3))
    expected = dict.fromkeys([0, 1], "c1") | dict.fromkeys([6, 7], "c3")
    expected |= dict.fromkeys([2, 3, 4, 5], "c2") if begun else dict.fromkeys([2, 3], "c1")
    assert checkpoints(tmp_path) == expected
    assert [row["offset"] for row in rows(tmp_path, "mentions")] == sorted(2 * list(expected))
    assert hidden_files(tmp_path) == []
    found = read_block(DiskStore(tmp_path), KEY)
    assert found is not None
    assert found.consistent


def wait_until_stopped(process: "subprocess.Popen[str]") -> None:
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def test_a_process_that_was_stopped_and_writes_late_loses_nothing(tmp_path: Path) -> None:
    writer = writer_to(DiskStore(tmp_path))
    writer.write(part(0, 2, 1))
    stale = start_writer(str(tmp_path), 1, 5, 2, "stage mentions", "SIGSTOP")
    wait_until_stopped(stale)
    lock = tmp_path / LOCKS / "topic-0.lock"
    held = pytest.raises(LockedError, match=rf"process {stale.pid} holds the lock .*topic-0\.lock")
    with held, exclusive(lock, wait_seconds=0):
        pass
    with ThreadPoolExecutor() as threads:
        late = threads.submit(writer.write, part(4, 8, 3))
        stale.send_signal(signal.SIGCONT)
        assert stale.communicate(timeout=120)[0] == "done\n"
        late.result(timeout=120)
    found = checkpoints(tmp_path)
    assert sorted(found) == list(range(8))
    assert found[4] in ("c2", "c3")
    assert len(rows(tmp_path, "mentions")) == 16
    assert hidden_files(tmp_path) == []


def test_a_stopped_process_that_is_killed_frees_its_partition(tmp_path: Path) -> None:
    stale = start_writer(str(tmp_path), 0, 4, 1, "commit citations", "SIGSTOP")
    wait_until_stopped(stale)
    other = start_writer(str(tmp_path), 2, 8, 2)
    stale.kill()
    stale.communicate(timeout=120)
    assert other.communicate(timeout=120)[0] == "done\n"
    found = checkpoints(tmp_path)
    assert found == dict.fromkeys([0, 1], "c1") | dict.fromkeys(range(2, 8), "c2")
    assert hidden_files(tmp_path) == []


def test_threads_and_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    others = [start_writer(str(tmp_path), n, n + 2, n) for n in (0, 3, 6)]
    with ThreadPoolExecutor(4) as threads:
        parts = [part(n % 8, n % 8 + 1, n) for n in range(40)]
        list(threads.map(writer_to(DiskStore(tmp_path)).write, parts))
    for other in others:
        assert other.communicate(timeout=120)[0] == "done\n"
    assert sorted(checkpoints(tmp_path)) == list(range(8))
    [footer] = committed_blocks(DiskStore(tmp_path), KEY.source).values()
    assert (footer.covered, footer.complete) == (((0, 8),), True)
    assert len(rows(tmp_path, "mentions")) == 16


def test_another_partition_is_not_locked(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    with store.replacing(KEY), store.replacing(type(KEY)(KEY.source, 1, 0)):
        locks = sorted(path.name for path in (tmp_path / LOCKS).iterdir())
        assert locks == ["topic-0.lock", "topic-1.lock"]
