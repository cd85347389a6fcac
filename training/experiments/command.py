"""`pubner experiments`: run the cells of the table, resumable; gather what they gave; tell it."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from schemas.errors import SettingsError
from training.corpora.corpus import corpora_root
from training.encoders import MINILM, encoder_tokeniser
from training.examples import label_sentences
from training.experiments.cells import CELLS, CORPORA, ENCODERS
from training.experiments.choice import best_row, devel_rows
from training.experiments.running import Ground
from training.experiments.schedule import Job, run_jobs
from training.mlm.text import read_texts
from training.progress import show_work
from training.run import load_training_corpora
from worker.command import Settings, human_console, parse_settings

if TYPE_CHECKING:
    from rich.console import Console


class ExperimentSettings(Settings):
    """Options of `pubner experiments`."""

    output: Path | None = Field(
        None, description="folder of the cells' results; a broken run goes on in it"
    )
    run: bool = Field(True, description="run what is not done (--no-run: gather only)")
    gather: Path | None = Field(
        None,
        description="write (JSON) what the results say; rows of techniques that are no cells any "
        "more, and what no run gives, are kept from the file that is there",
    )
    page: Path | None = Field(
        None,
        description="folder of the page and its plots, made from --gather's file, or else from "
        "experiments.json in that folder",
    )
    data: Path | None = Field(None, description="folder with corpora, abstracts and pubtator")
    cell: tuple[str, ...] = Field(
        (), description="cells to run, first things first (default: all); NAME@N for seeds 1 to N"
    )
    seeds: int = Field(3, ge=1, description="how many seeds each cell is run with, from 1")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    workers: int = Field(1, ge=1, description="cells at once")
    threads: int = Field(2, ge=1, description="CPU threads of each")
    encoder: str = Field(MINILM, description="what the cells start from")
    minutes: float | None = Field(None, gt=0, description="begin no cell later than this")


def run(argv: Sequence[str]) -> int:
    """Run `pubner experiments`; return the exit status: 1 where a cell is missing."""
    settings = parse_settings(
        ExperimentSettings,
        argv,
        prog="pubner experiments",
        description="Run the cells of the experiment table; gather the results; write their page.",
    )
    return run_settings(settings)


def run_settings(settings: ExperimentSettings) -> int:
    """Run the cells that `settings` name, gather, and write the page; return the exit status.

    What did run is gathered though some cell failed.

    :raises SettingsError: if a cell is unknown, or there is nothing to do.
    """
    output = settings.output
    if output is None and (settings.gather or not settings.page):
        raise SettingsError("--output DIR is needed, the folder of the results (or --page alone)")
    console = human_console()
    missing: list[Job] = []
    if output is not None and settings.run:
        missing = _run_cells(settings, output, console)
    if output is not None and settings.gather is not None:
        from training.experiments.gathering import gather, read_table, write_table

        there = settings.gather.is_file()
        table = gather(output, earlier=read_table(settings.gather) if there else None)
        write_table(table, settings.gather)
        best = best_row(devel_rows(table["rows"]))
        if best is not None:
            heads = ", ".join(f"{name} {value:.4f}" for name, value in best.f1.items())
            console.print(f"best on devel: {best.name} ({heads}; {best.runs} runs)")
    if settings.page is not None:
        from training.experiments.gathering import read_table
        from training.experiments.page import write_page

        data = read_table(settings.gather or settings.page / "experiments.json")
        console.print(f"wrote {write_page(data, settings.page)}", soft_wrap=True)
    return 1 if missing else 0


def _run_cells(settings: ExperimentSettings, output: Path, console: "Console") -> list[Job]:
    begun = time.monotonic()
    jobs = plan(settings.cell, settings.seeds)
    with show_work(console) as work, work.stage("reading what all cells share"):
        ground = make_ground(settings, output)
    missing = run_jobs(
        ground,
        jobs,
        workers=settings.workers,
        threads=settings.threads,
        say=lambda line: console.print(line, soft_wrap=True, markup=False),
        last_start=None if settings.minutes is None else begun + 60 * settings.minutes,
    )
    for job in missing:
        console.print(f"not run: {job.cell} seed {job.seed}")
    return missing


def plan(words: Sequence[str], seeds: int) -> list[Job]:
    """Return the jobs that `words` name, in that order; what no seed changes is made once.

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
    """Read what all cells share.

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
