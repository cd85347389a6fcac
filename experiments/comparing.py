"""Significance tests of multi-task against single-task models on test sentences."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cells import CORPORA
from training.evaluation.bootstrap import Counts, paired_bootstrap

COMPARED = ("mtl-plain", "mtl-best", "mtl-final", "mtl-short-direct", "mtl-short")
"""The multi-task cells that are compared with single-task models, if they were run."""

_SEED = 20_040_725

RunFiles = Sequence[tuple[int, Path]]
"""The file of sentence counts of each seed of a cell."""


def compare_runs(files: Mapping[str, RunFiles], *, resamples: int = 10_000) -> list[dict[str, Any]]:
    """Compare each of `COMPARED` with the single-task model of each corpus, on single sentences.

    The counts of a sentence are summed over the seeds that both have, so that each system
    represents the mean of its runs; sentences are resampled. The test does not cover the variance
    over seeds, which the standard deviations of the rows show.

    :param files: by cell, the seeds and count files of its runs
    """
    out = []
    for name in COMPARED:
        for corpus in CORPORA:
            single = f"stl-{corpus}"
            ours, theirs = dict(files.get(name, ())), dict(files.get(single, ()))
            seeds = sorted(ours.keys() & theirs.keys())
            if not seeds:
                continue
            found = paired_bootstrap(
                _added([ours[seed] for seed in seeds], corpus),
                _added([theirs[seed] for seed in seeds], corpus),
                np.random.default_rng([_SEED, zlib.crc32(f"{name}/{corpus}".encode())]),
                resamples=resamples,
            )
            out.append(
                {
                    "corpus": corpus,
                    "first": name,
                    "second": single,
                    "seeds": seeds,
                    "first_f1": round(found.first, 5),
                    "second_f1": round(found.second, 5),
                    "difference": round(found.difference, 5),
                    "low": round(found.low, 5),
                    "high": round(found.high, 5),
                    "p_one_sided": round(found.p_value, 4),
                    "resamples": found.resamples,
                }
            )
    return out


def _added(paths: Sequence[Path], corpus: str) -> Counts:
    """Return the counts of each sentence, summed over runs, shape (sentences, 3)."""
    tables = []
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            tables.append(file[f"{corpus}/sentence"].astype(np.int64))
    total: Counts = np.sum(tables, axis=0)
    return total
