"""A training run from corpora to the weights of its best epoch; what all commands share."""

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
from schemas.tasks import TASKS, Task
from training.corpora.agreement import compare_splits
from training.corpora.catalogue import Split
from training.corpora.check import count_difference, known_file
from training.corpora.corpus import mention_count, open_corpus
from training.corpora.spans import sentence_text
from training.corpora.tasks import corpus_task
from training.corpora.tsv import Sentence
from training.data.augmentation import build_lexicon
from training.data.examples import IGNORED, HeadData, label_sentences
from training.data.sampling import Material
from training.encoders.loading import StartingPoint, load_encoder
from training.encoders.tokeniser import check_known
from training.finetune.export import blend_weights, corpus_entry, half_weights
from training.finetune.loop import LoopSettings, Trainer
from training.finetune.scoring import DevelSet, score_devel
from training.finetune.teachers import Teachers, teach, unlabelled
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
"""Of how many sentences unknown words are named."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedCorpus:
    """One head's corpus, read: its task, devel sentences, and what the manifest says of it."""

    task: Task
    train: tuple[Sentence, ...]
    devel: DevelSet
    entry: CorpusEntry


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRun:
    """What a run is made of; its test splits are not, and nothing here reads one.

    `encoder` is what it starts from and `state` the folder of its saved states. `teachers` names
    checkpoints whose soft tags are learned from, `texts` titles and abstracts without gold that
    they read too. Epochs before `score_from` (from 0) are not scored on devel, and are never the
    best. `labelled` are the corpora as word pieces, where that was done before. What teachers say
    is kept in the folder `soft_tags`, which runs may share, or else beside the state.
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
    soft_tags: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """What a run gave: the weights of its best epoch, rounded to fp16, in evaluation mode.

    `scores` holds the strict devel F1 by head of each epoch, and `epoch` is the best one's number.
    `weights` are what a checkpoint holds.
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
    say: Callable[[str], None] = lambda _: None,
) -> list[LoadedCorpus]:
    """Read the training and devel splits of corpora.

    :param say: is told what is odd about them, and no reason not to train
    :raises CorpusError: if one is missing or broken, or its splits do not agree.
    """
    corpora = []
    with (work or Work()).stage("reading the corpora", len(names), "corpora") as stage:
        for name in names:
            corpora.append(_load(root, name, say))
            stage.advance()
    return corpora


def _load(root: Path, name: str, say: Callable[[str], None]) -> LoadedCorpus:
    corpus = open_corpus(root, name)
    splits = {split: corpus.sentences(split) for split in (Split.TRAIN, Split.DEVEL)}
    findings = compare_splits(corpus, splits)
    broken = [str(finding.problem) for finding in findings if finding.breaks]
    if broken:
        more = f" (the first of {len(broken):,} problems)" if len(broken) > 1 else ""
        raise CorpusError(f"{broken[0]}{more}; see: pubner corpora check")
    for finding in findings:
        say(f"Warning: {finding.problem}.")
    for split, sentences in splits.items():
        mentions = sum(map(mention_count, sentences))
        difference = count_difference(known_file(corpus, split), len(sentences), mentions)
        if difference:
            say(f"Warning: {corpus.path(split)}: {difference}.")
    train_sentences, devel_sentences = splits[Split.TRAIN], splits[Split.DEVEL]
    task = TASKS.get(corpus.name) or corpus_task(corpus.name, train_sentences)
    return LoadedCorpus(
        task,
        train_sentences,
        DevelSet(task, devel_sentences),
        corpus_entry(corpus.name, "train", corpus.path(Split.TRAIN), train_sentences),
    )


def run_training(
    run: TrainingRun,
    *,
    on_progress: Callable[[LoopProgress], None] = lambda _: None,
    on_epoch: Callable[[int, dict[str, float]], bool] = lambda *_: True,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda _: None,
    work: Work | None = None,
) -> TrainedModel | None:
    """Train; return the best epoch's model, or None where `should_stop` ended it.

    A stopped or killed run goes on from its state when it is called again. The state is left for
    the caller to remove.

    :param on_epoch: is told an epoch's number and devel scores, and returns whether to go on
    :param say: is told in words what the run does
    :param work: is told what the run is at
    :raises TrainingError: if the state is of another run.
    :raises DivergenceError: if the loss is no number any more.
    """
    recipe = run.recipe
    work = work or Work()
    tasks = tuple(corpus.task for corpus in run.corpora)
    layout = head_layout(tasks)
    torch.manual_seed(recipe.seed)
    with work.stage("loading the encoder"):
        start = load_encoder(run.encoder, recipe, tasks)
    material = _material(run, start, layout, say, work)
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
        say(f"Going on from step {trainer.resumed_step:,} of an earlier start.")
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
            save_file(half_weights(model), run.state / f".{_BEST}")
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
    say: Callable[[str], None],
    work: Work,
) -> Material:
    """Label the corpora, and have teachers read them and the texts where the recipe wants it."""
    recipe = run.recipe
    with work.stage("splitting the corpora into word pieces"):
        data = run.labelled or tuple(
            label_sentences(c.task, c.train, start.tokeniser) for c in run.corpora
        )
    corpora = {corpus.task.name: corpus for corpus in run.corpora}
    precision = "bf16 where safe" if run.bf16 else "fp32"
    say(f"Recipe {recipe.name}, encoder {start.source}, {run.device.type}, {precision}.")
    for head in data:
        _require_known(head, corpora[head.task.name], start.tokeniser)
        lost = f", {head.unreachable} mentions unreachable" if head.unreachable else ""
        say(f"  {head.task.name}: {len(head.sentences):,} sentences, {head.pieces:,} pieces{lost}")
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
    with work.stage("collecting mentions to put in place of others"):
        lexicons = tuple(build_lexicon(head) for head in data) if recipe.augments else ()
    if not run.teachers:
        return Material(data, lexicons=lexicons)
    with work.stage("loading the teachers"):
        members = tuple(
            CheckpointTagger(
                load_trained(resolve_checkpoint(name), device=str(run.device)), BatchLimits()
            )
            for name in run.teachers
        )
    texts = unlabelled(run.texts, start.tokeniser)
    say(f"  {len(members)} teachers read them, and {len(texts):,} texts without gold.")
    with work.stage("having the teachers read", unit="texts") as stage:
        return teach(
            Teachers(members, layout),
            Material(data, texts, lexicons),
            [corpus.train for corpus in run.corpora],
            run.texts,
            (run.soft_tags or run.state) / f"soft-{_digest(_lesson(run))}.safetensors",
            stage.update,
        )


def _has_mention(head: HeadData) -> bool:
    return any(bool((sentence.pieces.tags > 0).any()) for sentence in head.sentences)


def _require_known(head: HeadData, corpus: LoadedCorpus, tokeniser: WordPieceTokeniser) -> None:
    """Make sure that the tokeniser knows a corpus's words.

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
    """Name all that shapes the result."""
    return {
        "recipe": run.recipe.values(),
        "encoder": start.source,
        "bf16": run.bf16,
        **_lesson(run),
    }


def _lesson(run: TrainingRun) -> dict[str, Any]:
    """Name all that teachers say depends on."""
    return {
        "corpora": {corpus.entry.name: corpus.entry.sha256 for corpus in run.corpora},
        "teachers": [read_manifest(resolve_checkpoint(name)).id for name in run.teachers],
        "texts": _digest(list(run.texts)) if run.texts else "",
    }


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
