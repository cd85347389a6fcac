"""Child processes end with the process that started them, and not before."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.processes import descendants, still_running
from tests.support.root import ROOT
from tests.support.services import is_alive
from worker.system.children import supervised

_STARTS_A_CHILD = """
import subprocess, sys, threading, time
from worker.system.children import supervised
started = []
def start():
    started.append(subprocess.Popen(supervised(sys.argv[2:]), stdout=subprocess.DEVNULL))
thread = threading.Thread(target=start)
thread.start()
thread.join()
open(sys.argv[1], "w").close()
started[0].wait()
time.sleep(600)
"""
_LEAVES_A_GRANDCHILD = (
    "import subprocess, sys, time; "
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    " start_new_session=True); time.sleep(600)"
)
_FORKS = """
import multiprocessing, os, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
from worker.system.children import end_with_parent
def work(folder):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    time.sleep(600)
pool = ProcessPoolExecutor(
    2, mp_context=multiprocessing.get_context("fork"),
    initializer=end_with_parent, initargs=(os.getpid(),),
)
def start():
    for _ in range(2):
        pool.submit(work, sys.argv[1])
thread = threading.Thread(target=start)
thread.start()
thread.join()
time.sleep(600)
"""


def run(code: str, *words: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code, *(str(word) for word in words)]
    root = ROOT
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(root)})


def wait_for(process: subprocess.Popen[bytes], count: int) -> list[psutil.Process]:
    while len(found := descendants(process.pid)) < count:
        assert process.poll() is None
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_supervised_program_ends_with_its_command_and_so_does_what_it_started(
    tmp_path: Path, how: signal.Signals
) -> None:
    command = run(_STARTS_A_CHILD, tmp_path / "started", sys.executable, "-c", _LEAVES_A_GRANDCHILD)
    try:
        found = wait_for(command, 3)
        while not (tmp_path / "started").exists():
            time.sleep(0.02)
        time.sleep(0.5)  # the thread that started it is gone by now
        assert [x for x in found if not x.is_running()] == []
        os.kill(command.pid, how)
        command.wait(60)
        assert still_running(found) == []
    finally:
        command.kill()


def test_forked_processes_end_with_their_command_and_outlive_the_thread_that_forked(
    tmp_path: Path,
) -> None:
    command = run(_FORKS, tmp_path)
    try:
        while len(list(tmp_path.iterdir())) < 2:
            assert command.poll() is None
            time.sleep(0.02)
        found = [psutil.Process(int(place.name)) for place in tmp_path.iterdir()]
        time.sleep(1.0)
        assert [x for x in found if not x.is_running()] == []
        command.kill()
        command.wait(60)
        assert still_running(found) == []
    finally:
        command.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_passed_on_and_the_status_comes_back(number: signal.Signals) -> None:
    code = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\ntime.sleep(600)"
    )
    process = subprocess.Popen(
        supervised([sys.executable, "-c", code]), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(60) == 7


def test_a_program_that_ends_gives_its_status_and_leaves_nothing() -> None:
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid); sys.exit(3)"
    done = subprocess.run(
        supervised([sys.executable, "-c", code]), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert not is_alive(int(done.stdout))


def test_a_program_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    command = supervised([str(tmp_path / "none")])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (127, 1)
    assert "No such file" in done.stderr


def test_a_program_whose_command_has_ended_already_is_not_run(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    command = supervised(["touch", str(tmp_path / "ran")])
    command[command.index(str(os.getpid()))] = str(ended.pid)
    subprocess.run(command, timeout=60, check=False)
    assert list(tmp_path.iterdir()) == []
