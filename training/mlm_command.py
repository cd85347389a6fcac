"""`pubner train mlm`: in-domain text and an encoder in, an adapted encoder out."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import Field

from schemas.errors import SettingsError
from training.corpora.corpus import corpora_root
from training.encoders import MINILM, PRETRAINING
from training.mlm.recipe import MlmRecipe
from training.mlm.run import STATE, MlmResult, MlmRun, run_mlm
from training.outputs import prepare_output
from training.precision import trains_in_bf16
from training.progress import show_work, stop_signals
from worker.command import Settings, human_console, parse_settings, print_table, write_json
from worker.encoder import choose_device

_DEFAULT = MlmRecipe()


class MlmSettings(Settings):
    """Options of `pubner train mlm`."""

    texts: tuple[str, ...] = Field(
        (), description="JSONL files, plain or gzip: an object a line with title and abstract"
    )
    corpus: tuple[str, ...] = Field(
        (), description="corpora whose training splits are text too, without their tags"
    )
    output: Path = Field(description="folder for the encoder; a broken run goes on in it")
    data: Path | None = Field(None, description="folder of the corpora")
    encoder: str = Field(MINILM, description="minilm, a folder, or a hub id")
    letter_case: bool = Field(
        True, description="the encoder reads letter-case classes as token types"
    )
    epochs: int = Field(_DEFAULT.epochs, description="times that all text is read")
    max_steps: int = Field(0, description="end earlier, after so many steps; 0: do not")
    learning_rate: float = Field(_DEFAULT.learning_rate, description="highest learning rate")
    mask_share: float = Field(_DEFAULT.mask_share, description="share of words to guess")
    max_pieces: int = Field(_DEFAULT.max_pieces, description="longest window in word pieces")
    batch_pieces: int = Field(_DEFAULT.batch_pieces, description="word pieces of a batch")
    held_out: float = Field(
        _DEFAULT.held_out, description="share of documents to measure with, not to train on"
    )
    seed: int = Field(_DEFAULT.seed, description="seed of every random choice")
    half: bool = Field(False, description="write the encoder's weights as fp16, not fp32")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int | None = Field(
        None, ge=1, description="CPU threads; default: the library's choice"
    )
    save_seconds: float = Field(300.0, ge=0, description="seconds between two saved states")
    restart: bool = Field(False, description="throw away what the output folder holds")
    json_file: str | None = Field(
        None, description="write held-out figures and cost as JSON; - for stdout"
    )


def run(argv: Sequence[str]) -> int:
    """Run `pubner train mlm`; return the exit code.

    :raises PubnerError: if an option, a text, the encoder or the output folder will not do.
    """
    settings = parse_settings(
        MlmSettings,
        argv,
        prog="pubner train mlm",
        description="Train an encoder on in-domain text as a masked language model, before it "
        "learns to tag: `pubner train stl|mtl --encoder OUTPUT`.",
    )
    if not settings.texts and not settings.corpus:
        raise SettingsError("there is nothing to train on; name text with --texts or --corpus")
    for option, names in (("texts", settings.texts), ("corpus", settings.corpus)):
        if len(set(names)) != len(names):
            raise SettingsError(f"--{option} names one twice: {', '.join(names)}")
    recipe = MlmRecipe(
        epochs=settings.epochs,
        max_steps=settings.max_steps,
        learning_rate=settings.learning_rate,
        mask_share=settings.mask_share,
        max_pieces=settings.max_pieces,
        batch_pieces=settings.batch_pieces,
        letter_case=settings.letter_case,
        held_out=settings.held_out,
        seed=settings.seed,
    )
    prepare_output(settings.output, restart=settings.restart, own=(STATE, PRETRAINING))
    console = human_console(settings.json_file)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    bf16 = trains_in_bf16(device)
    precision = "bf16 where safe" if bf16 else "fp32"
    console.print(f"Encoder {settings.encoder}, {device.type}, {precision}; text:")
    with show_work(console) as work, stop_signals(work) as stopped:
        result = run_mlm(
            MlmRun(
                recipe,
                settings.encoder,
                settings.output,
                device,
                bf16,
                texts=[Path(name) for name in settings.texts],
                corpora=settings.corpus,
                root=corpora_root(settings.data, os.environ),
                half=settings.half,
                save_seconds=settings.save_seconds,
            ),
            should_stop=lambda: bool(stopped),
            say=console.print,
            work=work,
        )
    if result is None:
        console.print("Stopped; the same command goes on from here.")
        return 128 + stopped[0]
    print_table(
        console,
        [
            [found.epoch or "before", f"{found.loss:.4f}", f"{found.accuracy:.4f}"]
            for found in result.held_out
        ],
        columns=("epoch", "held-out loss", "accuracy"),
        right=(1, 2),
        title=f"Encoder in {result.folder}",
    )
    console.print(
        f"{result.steps:,} steps, {result.seconds:,.0f} s of training. "
        f"Go on with: pubner train mtl --encoder {result.folder}"
    )
    if settings.json_file:
        write_json(_summary(result), settings.json_file)
    return 0


def _summary(result: MlmResult) -> dict[str, object]:
    return {
        "path": str(result.folder),
        "source": result.source,
        "held_out": [asdict(found) for found in result.held_out],
        "steps": result.steps,
        "seconds": result.seconds,
    }
