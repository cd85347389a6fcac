"""The scheduler: runs all cells in parallel processes, in order of their dependencies.

Data is read once and shared by forked processes. A cell is done when its `result.json` exists, so
an interrupted run resumes. A failed cell is logged, and only cells that depend on it fail too.
"""

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

import torch

from experiments.cells import ENCODERS, Cell, find_cell
from experiments.running import Ground, run_cell
from training.finetune.precision import trains_in_bf16
from training.mlm.run import MlmRun, run_mlm
from worker.cli.progress import LINE_SECONDS
from worker.network.encoder import choose_device
from worker.system.children import end_with_parent


@dataclass(frozen=True, slots=True)
class Job:
    """A cell with a seed; a cell of `ENCODERS` makes the encoder of that name."""

    cell: str
    seed: int


def is_done(ground: Ground, job: Job) -> bool:
    """Whether the result of a job exists."""
    if job.cell in ENCODERS:
        return (ground.output / job.cell / "pretraining.json").is_file()
    return (ground.folder(job.cell, job.seed) / "result.json").is_file()


def needs(job: Job, jobs: Sequence[Job]) -> set[Job]:
    """Return the `jobs` that `job` depends on."""
    if job.cell in ENCODERS:
        return set()
    cell = find_cell(job.cell)
    return {other for other in jobs if other.cell in (*cell.teachers, cell.encoder)}


def run_jobs(
    ground: Ground,
    jobs: Sequence[Job],
    *,
    workers: int,
    threads: int,
    log: Callable[[str], None],
    last_start: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Job]:
    """Run all jobs that are not done; return those that failed or did not start.

    :param workers: processes; :param threads: CPU threads of each
    :param last_start: the time by `clock` after which no job starts; None for no limit
    """
    open_jobs = [job for job in jobs if not is_done(ground, job)]
    failed: list[Job] = []
    running: dict[Future[float], Job] = {}
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_prepare, initargs=(threads, os.getpid())
    ) as pool:
        while open_jobs or running:
            late = last_start is not None and clock() >= last_start
            for job in list(open_jobs):
                waits_for = needs(job, jobs)
                if late or waits_for & set(failed):
                    open_jobs.remove(job)
                    failed.append(job)
                elif len(running) < workers and all(is_done(ground, need) for need in waits_for):
                    open_jobs.remove(job)
                    running[pool.submit(_run, ground, job)] = job
            if not running:
                break
            ended = wait(running, timeout=LINE_SECONDS, return_when=FIRST_COMPLETED).done
            if not ended:
                names = ", ".join(f"{job.cell} seed {job.seed}" for job in running.values())
                done = sum(is_done(ground, job) for job in jobs)
                log(f"{done} of {len(jobs)} cells done; running: {names}")
            for future in ended:
                job = running.pop(future)
                error = future.exception()
                if error is None:
                    log(f"{job.cell} seed {job.seed}: {future.result():.0f} s")
                else:
                    failed.append(job)
                    trace = "".join(traceback.format_exception(error))
                    log(f"{job.cell} seed {job.seed} FAILED: {trace}")
    return failed + open_jobs


def _prepare(threads: int, parent: int) -> None:
    end_with_parent(parent)
    torch.set_num_threads(threads)


def _run(ground: Ground, job: Job) -> float:
    begun = time.monotonic()
    if job.cell in ENCODERS:
        _adapt(ground, job.cell)
    else:
        cell: Cell = find_cell(job.cell)
        run_cell(ground, cell, job.seed)
    return time.monotonic() - begun


def _adapt(ground: Ground, name: str) -> None:
    device = choose_device(ground.device)
    run_mlm(
        MlmRun(
            ENCODERS[name],
            ground.encoders["minilm"],
            ground.output / name,
            device,
            trains_in_bf16(device),
            texts=[ground.data / "abstracts" / "abstracts.jsonl.gz"],
            corpora=list(ground.corpora),
            root=ground.data / "corpora",
            save_seconds=600.0 if device.type == "cpu" else 1e9,
        )
    )
