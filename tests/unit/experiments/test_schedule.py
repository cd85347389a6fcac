"""Cells through real processes: what waits for what, what goes on, and what fails by itself."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from experiments.cells import CELLS, ENCODERS, SMALL, find_cell
from experiments.command import plan
from experiments.gathering import gather
from experiments.running import Ground, run_cell, start_of, teacher_paths
from experiments.schedule import Job, is_done, needs, run_jobs
from schemas.errors import SettingsError
from tests.support.checkpoints import tiny_config, tiny_tokenizer
from tests.support.corpora import write_corpus
from training.data.examples import label_sentences
from training.encoders.loading import encoder_tokeniser
from training.finetune.run import load_training_corpora
from worker.checkpoint.folder import read_manifest

FOLDERS = {"ncbi-disease": ("NCBI-disease-IOBES", "Disease", "cancers"),
           "bc5cdr": ("BC5CDR-IOBES", "Chemical", "aspirin")}  # fmt: skip


@pytest.fixture(scope="module")
def make_ground(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Ground]:
    """Return what makes a ground with two small corpora and a tiny encoder for long windows."""
    folder = tmp_path_factory.mktemp("ground")
    encoder = folder / "encoder"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        BertModel(tiny_config(layers=1, width=16, max_pieces=512)).save_pretrained(encoder)
    tiny_tokenizer().save(str(encoder / "tokenizer.json"))
    for name, label, word in FOLDERS.values():
        write_corpus(folder / "data" / "corpora" / name, label, word, sentences=12)
    corpora = dict(
        zip(SMALL, load_training_corpora(folder / "data" / "corpora", SMALL), strict=True)
    )
    tokeniser = encoder_tokeniser(str(encoder))

    def make(output: Path) -> Ground:
        return Ground(
            data=folder / "data",
            output=output,
            device="cpu",
            corpora=corpora,
            texts=("a cancer of the cell",),
            encoders={"minilm": str(encoder), **{name: str(output / name) for name in ENCODERS}},
            labelled={n: label_sentences(c.task, c.train, tokeniser) for n, c in corpora.items()},
        )

    return make


def test_cells_run_in_processes_a_failing_one_fails_alone_and_nothing_is_done_twice(
    make_ground: Callable[[Path], Ground], tmp_path: Path
) -> None:
    ground = make_ground(tmp_path)
    jobs = [
        Job("stl-ncbi-disease", 1),
        Job("stl-bc2gm", 1),  # its corpus is not there
        Job("mtl-distil", 1),  # taught by the one before
        Job("mtl-pair-plain", 1),
    ]
    lines: list[str] = []
    failed = run_jobs(ground, jobs, workers=2, threads=1, log=lines.append)
    assert failed == [jobs[1], jobs[2]] or failed == [jobs[2], jobs[1]]
    told = "\n".join(lines)
    assert "stl-bc2gm seed 1 FAILED" in told
    assert "KeyError" in told
    assert "mtl-distil" not in told
    assert [is_done(ground, job) for job in jobs] == [True, False, False, True]

    folder = ground.folder("mtl-pair-plain", 1)
    result = json.loads((folder / "result.json").read_text())
    assert result["seed"] == 1
    assert result["recipe"] == find_cell("mtl-pair-plain").recipe(1).values()
    assert set(result["devel"]["sentence"]) == set(SMALL)
    assert set(result["devel"]["sentence"]["bc5cdr"]["by_type"]) == {"Chemical", "Disease"}
    assert set(json.loads((folder / "test.json").read_text())["sentence"]) == set(SMALL)
    with np.load(folder / "test.npz") as counts:
        for head in SMALL:
            assert counts[f"{head}/sentence"].shape == (12, 3)
            assert counts[f"{head}/sentence"][:, 2].sum() == 12
    assert [task.name for task in read_manifest(folder / "checkpoint").tasks] == list(SMALL)
    assert not (folder / "state").exists()

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    again: list[str] = []
    assert run_jobs(ground, [jobs[0], jobs[3]], workers=1, threads=1, log=again.append) == []
    assert again == []
    assert {path: path.stat().st_mtime_ns for path in before} == before

    rows = {row["name"]: row for row in gather(tmp_path)["rows"]}
    assert rows["stl-ncbi-disease"]["seeds"] == [1]
    assert rows["mtl-distil"]["status"] == "not run"


def test_the_dictionary_is_scored_like_the_rest(
    make_ground: Callable[[Path], Ground], tmp_path: Path
) -> None:
    ground = make_ground(tmp_path)
    cell = find_cell("baseline-dictionary")
    small = type(cell)(cell.name, cell.shows, SMALL, contexts=True, dictionary=True)
    run_cell(ground, small, 1)
    folder = ground.folder(cell.name, 1)
    result = json.loads((folder / "result.json").read_text())
    for way in ("sentence", "window"):
        assert {head: score["f1"] for head, score in result["devel"][way].items()} == {
            "ncbi-disease": 1.0,
            "bc5cdr": 1.0,
        }
    assert result["encoder"] == "none"
    assert json.loads((folder / "test.json").read_text())["sentence"]["bc5cdr"]["f1"] == 1.0
    assert read_manifest(folder / "checkpoint").kind == "dictionary"
    before = (folder / "result.json").stat().st_mtime_ns
    run_cell(ground, small, 1)
    assert (folder / "result.json").stat().st_mtime_ns == before


def test_nothing_begins_after_the_last_start(
    make_ground: Callable[[Path], Ground], tmp_path: Path
) -> None:
    jobs = [Job("stl-ncbi-disease", 1), Job("stl-ncbi-disease", 2)]
    failed = run_jobs(
        make_ground(tmp_path), jobs, workers=1, threads=1, log=print, last_start=5.0,
        clock=lambda: 5.0,
    )  # fmt: skip
    assert failed == jobs
    assert not any(tmp_path.iterdir())


def test_teachers_are_the_checkpoints_that_are_there(
    make_ground: Callable[[Path], Ground], tmp_path: Path
) -> None:
    ground = make_ground(tmp_path)
    cell = find_cell("mtl-distil")
    for name, seed in (("mtl-plain", 2), ("mtl-plain", 1), ("stl-bc2gm", 3), ("mtl-best", 1)):
        ground.checkpoint(name, seed).mkdir(parents=True)
        (ground.checkpoint(name, seed) / "manifest.json").write_text("{}")
    ground.checkpoint("mtl-plain", 4).mkdir(parents=True)
    assert teacher_paths(ground, cell) == [
        ground.checkpoint("stl-bc2gm", 3),
        ground.checkpoint("mtl-plain", 1),
        ground.checkpoint("mtl-plain", 2),
    ]
    assert teacher_paths(ground, find_cell("mtl-plain")) == []


def test_a_job_needs_its_encoder_and_its_teachers_of_all_seeds() -> None:
    jobs = plan((), 2)
    assert needs(Job("mlm", 1), jobs) == set()
    assert needs(Job("baseline-dictionary", 1), jobs) == set()
    assert needs(Job("stl-bc5cdr", 1), jobs) == set()
    assert needs(Job("mtl-mlm", 2), jobs) == {Job("mlm", 1)}
    assert needs(Job("mtl-final", 1), jobs) == {
        Job("mlm", 1), Job("mtl-best", 1), Job("mtl-best", 2),
    }  # fmt: skip
    assert needs(Job("mtl-final", 1), [Job("mtl-final", 1)]) == set()


def test_a_plan_runs_each_job_once_in_the_order_asked() -> None:
    assert plan(("mtl-plain@1", "mlm", "stl-bc2gm", "mtl-plain"), 2) == [
        Job("mtl-plain", 1), Job("mlm", 1), Job("stl-bc2gm", 1), Job("stl-bc2gm", 2),
        Job("mtl-plain", 2),
    ]  # fmt: skip
    every = plan((), 3)
    assert len(every) == len(set(every)) == len(ENCODERS) + 1 + 3 * (len(CELLS) - 1)
    assert [job for job in every if job.cell == "baseline-dictionary"] == [
        Job("baseline-dictionary", 1)
    ]


@pytest.mark.parametrize("word", ["mtl-unheard", "mtl-plain@", "mtl-plain@0", "mtl-plain@x", "@2"])
def test_an_unknown_cell_is_told(word: str) -> None:
    with pytest.raises(SettingsError, match="no cell"):
        plan((word,), 1)


def test_cells_fit_each_other() -> None:
    names = [cell.name for cell in CELLS]
    assert len(set(names)) == len(names)
    for cell in CELLS:
        assert cell.name.partition("-")[0] in ("baseline", "stl", "mtl", "augment")
        assert set(cell.teachers) <= set(names)
        assert cell.against in ("", *names)
        assert cell.encoder in ("minilm", *ENCODERS, *names)
        assert cell.recipe(5).seed == 5
        assert cell.recipe(1).learns_from_teachers == bool(cell.teachers)


def test_a_cell_may_go_on_from_another_cells_best_run(tmp_path: Path) -> None:
    shared = _ground_of_results(tmp_path, {1: 0.5, 2: 0.8, 3: 0.7})
    cell = find_cell("mtl-shipped")
    assert start_of(shared, cell) == str(shared.checkpoint("mtl-best", 2))
    assert start_of(shared, find_cell("mtl-plain")) == "the encoder"


def _ground_of_results(folder: Path, scores: dict[int, float]) -> Ground:
    """Return a ground where runs of mtl-best have these devel scores."""
    shared = Ground(folder, folder / "runs", "cpu", {}, (), {"minilm": "the encoder"}, {})
    for seed, f1 in scores.items():
        place = shared.folder("mtl-best", seed)
        place.mkdir(parents=True)
        devel = {"sentence": {"ncbi-disease": {"f1": f1}}}
        (place / "result.json").write_text(json.dumps({"devel": devel}), "utf-8")
    return shared
