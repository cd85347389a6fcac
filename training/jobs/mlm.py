"""The command `pubner train mlm`: adapts an encoder to in-domain text."""

import os
from dataclasses import asdict
from pathlib import Path

import torch

from training.corpora.corpus import corpora_root
from training.encoders.names import PRETRAINING
from training.finetune.precision import trains_in_bf16
from training.mlm.run import STATE, MlmResult, MlmRun, run_mlm
from training.recipes.mlm import MlmRecipe
from training.reports.outputs import prepare_output
from training.reports.progress import show_work, stop_signals
from training.settings.mlm import MlmSettings
from worker.cli.command import human_console, print_table, write_json
from worker.network.encoder import choose_device


def train(settings: MlmSettings, recipe: MlmRecipe) -> int:
    """Train, export and report; return the exit code.

    :raises PubnerError: if a text, the encoder or the output folder is unusable.
    """
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
            log=console.print,
            work=work,
        )
    if result is None:
        console.print("Stopped; the same command resumes from here.")
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
