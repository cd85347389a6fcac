"""`pubner experiments`: run the cells of the table, resumable, and gather what they gave."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from schemas.errors import SettingsError
from training.corpora.corpus import corpora_root
from training.encoders import MINILM, encoder_tokeniser
from training.examples import label_sentences
from training.experiments.cells import CELLS, CORPORA, MLM
from training.experiments.running import Ground
from training.experiments.schedule import Job, run_jobs
from training.mlm.recipe import MlmRecipe
from training.mlm.text import read_texts
from training.run import load_training_corpora
from worker.command import Settings, human_console, parse_settings


class ExperimentSettings(Settings):
    """Options of `pubner experiments`."""

    output: Path = Field(description="folder of the cells' results; a broken run goes on in it")
    data: Path | None = Field(None, description="folder with corpora, abstracts and pubtator")
    cell: tuple[str, ...] = Field((), description="cells to run (default: all)")
    seeds: tuple[int, ...] = Field((1, 2, 3), description="seeds of each cell")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    workers: int = Field(1, ge=1, description="cells at once")
    threads: int = Field(2, ge=1, description="CPU threads of each")
    encoder: str = Field(MINILM, description="what the cells start from")
    mlm_epochs: int = Field(10, ge=1, description="epochs of masked language modelling")
    minutes: float | None = Field(None, gt=0, description="begin no cell later than this")


def run(argv: Sequence[str]) -> int:
    """Run `pubner experiments`; return the exit status: 1 where a cell is missing."""
    settings = parse_settings(
        ExperimentSettings,
        argv,
        prog="pubner experiments",
        description="Run the cells of the experiment table.",
    )
    return run_settings(settings)


def run_settings(settings: ExperimentSettings) -> int:
    """Run the cells that `settings` name; return the exit status.

    :raises SettingsError: if a cell is unknown.
    """
    begun = time.monotonic()
    known = [MLM, *(cell.name for cell in CELLS)]
    for name in settings.cell:
        if name not in known:
            raise SettingsError(f"no cell {name!r}: expected one of {', '.join(known)}")
    ground = make_ground(settings)
    jobs = plan(settings.cell or tuple(known), settings.seeds)
    console = human_console()
    missing = run_jobs(
        ground,
        jobs,
        workers=settings.workers,
        threads=settings.threads,
        mlm=MlmRecipe(epochs=settings.mlm_epochs),
        say=lambda line: console.print(line, soft_wrap=True, markup=False),
        last_start=None if settings.minutes is None else begun + 60 * settings.minutes,
    )
    for job in missing:
        console.print(f"not run: {job.cell} seed {job.seed}")
    return 1 if missing else 0


def plan(cells: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    """Return the jobs: the adapted encoder once, every other cell with every seed, in order."""
    jobs = [Job(MLM, 0)] if MLM in cells else []
    names = [cell.name for cell in CELLS if cell.name in cells]
    return jobs + [Job(name, seed) for name in names for seed in seeds]


def make_ground(settings: ExperimentSettings) -> Ground:
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
        output=settings.output,
        device=settings.device,
        corpora=corpora,
        texts=tuple(passage.text for passage in passages),
        encoders={"minilm": settings.encoder, MLM: str(settings.output / MLM)},
        labelled={
            name: label_sentences(corpus.task, corpus.train, tokeniser)
            for name, corpus in corpora.items()
        },
    )
