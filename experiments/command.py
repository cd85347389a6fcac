"""The command `python -m experiments`: runs the cells, gathers results, writes the page."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cells import CELLS, CORPORA, ENCODERS
from experiments.choice import best_row, devel_rows
from experiments.running import Ground
from experiments.schedule import Job, run_jobs
from experiments.settings import ExperimentSettings, require_work
from schemas.errors import SettingsError
from training.corpora.corpus import corpora_root
from training.data.examples import label_sentences
from training.encoders.loading import encoder_tokeniser
from training.finetune.run import load_training_corpora
from training.mlm.text import read_texts
from training.reports.progress import show_work
from worker.cli.command import human_console

if TYPE_CHECKING:
    from rich.console import Console


def run_settings(settings: ExperimentSettings) -> int:
    """Run the selected cells, gather the results, and write the page; return the exit status.

    Results are gathered even if some cell failed.

    :raises SettingsError: if a cell is unknown, or there is nothing to do.
    """
    output = settings.output
    require_work(settings)
    console = human_console()
    missing: list[Job] = []
    if output is not None and settings.run:
        missing = _run_cells(settings, output, console)
    if output is not None and settings.gather is not None:
        from experiments.gathering import gather, read_table, write_table

        there = settings.gather.is_file()
        table = gather(output, earlier=read_table(settings.gather) if there else None)
        write_table(table, settings.gather)
        best = best_row(devel_rows(table["rows"]))
        if best is not None:
            heads = ", ".join(f"{name} {value:.4f}" for name, value in best.f1.items())
            console.print(f"best on devel: {best.name} ({heads}; {best.runs} runs)")
    if settings.page is not None:
        from experiments.gathering import read_table
        from experiments.page import write_page

        data = read_table(settings.gather or settings.page / "experiments.json")
        console.print(f"wrote {write_page(data, settings.page)}", soft_wrap=True)
    return 1 if missing else 0


def _run_cells(settings: ExperimentSettings, output: Path, console: "Console") -> list[Job]:
    begun = time.monotonic()
    jobs = plan(settings.cell, settings.seeds)
    with show_work(console) as work, work.stage("reading the shared data"):
        ground = make_ground(settings, output)
    missing = run_jobs(
        ground,
        jobs,
        workers=settings.workers,
        threads=settings.threads,
        log=lambda line: console.print(line, soft_wrap=True, markup=False),
        last_start=None if settings.minutes is None else begun + 60 * settings.minutes,
    )
    for job in missing:
        console.print(f"not run: {job.cell} seed {job.seed}")
    return missing


def plan(words: Sequence[str], seeds: int) -> list[Job]:
    """Return the jobs that `words` select, in order; jobs without a seed are run once.

    :raises SettingsError: if a cell is unknown.
    """
    known = [*ENCODERS, *(cell.name for cell in CELLS)]
    once = {*ENCODERS, *(cell.name for cell in CELLS if cell.dictionary)}
    jobs = []
    for word in words or known:
        name, at, count = word.partition("@")
        if name not in known or (at and not (count.isdigit() and int(count))):
            raise SettingsError(
                f"no cell {word!r}: expected one of {', '.join(known)}, or NAME@N for N seeds"
            )
        last = 1 if name in once else int(count) if at else seeds
        jobs += [Job(name, seed) for seed in range(1, last + 1)]
    return list(dict.fromkeys(jobs))


def make_ground(settings: ExperimentSettings, output: Path) -> Ground:
    """Read the data that all cells share.

    :raises CorpusError: if a corpus is missing. :raises InputError: if the abstracts are.
    """
    root = corpora_root(settings.data, os.environ)
    data = root.parent
    passages, _ = read_texts(data / "abstracts" / "abstracts.jsonl.gz")
    corpora = dict(zip(CORPORA, load_training_corpora(root, CORPORA), strict=True))
    tokeniser = encoder_tokeniser(settings.encoder)
    return Ground(
        data=data,
        output=output,
        device=settings.device,
        corpora=corpora,
        texts=tuple(passage.text for passage in passages),
        encoders={
            "minilm": settings.encoder,
            **{name: str(output / name) for name in ENCODERS},
        },
        labelled={
            name: label_sentences(corpus.task, corpus.train, tokeniser)
            for name, corpus in corpora.items()
        },
    )
