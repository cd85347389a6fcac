"""A run of masked-language-model training, from text and an encoder to an encoder folder."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from schemas.errors import TrainingError
from training.encoders.loading import load_pretrained
from training.encoders.names import PRETRAINING, encoder_folder
from training.encoders.tokeniser import check_known
from training.finetune.loop import LoopSettings
from training.mlm.export import export_encoder
from training.mlm.loop import HeldOut, MlmTrainer
from training.mlm.model import MaskedModel, frequency_bias
from training.mlm.text import (
    Pieces,
    TextSource,
    hold_out,
    read_corpus,
    read_texts,
    tokenise_passages,
)
from training.recipes.mlm import MlmRecipe
from training.reports.progress import LoopProgress, Work
from worker.checkpoint.folder import MANIFEST

STATE = ".training-state"
_EXAMPLES_FROM = 200
"""How many texts of each source are searched for examples of unknown words."""


@dataclass(frozen=True, slots=True, eq=False)
class MlmRun:
    """The inputs and settings of a run.

    Text comes from the JSONL files `texts`, and from the training splits of the `corpora` under
    `root`. `encoder` is `minilm`, a folder in transformers' layout, or a hub id; `output` the
    folder of the resulting encoder, which also holds the state of an interrupted run. `half` writes
    its weights as fp16. `bf16` switches mixed precision on; `save_seconds` is the time between two
    saved training states.
    """

    recipe: MlmRecipe
    encoder: str
    output: Path
    device: torch.device
    bf16: bool
    texts: Sequence[Path] = ()
    corpora: Sequence[str] = ()
    root: Path = Path()
    half: bool = False
    save_seconds: float = 300.0


@dataclass(frozen=True, slots=True, eq=False)
class MlmResult:
    """The result of a run: the encoder's folder, and the `source` that checkpoints record for it.

    `held_out` holds the metrics on held-out text before training and after each epoch; `seconds` is
    the time spent in `steps` training steps.
    """

    folder: Path
    source: str
    held_out: tuple[HeldOut, ...]
    steps: int
    seconds: float


def run_mlm(
    run: MlmRun,
    *,
    on_progress: Callable[[LoopProgress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    log: Callable[[str], None] = lambda _: None,
    work: Work | None = None,
) -> MlmResult | None:
    """Continue pretraining of an encoder with the MLM objective and export it; None if stopped.

    Called again after a stop or kill, the same run resumes from its saved state. `log` is called
    with lines on the text and every measurement; `work` receives the progress.

    :raises TrainingError: if the output folder holds a finished encoder or another run's state, the
        encoder does not fit, or the run diverges.
    :raises InputError: if a text file cannot be read. :raises CorpusError: if a corpus cannot.
    """
    if (run.output / PRETRAINING).is_file():
        raise TrainingError(
            f"{run.output} already holds a finished encoder; name another --output, or --restart"
        )
    recipe = run.recipe
    folder = encoder_folder(run.encoder)
    if folder is not None and (folder / MANIFEST).is_file():
        raise TrainingError(
            f"the encoder {run.encoder!r} is a checkpoint with heads; name the encoder that it was "
            "made from"
        )
    work = work or Work()
    torch.manual_seed(recipe.seed)
    with work.stage("loading the encoder"):
        start = load_pretrained(
            run.encoder,
            dropout=recipe.dropout,
            attention_dropout=recipe.attention_dropout,
            letter_case=recipe.letter_case,
            max_pieces=recipe.max_pieces,
        )
    with work.stage("reading the text"):
        read = [read_texts(path) for path in run.texts]
        read += [read_corpus(run.root, name) for name in run.corpora]
    sources = [source for _, source in read]
    for source in sources:
        log(_described(source))
    total = sum(len(passages) for passages, _ in read)
    with work.stage("splitting the text into word pieces", total, "texts") as stage:
        pieces = tokenise_passages(
            chain.from_iterable(passages for passages, _ in read),
            start.tokeniser,
            recipe.max_pieces,
            stage.advance,
        )
    check_known(
        "the text",
        int((pieces.ids == start.tokeniser.unknown_id).sum()),
        int(pieces.first.sum()),
        start.tokeniser,
        [passage.text for passages, _ in read for passage in passages[:_EXAMPLES_FROM]],
    )
    del read
    train, held = hold_out(pieces, recipe.held_out, recipe.seed)
    vocabulary = int(start.config.vocab_size)
    counts = torch.from_numpy(np.bincount(train.ids, minlength=vocabulary)[:vocabulary])
    state = run.output / STATE
    trainer = MlmTrainer(
        MaskedModel(start.encoder, frequency_bias(counts)),
        start.tokeniser,
        train,
        held,
        recipe,
        LoopSettings(run.device, run.bf16, run.save_seconds),
        state,
        {
            "recipe": recipe.values(),
            "encoder": start.source,
            "bf16": run.bf16,
            "texts": [[source.name, source.sha256] for source in sources],
        },
    )
    log(
        f"{train.documents:,} documents, {len(train):,} word pieces in {trainer.windows:,} "
        f"windows; {held.documents:,} documents held out"
    )
    if trainer.resume():
        log(f"Resuming at step {trainer.step:,} of an earlier start.")

    def measured(found: HeldOut) -> None:
        when = f"Epoch {found.epoch}" if found.epoch else "Before training"
        log(f"{when}: held-out loss {found.loss:.4f}, accuracy {found.accuracy:.4f}")

    with work.training() as show:

        def stepped(now: LoopProgress) -> None:
            show(now)
            on_progress(now)

        if not trainer.run(stepped, measured, should_stop, work=work):
            return None
    whole = _source(start.source, recipe, sources, trainer.step)
    export_encoder(
        run.output,
        start.encoder,
        start.tokeniser,
        start.config,
        letter_case=recipe.letter_case,
        half=run.half,
        record={
            "source": whole,
            "encoder_source": start.source,
            "recipe": recipe.values(),
            "texts": [asdict(source) for source in sources],
            "text": _counts(train, held, trainer.windows),
            "held_out": [asdict(found) for found in trainer.measured],
            "steps": trainer.step,
            "seconds": round(trainer.seconds, 1),
            "device": run.device.type,
            "bf16": run.bf16,
        },
    )
    shutil.rmtree(state)
    return MlmResult(run.output, whole, trainer.measured, trainer.step, trainer.seconds)


def _counts(train: Pieces, held: Pieces, windows: int) -> dict[str, Any]:
    return {
        "documents": train.documents,
        "pieces": len(train),
        "windows": windows,
        "held_out_documents": held.documents,
        "held_out_pieces": len(held),
    }


def _described(source: TextSource) -> str:
    line = f"  {source.name} ({source.kind}): {source.texts:,} texts"
    if source.bad_lines:
        line += f"; {source.bad_lines:,} lines gave no text, the first: {source.first_problem}"
    return line


def _source(base: str, recipe: MlmRecipe, sources: Sequence[TextSource], steps: int) -> str:
    """Return the provenance of the encoder in one line, for the manifests of checkpoints."""
    texts = ", ".join(
        f"{source.name} ({source.kind}, SHA-256 {source.sha256[:12]})" for source in sources
    )
    case = "with" if recipe.letter_case else "without"
    return (
        f"{base}, trained on as a masked language model {case} letter case "
        f"({steps} steps of up to {recipe.batch_pieces} word pieces) on {texts}"
    )
