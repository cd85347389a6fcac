"""`pubner train stl` and `pubner train mtl`: a corpus or several in, a checkpoint out."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file

from schemas.errors import SettingsError, TrainingError
from schemas.manifest import CorpusEntry
from schemas.tasks import TASKS, Task
from training.corpora.catalogue import Split
from training.corpora.corpus import corpora_root, open_corpus
from training.corpora.tsv import Sentence
from training.encoders import MINILM, load_encoder
from training.examples import HeadData, label_sentences
from training.export import blend_weights, corpus_entry, export_checkpoint, half_weights
from training.loop import LoopSettings, Trainer
from training.loop import Progress as LoopProgress
from training.recipe import Recipe, find_recipe
from training.scoring import DevelSet, score_devel
from training.tasks import corpus_task
from worker.checkpoint import MANIFEST, resolve_checkpoint
from worker.command import Settings, human_console, parse_settings, print_table, write_json
from worker.decoding import head_layout
from worker.encoder import choose_device, choose_precision
from worker.model import MultiHeadModel

STATE = ".training-state"
_BEST = "best.safetensors"


class TrainSettings(Settings):
    """Options of `pubner train`."""

    corpus: tuple[str, ...] = Field((), description="corpora to train on, one head each")
    output: Path = Field(description="folder for the checkpoint; a broken run goes on in it")
    data: Path | None = Field(None, description="folder of the corpora")
    recipe: str = Field("compact", description="named recipe: reference, compact, shipped")
    encoder: str = Field(
        MINILM, description="minilm, a folder, a hub id, or a checkpoint to go on from"
    )
    epochs: int | None = Field(None, description="changes the recipe's number of epochs")
    learning_rate: float | None = Field(None, description="changes the recipe's learning rate")
    batch_windows: int | None = Field(None, description="changes the recipe's windows a batch")
    max_sentences: int | None = Field(None, description="changes the longest window's sentences")
    max_pieces: int | None = Field(None, description="changes the longest window's word pieces")
    seed: int | None = Field(None, description="changes the recipe's seed")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int | None = Field(None, description="CPU threads; default: the library's choice")
    save_seconds: float = Field(300.0, ge=0, description="seconds between two saved states")
    restart: bool = Field(False, description="throw away what the output folder holds")
    json_file: str | None = Field(
        None, description="write devel scores and cost as JSON; - for stdout"
    )


@dataclass(frozen=True, slots=True, eq=False)
class LoadedCorpus:
    """One head's corpus, read: its task, devel sentences, and what the manifest says of it."""

    task: Task
    train: tuple[Sentence, ...]
    devel: DevelSet
    entry: CorpusEntry


def stl(argv: Sequence[str]) -> int:
    """Run `pubner train stl`: one corpus, one head."""
    settings = parse_settings(
        TrainSettings,
        argv,
        prog="pubner train stl",
        description="Fine-tune an encoder on one corpus (single-task).",
    )
    if len(settings.corpus) != 1:
        raise SettingsError(
            f"--corpus names {len(settings.corpus)} corpora, expected one (such as ncbi-disease); "
            "for several use: pubner train mtl"
        )
    return train(settings)


def mtl(argv: Sequence[str]) -> int:
    """Run `pubner train mtl`: several corpora, a shared encoder, one head each."""
    settings = parse_settings(
        TrainSettings,
        argv,
        prog="pubner train mtl",
        description="Fine-tune a shared encoder on several corpora, one head each (multi-task).",
    )
    names = settings.corpus or ("ncbi-disease", "bc5cdr", "bc2gm", "jnlpba")
    if len(set(names)) != len(names):
        raise SettingsError(f"--corpus names a corpus twice: {', '.join(names)}")
    return train(settings.model_copy(update={"corpus": names}))


def train(settings: TrainSettings) -> int:
    """Train, export and report; return the exit code.

    :raises TrainingError: if the output folder holds something else, or the run cannot go on.
    """
    recipe = find_recipe(
        settings.recipe,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        batch_windows=settings.batch_windows,
        # A number of windows takes the place of the recipe's budget of word pieces.
        batch_pieces=None if settings.batch_windows is None else 0,
        max_sentences=settings.max_sentences,
        max_pieces=settings.max_pieces,
        seed=settings.seed,
    )
    _prepare(settings)
    console = human_console(settings.json_file)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    bf16 = choose_precision("auto", device) == torch.bfloat16
    corpora = [_load(settings, name) for name in settings.corpus]
    tasks = [corpus.task for corpus in corpora]
    layout = head_layout(tasks)
    torch.manual_seed(recipe.seed)
    start = load_encoder(settings.encoder, recipe, tasks)
    data = [label_sentences(c.task, c.train, start.tokeniser) for c in corpora]
    _announce(console.print, recipe, start.source, device, bf16, data)
    state = settings.output / STATE
    trainer = Trainer(
        start.model,
        start.tokeniser,
        layout,
        data,
        recipe,
        LoopSettings(device, bf16, settings.save_seconds),
        state,
        {
            "recipe": json.loads(json.dumps(recipe.values())),
            "encoder": start.source,
            "corpora": {corpus.entry.name: corpus.entry.sha256 for corpus in corpora},
        },
    )
    origin = {name: tensor.clone() for name, tensor in start.model.state_dict().items()}
    if trainer.resume():
        console.print(f"Going on from step {trainer.resumed_step:,} of an earlier start.")

    def on_epoch(epoch: int, trained: MultiHeadModel) -> dict[str, float]:
        model = blend_weights(trained, origin, recipe.blend_start)
        scores = score_devel(
            model,
            start.tokeniser,
            tasks,
            [corpus.devel for corpus in corpora],
            letter_case=recipe.letter_case,
            max_pieces=recipe.max_pieces,
            device=device,
        )
        listed = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        console.print(f"Epoch {epoch + 1}: devel strict F1 {listed}")
        if _mean(scores) >= max((_mean(known) for known in trainer.scores), default=0.0):
            state.mkdir(parents=True, exist_ok=True)
            save_file(half_weights(model), state / f".{_BEST}")
            (state / f".{_BEST}").replace(state / _BEST)
        return scores

    with _stop_signals() as stopped, _progress_bar(console) as show:
        finished = trainer.run(show, on_epoch, lambda: bool(stopped))
    if not finished:
        console.print("Stopped; the same command goes on from here.")
        return 128 + stopped[0]
    best = max(
        range(len(trainer.scores)), key=lambda number: (_mean(trainer.scores[number]), number)
    )
    scores = trainer.scores[best]
    manifest = export_checkpoint(
        settings.output,
        weights=load_file(state / _BEST),
        tokeniser=start.tokeniser,
        config=start.config,
        tasks=tasks,
        recipe=recipe,
        encoder_source=start.source,
        corpora=[corpus.entry for corpus in corpora],
        metrics={f"devel/{name}": {"strict_f1": round(value, 4)} for name, value in scores.items()},
    )
    shutil.rmtree(state)
    print_table(
        console,
        [[name, f"{value:.4f}"] for name, value in scores.items()],
        columns=("head", "devel strict F1"),
        right=(1,),
        title=f"Checkpoint {manifest.id} in {settings.output}",
    )
    console.print(
        f"Epoch {best + 1} of {recipe.epochs} was best; {trainer.seconds:,.0f} s of training."
    )
    if settings.json_file:
        write_json(
            {
                "id": manifest.id,
                "path": str(settings.output),
                "devel": scores,
                "seconds": trainer.seconds,
                "epochs": trainer.scores,
            },
            settings.json_file,
        )
    return 0


def _mean(scores: dict[str, float]) -> float:
    return sum(scores.values()) / len(scores)


def _prepare(settings: TrainSettings) -> None:
    output = settings.output
    if output.exists() and not output.is_dir():
        raise TrainingError(f"--output {output} is a file; name a folder")
    if settings.restart and output.is_dir():
        shutil.rmtree(output / STATE, ignore_errors=True)
        (output / MANIFEST).unlink(missing_ok=True)
    if (output / MANIFEST).is_file():
        resolve_checkpoint(str(output))
        raise TrainingError(
            f"{output} already holds a finished checkpoint; name another --output, or --restart"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"the output folder {output} cannot be made: {error.strerror}; name another --output"
        ) from error


def _load(settings: TrainSettings, name: str) -> LoadedCorpus:
    corpus = open_corpus(corpora_root(settings.data, os.environ), name)
    train_sentences = corpus.sentences(Split.TRAIN)
    devel_sentences = corpus.sentences(Split.DEVEL)
    task = TASKS.get(corpus.name) or corpus_task(corpus.name, train_sentences)
    return LoadedCorpus(
        task,
        train_sentences,
        DevelSet(task, devel_sentences),
        corpus_entry(corpus.name, "train", corpus.path(Split.TRAIN), train_sentences),
    )


def _announce(
    say: Callable[[str], None],
    recipe: Recipe,
    source: str,
    device: torch.device,
    bf16: bool,
    data: Sequence[HeadData],
) -> None:
    precision = "bf16 where safe" if bf16 else "fp32"
    say(f"Recipe {recipe.name}, encoder {source}, {device.type}, {precision}.")
    for head in data:
        lost = f", {head.unreachable} mentions unreachable" if head.unreachable else ""
        say(f"  {head.task.name}: {len(head.sentences):,} sentences, {head.pieces:,} pieces{lost}")


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one does."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress_bar(console: Console) -> Iterator[Callable[[LoopProgress], None]]:
    """Show a bar on a terminal, and elsewhere a line every hundred steps."""
    if not sys.stderr.isatty():

        def line(now: LoopProgress) -> None:
            if now.step % 100 == 0:
                console.print(
                    f"step {now.step:,}/{now.steps:,} epoch {now.epoch + 1} "
                    f"loss {now.loss:.4f} {now.pieces_per_second:,.0f} pieces/s"
                )

        yield line
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[rate]:,.0f} pieces/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("train", total=None, epoch=1, loss=0.0, rate=0.0)

        def show(now: LoopProgress) -> None:
            bar.update(
                task,
                completed=now.step,
                total=now.steps,
                epoch=now.epoch + 1,
                loss=now.loss,
                rate=now.pieces_per_second,
            )

        yield show
