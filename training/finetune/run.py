"""A fine-tuning run: from corpora to the weights of the best epoch; shared by all commands."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PretrainedConfig

from schemas.errors import CorpusError, TrainingError
from schemas.manifest import CorpusEntry
from schemas.tasks import Task
from training.corpora.agreement import compare_splits
from training.corpora.catalogue import Split
from training.corpora.check import count_difference, known_file
from training.corpora.corpus import mention_count, open_corpus
from training.corpora.spans import sentence_text
from training.corpora.tasks import task_of
from training.corpora.tsv import Sentence
from training.data.augmentation import build_lexicon
from training.data.examples import IGNORED, HeadData, label_sentences
from training.data.sampling import Material
from training.encoders.loading import StartingPoint, load_encoder
from training.encoders.tokeniser import check_known
from training.finetune.export import blend_weights, corpus_entry, fp16_weights
from training.finetune.loop import LoopSettings, Trainer
from training.finetune.scoring import DevelSet, score_devel
from training.finetune.teachers import Teachers, add_soft_labels, tokenise_texts
from training.recipes.recipe import Recipe
from training.reports.progress import LoopProgress, Work
from worker.checkpoint.folder import read_manifest, resolve_checkpoint
from worker.decoding.cpu import HeadLayout, head_layout
from worker.network.encoder import load_encoder as load_trained
from worker.network.model import MultiHeadModel
from worker.tagger import BatchLimits, CheckpointTagger
from worker.text.tokenisation import WordPieceTokeniser

_BEST = "best.safetensors"
_EXAMPLES_FROM = 200
"""How many sentences are searched for examples of unknown words."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedCorpus:
    """The corpus of one head: its task, train and devel sentences, and its manifest entry."""

    task: Task
    train: tuple[Sentence, ...]
    devel: DevelSet
    entry: CorpusEntry


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRun:
    """The inputs of a run. Test splits are not among them, and nothing here reads one.

    `encoder` names the encoder to start from, `state` the folder of the saved states. `teachers`
    names the checkpoints that give soft labels, also for `texts`, titles and abstracts without
    gold. Epochs before `score_from` (from 0) are not scored on devel, and are never the best.
    `labelled` holds the corpora as word pieces, if that was done before. Soft labels are cached in
    the folder `soft_labels`, which runs may share, else in `state`.
    """

    recipe: Recipe
    corpora: Sequence[LoadedCorpus]
    encoder: str
    state: Path
    device: torch.device
    bf16: bool
    save_seconds: float = 300.0
    teachers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    score_from: int = 0
    labelled: tuple[HeadData, ...] = ()
    soft_labels: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """The result of a run: the model of its best epoch, rounded to fp16, in evaluation mode.

    `scores` holds the strict devel F1 by head of each epoch, `epoch` the number of the best epoch.
    `weights` are the tensors that a checkpoint stores.
    """

    model: MultiHeadModel
    weights: dict[str, torch.Tensor]
    tokeniser: WordPieceTokeniser
    config: PretrainedConfig
    encoder_source: str
    tasks: tuple[Task, ...]
    epoch: int
    scores: list[dict[str, float]]
    seconds: float


def load_training_corpora(
    root: Path,
    names: Sequence[str],
    work: Work | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> list[LoadedCorpus]:
    """Read the training and devel splits of corpora.

    :param log: called with each warning: oddities that do not prevent training
    :raises CorpusError: if a corpus is missing or broken, or its splits are inconsistent.
    """
    corpora = []
    with (work or Work()).stage("reading the corpora", len(names), "corpora") as stage:
        for name in names:
            corpora.append(_load(root, name, log))
            stage.advance()
    return corpora


def _load(root: Path, name: str, log: Callable[[str], None]) -> LoadedCorpus:
    corpus = open_corpus(root, name)
    corpus.require_trainable()
    read = {split: corpus.read(split) for split in (Split.TRAIN, Split.DEVEL)}
    splits = {split: sentences for split, (sentences, _) in read.items()}
    findings = compare_splits(corpus, splits)
    broken = [str(finding.problem) for finding in findings if finding.breaks]
    if broken:
        more = f" (the first of {len(broken):,} problems)" if len(broken) > 1 else ""
        raise CorpusError(f"{broken[0]}{more}; see: pubner corpora check")
    for _, left_out in read.values():
        for problem in left_out:
            log(f"Warning: {problem}.")
    for finding in findings:
        log(f"Warning: {finding.problem}.")
    for split, sentences in splits.items():
        mentions = sum(map(mention_count, sentences))
        difference = count_difference(known_file(corpus, split), len(sentences), mentions)
        if difference:
            log(f"Warning: {corpus.path(split)}: {difference}.")
    train_sentences, devel_sentences = splits[Split.TRAIN], splits[Split.DEVEL]
    task = task_of(corpus, train_sentences)
    return LoadedCorpus(
        task,
        train_sentences,
        DevelSet(task, devel_sentences),
        corpus_entry(corpus.name, "train", corpus.sha256(Split.TRAIN), train_sentences),
    )


def run_training(
    run: TrainingRun,
    *,
    on_progress: Callable[[LoopProgress], None] = lambda _: None,
    on_epoch: Callable[[int, dict[str, float]], bool] = lambda *_: True,
    should_stop: Callable[[], bool] = lambda: False,
    log: Callable[[str], None] = lambda _: None,
    work: Work | None = None,
) -> TrainedModel | None:
    """Train; return the best epoch's model, or None where `should_stop` ended it.

    Called again after a stop or kill, a run resumes from its saved state. The caller removes the
    state.

    :param on_epoch: called with an epoch's number and devel scores; returns whether to continue
    :param log: called with lines that describe what the run does
    :param work: receives the run's progress
    :raises TrainingError: if the state belongs to another run.
    :raises DivergenceError: if the loss is not finite.
    """
    recipe = run.recipe
    work = work or Work()
    tasks = tuple(corpus.task for corpus in run.corpora)
    layout = head_layout(tasks)
    torch.manual_seed(recipe.seed)
    with work.stage("loading the encoder"):
        start = load_encoder(run.encoder, recipe, tasks)
    material = _material(run, start, layout, log, work)
    trainer = Trainer(
        start.model,
        start.tokeniser,
        layout,
        material,
        recipe,
        LoopSettings(run.device, run.bf16, run.save_seconds),
        run.state,
        _identity(run, start),
    )
    origin = {name: tensor.clone() for name, tensor in start.model.state_dict().items()}
    if trainer.resume():
        log(f"Resuming at step {trainer.resumed_step:,} of an earlier start.")
    ended = [False]

    def score(epoch: int, trained: MultiHeadModel) -> dict[str, float]:
        if epoch < min(run.score_from, recipe.epochs - 1):
            return {}
        model = blend_weights(trained, origin, recipe.blend_start)
        devel = [corpus.devel for corpus in run.corpora]
        total = sum(len(part.sentences) for part in devel)
        with work.stage("scoring devel", total, "sentences") as stage:
            scores = score_devel(
                model,
                start.tokeniser,
                tasks,
                devel,
                letter_case=recipe.letter_case,
                max_pieces=recipe.max_pieces,
                device=run.device,
                progress=stage.advance,
            )
        if mean_score(scores) >= max((mean_score(known) for known in trainer.scores), default=0.0):
            run.state.mkdir(parents=True, exist_ok=True)
            save_file(fp16_weights(model), run.state / f".{_BEST}")
            (run.state / f".{_BEST}").replace(run.state / _BEST)
        ended[0] = not on_epoch(epoch, scores)
        return scores

    with work.training() as show:

        def stepped(now: LoopProgress) -> None:
            show(now)
            on_progress(now)

        finished = trainer.run(stepped, score, lambda: ended[0] or should_stop())
    if not finished and not ended[0]:
        return None
    scores = trainer.scores
    best = max(range(len(scores)), key=lambda number: (mean_score(scores[number]), number))
    weights = load_file(run.state / _BEST)
    start.model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return TrainedModel(
        model=start.model.eval(),
        weights=weights,
        tokeniser=start.tokeniser,
        config=start.config,
        encoder_source=start.source,
        tasks=tasks,
        epoch=best,
        scores=scores,
        seconds=trainer.seconds,
    )


def mean_score(scores: dict[str, float]) -> float:
    """Return the mean of the heads' F1; -1 for an epoch that was not scored."""
    return sum(scores.values()) / len(scores) if scores else -1.0


def _material(
    run: TrainingRun,
    start: StartingPoint,
    layout: HeadLayout,
    log: Callable[[str], None],
    work: Work,
) -> Material:
    """Label the corpora, and add soft labels if the recipe uses teachers."""
    recipe = run.recipe
    with work.stage("splitting the corpora into word pieces"):
        data = run.labelled or tuple(
            label_sentences(c.task, c.train, start.tokeniser) for c in run.corpora
        )
    corpora = {corpus.task.name: corpus for corpus in run.corpora}
    precision = "bf16 where safe" if run.bf16 else "fp32"
    log(f"Recipe {recipe.name}, encoder {start.source}, {run.device.type}, {precision}.")
    for head in data:
        _require_known(head, corpora[head.task.name], start.tokeniser)
        lost = f", {head.unreachable} mentions unreachable" if head.unreachable else ""
        log(f"  {head.task.name}: {len(head.sentences):,} sentences, {head.pieces:,} pieces{lost}")
    if recipe.learns_from_teachers != bool(run.teachers):
        raise TrainingError(
            f"the recipe {recipe.name!r} has distil_weight {recipe.distil_weight:g} and "
            f"pseudo_weight {recipe.pseudo_weight:g}, and {len(run.teachers)} teachers are named; "
            "teachers (--teacher) and such a weight go together"
        )
    unlabelled_heads = [head.task.name for head in data if not _has_mention(head)]
    if unlabelled_heads and not run.teachers:
        raise TrainingError(
            f"the training split of {', '.join(unlabelled_heads)} has no mention; nothing can be "
            "learned from it without teachers (--teacher)"
        )
    if run.texts and not recipe.pseudo_weight:
        raise TrainingError(
            f"{len(run.texts)} texts without gold are given, from which the recipe "
            f"{recipe.name!r} learns nothing: its pseudo_weight is 0"
        )
    with work.stage("collecting replacement mentions"):
        lexicons = tuple(build_lexicon(head) for head in data) if recipe.augments else ()
    if not run.teachers:
        return Material(data, lexicons=lexicons)
    with work.stage("loading the teachers"):
        models = tuple(
            CheckpointTagger(
                load_trained(resolve_checkpoint(name), device=str(run.device)), BatchLimits()
            )
            for name in run.teachers
        )
    texts = tokenise_texts(run.texts, start.tokeniser)
    log(f"  {len(models)} teachers label them and {len(texts):,} texts without gold.")
    with work.stage("computing soft labels", unit="texts") as stage:
        return add_soft_labels(
            Teachers(models, layout),
            Material(data, texts, lexicons),
            [corpus.train for corpus in run.corpora],
            run.texts,
            (run.soft_labels or run.state)
            / f"soft-{_digest(_soft_label_identity(run))}.safetensors",
            stage.update,
        )


def _has_mention(head: HeadData) -> bool:
    return any(bool((sentence.pieces.tags > 0).any()) for sentence in head.sentences)


def _require_known(head: HeadData, corpus: LoadedCorpus, tokeniser: WordPieceTokeniser) -> None:
    """Check that the tokeniser covers the words of a corpus.

    :raises TrainingError: if it does not.
    """
    pieces = [sentence.pieces for sentence in head.sentences]
    check_known(
        f"the corpus {head.task.name}",
        sum(int((one.ids == tokeniser.unknown_id).sum()) for one in pieces),
        sum(int((one.tags != IGNORED).sum()) for one in pieces),
        tokeniser,
        [sentence_text(sentence.words)[0] for sentence in corpus.train[:_EXAMPLES_FROM]],
    )


def _identity(run: TrainingRun, start: StartingPoint) -> dict[str, Any]:
    """Return everything that determines the result of a run."""
    return {
        "recipe": run.recipe.values(),
        "encoder": start.source,
        "bf16": run.bf16,
        **_soft_label_identity(run),
    }


def _soft_label_identity(run: TrainingRun) -> dict[str, Any]:
    """Return everything that determines the teachers' soft labels."""
    return {
        "corpora": {corpus.entry.name: corpus.entry.sha256 for corpus in run.corpora},
        "teachers": [read_manifest(resolve_checkpoint(name)).id for name in run.teachers],
        "texts": _digest(list(run.texts)) if run.texts else "",
    }


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
