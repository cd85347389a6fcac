"""A run of one cell with one seed: training, and scoring on devel and, separately, on test.

Nothing in a run depends on its test scores: they are computed last, from the finished model, and
stored in a separate file.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.cells import Cell
from training.corpora.catalogue import Split
from training.corpora.corpus import open_corpus
from training.corpora.spans import spans_of
from training.data.examples import HeadData
from training.dictionary.export import train_dictionary
from training.evaluation.bootstrap import sentence_counts
from training.evaluation.documents import evaluate_documents, read_gold_file
from training.evaluation.predict import Annotator, Context, predict
from training.evaluation.strict import strict_score
from training.evaluation.tokens import token_weighted_f1
from training.finetune.export import export_checkpoint
from training.finetune.precision import trains_in_bf16
from training.finetune.run import LoadedCorpus, TrainedModel, TrainingRun, run_training
from worker.dictionary.normalisation import Rules
from worker.dictionary.tagger import load_dictionary
from worker.network.encoder import choose_device, load_encoder
from worker.storage.atomic import write_whole
from worker.tagger import BatchLimits, CheckpointTagger, Tagger

DOCUMENTS = {"ncbi-disease": "NCBIdisease_devel.PubTator", "bc5cdr": "BC5CDR_devel.PubTator"}


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """The data that all cells share: folders, the device, and the loaded corpora.

    `device` is a name: it is resolved in the worker processes, since a process that has initialised
    a GPU cannot be forked. `labelled` holds the tokenised corpora.
    """

    data: Path
    output: Path
    device: str
    corpora: Mapping[str, LoadedCorpus]
    texts: tuple[str, ...]
    encoders: Mapping[str, str]
    labelled: Mapping[str, HeadData]

    def folder(self, cell: str, seed: int) -> Path:
        """Return the folder of a run."""
        return self.output / cell / f"seed{seed}"

    def checkpoint(self, cell: str, seed: int) -> Path:
        """Return the folder of a run's checkpoint."""
        return self.folder(cell, seed) / "checkpoint"


def run_cell(
    ground: Ground, cell: Cell, seed: int, *, log: Callable[[str], None] = lambda _: None
) -> None:
    """Train and score a cell; finished parts are not repeated."""
    folder = ground.folder(cell.name, seed)
    if (folder / "result.json").is_file():
        return
    if cell.dictionary:
        _run_dictionary(ground, cell, seed, log)
        return
    recipe = cell.recipe(seed)
    device = choose_device(ground.device)
    teachers = teacher_paths(ground, cell)
    run = TrainingRun(
        recipe,
        [ground.corpora[name] for name in cell.corpora],
        start_of(ground, cell),
        folder / "state",
        device,
        trains_in_bf16(device),
        save_seconds=600.0 if device.type == "cpu" else 1e9,
        teachers=tuple(str(path) for path in teachers),
        texts=ground.texts if cell.texts else (),
        score_from=recipe.epochs - 1,
        labelled=tuple(ground.labelled[name] for name in cell.corpora),
        soft_labels=ground.output / "soft" if teachers else None,
    )
    trained = run_training(run, log=log)
    if trained is None:
        raise RuntimeError("the run was not asked to stop")
    _export(ground, cell, seed, trained)
    tagger = Tagger(
        [
            CheckpointTagger(
                load_encoder(ground.checkpoint(cell.name, seed), device=str(device)),
                BatchLimits(),
            )
        ]
    )
    facts = {
        "recipe": recipe.values(),
        "encoder": cell.encoder,
        "teachers": [f"{path.parent.parent.name}/{path.parent.name}" for path in teachers],
        "texts": len(run.texts),
        "seconds": round(trained.seconds, 1),
        "device": _device_name(device),
    }
    _write_result(ground, cell, seed, tagger, facts)
    shutil.rmtree(folder / "state", ignore_errors=True)


def _run_dictionary(ground: Ground, cell: Cell, seed: int, log: Callable[[str], None]) -> None:
    begun = time.monotonic()
    corpora = [ground.corpora[name] for name in cell.corpora]
    folder = ground.checkpoint(cell.name, seed)
    manifest, _ = train_dictionary(folder, corpora, Rules(), log)
    facts = {
        "recipe": dict(manifest.recipe),
        "encoder": "none",
        "teachers": [],
        "texts": 0,
        "seconds": round(time.monotonic() - begun, 1),
        "device": "cpu",
    }
    _write_result(ground, cell, seed, Tagger([load_dictionary(folder)]), facts)


def _write_result(
    ground: Ground, cell: Cell, seed: int, tagger: Tagger, facts: Mapping[str, Any]
) -> None:
    """Score a finished model and write its files, `result.json` last."""
    folder = ground.folder(cell.name, seed)
    values = {
        "name": cell.name,
        "seed": seed,
        "corpora": list(cell.corpora),
        **facts,
        "devel": _scores(ground, tagger, cell, Split.DEVEL, folder),
    }
    documents = ground.data / "pubtator"
    if cell.contexts and documents.is_dir():
        values["documents"] = _document_scores(documents, tagger, cell.corpora)
    (folder / "test.json").write_text(json.dumps(_scores(ground, tagger, cell, Split.TEST, folder)))
    write_whole(folder / "result.json", json.dumps(values))


def start_of(ground: Ground, cell: Cell) -> str:
    """Return the start of a cell: an encoder, or another cell's best checkpoint on devel."""
    if cell.encoder in ground.encoders:
        return ground.encoders[cell.encoder]
    results = sorted((ground.output / cell.encoder).glob("seed*/result.json"))

    def devel(path: Path) -> float:
        heads = json.loads(path.read_text("utf-8"))["devel"][str(Context.SENTENCE)]
        return float(sum(score["f1"] for score in heads.values()) / len(heads))

    return str(max(results, key=devel).parent / "checkpoint")


def teacher_paths(ground: Ground, cell: Cell) -> list[Path]:
    """Return the teacher checkpoints of a cell: all available seeds of its teachers."""
    return [
        path.parent
        for name in cell.teachers
        for path in sorted((ground.output / name).glob("seed*/checkpoint/manifest.json"))
    ]


def _export(ground: Ground, cell: Cell, seed: int, trained: TrainedModel) -> None:
    export_checkpoint(
        ground.checkpoint(cell.name, seed),
        weights=trained.weights,
        tokeniser=trained.tokeniser,
        config=trained.config,
        tasks=trained.tasks,
        recipe=cell.recipe(seed),
        encoder_source=trained.encoder_source,
        corpora=[ground.corpora[name].entry for name in cell.corpora],
        metrics={
            f"devel/{name}": {"strict_f1": round(value, 4)}
            for name, value in trained.scores[trained.epoch].items()
        },
    )


def _scores(
    ground: Ground, tagger: Annotator, cell: Cell, split: Split, folder: Path
) -> dict[str, Any]:
    """Score each head by sentence and by window, and store the counts of each sentence."""
    out: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    for name in cell.corpora:
        corpus = ground.corpora[name]
        sentences = (
            corpus.devel.sentences
            if split == Split.DEVEL
            else open_corpus(ground.data / "corpora", name).sentences(split)
        )
        if not sentences:
            continue
        gold = [spans_of(sentence) for sentence in sentences]
        for context in Context if cell.contexts else (Context.SENTENCE,):
            found = predict(tagger, name, sentences, context)
            table = sentence_counts(gold, found)
            counts[f"{name}/{context}"] = table.astype(np.uint8)
            strict = strict_score(gold, found, corpus.task.label_names)
            labels = strict.by_type if len(strict.by_type) > 1 else {}
            scores: dict[str, Any] = {
                **_rounded(asdict(strict.overall)),
                "support": sum(score.support for score in strict.by_type.values()),
                "by_type": {label: _rounded(asdict(score)) for label, score in labels.items()},
            }
            if context == Context.SENTENCE:
                token = token_weighted_f1(sentences, found, corpus.task.label_names)
                scores |= _rounded({"token_weighted_f1": token})
            out.setdefault(str(context), {})[name] = scores
    np.savez_compressed(folder / f"{split}.npz", **counts)
    return out


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in values.items()}


def _document_scores(folder: Path, tagger: Tagger, names: Sequence[str]) -> dict[str, Any]:
    tasks = {task.name: task for task in tagger.tasks}
    out = {}
    for name, file in DOCUMENTS.items():
        if name in names and (folder / file).is_file():
            found = evaluate_documents(tagger, tasks[name], read_gold_file(folder / file))
            out[name] = {
                **asdict(found.strict.overall),
                "by_type": {label: score.f1 for label, score in found.strict.by_type.items()},
            }
    return out


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
