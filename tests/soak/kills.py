"""The ways in which a part of a running stream is killed, and set going again as a user would."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from tests.soak.scene import Scene
from tests.support.services import kill

Kill = Callable[[Scene], None]
_STALE_SECONDS = 20.0
_WATCH_SECONDS = 60.0
_STOP_SECONDS = 0.05
_YOUNG_KILLS = 2


def kill_worker(scene: Scene) -> None:
    """SIGKILL of the Python workers; Flink restarts the job."""
    scene.wait_until(lambda: bool(scene.flink.workers()), what="a worker")
    _kill(scene.flink.workers())


def kill_young(scene: Scene) -> None:
    """SIGKILL of the workers, and again right after the first checkpoint that follows, in turn.

    The job is then restarted with what the runner kept of its readers when it had only begun.
    """
    for _ in range(_YOUNG_KILLS):
        before = scene.flink.newest_checkpoint()
        kill_worker(scene)
        scene.newest_checkpoint(behind=before)
    kill_worker(scene)


def kill_starting(scene: Scene) -> None:
    """SIGKILL of the workers, and of those that replace them before they are of use.

    Beam's runner then waits for them without end, or for minutes, and the command restarts the job.
    """
    before = set(scene.flink.workers())
    _kill(list(before))
    scene.wait_until(
        lambda: bool(set(scene.flink.workers()) - before), what="the workers that replace them"
    )
    _kill([pid for pid in scene.flink.workers() if pid not in before])


def kill_taskmanager(scene: Scene) -> None:
    """SIGKILL of the TaskManager; another one is started, Flink restarts the job there."""
    scene.flink.kill("taskmanager-1")
    scene.flink.start("taskmanager")


def kill_jobmanager(scene: Scene) -> None:
    """SIGKILL of the JobManager; the job goes on from its newest checkpoint, as a new one."""
    [job] = scene.running_jobs()
    checkpoint = scene.newest_checkpoint(job)
    scene.flink.kill("jobmanager")
    scene.kill_launcher()
    scene.flink.start("jobmanager")
    checkpoint = scene.flink.newest_checkpoint(job) or checkpoint
    scene.start(scene.runner.resumed_from(checkpoint.as_uri()))


def lose_all_state(scene: Scene) -> None:
    """SIGKILL of the JobManager; a new job begins with the group's offsets and no state."""
    scene.flink.kill("jobmanager")
    scene.kill_launcher()
    scene.flink.start("jobmanager")
    scene.start()


def kill_broker(scene: Scene) -> None:
    """SIGKILL of the broker, which is away for some seconds and comes back with its data."""
    with scene.load.held():
        scene.kafka.kill()
        time.sleep(3)
        scene.kafka.restart()


def kill_in_replacement(scene: Scene) -> None:
    """SIGKILL of the workers while the three files of a block are being written."""
    workers = scene.flink.workers()
    end = time.monotonic() + _WATCH_SECONDS
    while time.monotonic() < end:
        if not _is_replacing(scene):
            continue
        _send(workers, signal.SIGSTOP)
        time.sleep(_STOP_SECONDS)
        if _is_replacing(scene):
            _kill(workers)
            return
        _send(workers, signal.SIGCONT)
    raise AssertionError("no block was replaced")


def leave_stale_worker(scene: Scene) -> None:
    """A worker that is stopped, taken for dead and replaced, and that goes on afterwards."""
    scene.wait_until(lambda: bool(scene.flink.workers()), what="a worker")
    stale = scene.flink.workers()
    _send(stale, signal.SIGSTOP)
    try:
        kill_taskmanager(scene)
        # One that was stopped while it held a lock keeps the new one waiting, until it goes on.
        goal, end = scene.rows() + 200, time.monotonic() + _STALE_SECONDS
        while scene.rows() < goal and time.monotonic() < end:
            time.sleep(0.2)
    finally:
        _send(stale, signal.SIGCONT)


def kill_launcher(scene: Scene) -> None:
    """SIGKILL of the command; another is started, and for a while two jobs write one output."""
    [job] = scene.running_jobs()
    scene.kill_launcher()
    scene.start()
    scene.wait_until(lambda: len(scene.running_jobs()) > 1, what="the second job")
    scene.wait_for_progress(what="progress of two jobs")
    scene.flink.cancel(job)


def stop_and_resume(scene: Scene) -> None:
    """No kill: stop with a savepoint, and go on from it."""
    scene.stop_and_resume()


KILLS: Mapping[str, Kill] = {
    "worker": kill_worker,
    "young": kill_young,
    "starting": kill_starting,
    "taskmanager": kill_taskmanager,
    "jobmanager": kill_jobmanager,
    "no state": lose_all_state,
    "broker": kill_broker,
    "replacement": kill_in_replacement,
    "stale worker": leave_stale_worker,
    "launcher": kill_launcher,
    "savepoint": stop_and_resume,
}


def _is_replacing(scene: Scene) -> bool:
    return any(scene.stream.output.glob("*/.*.tmp"))


def _send(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            kill(pid)
