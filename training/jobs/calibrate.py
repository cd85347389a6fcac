"""The command `pubner calibrate`: a copy of a checkpoint whose scores are calibrated on devel."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import CorpusError, OutputError, SettingsError
from schemas.manifest import CheckpointManifest, HeadCalibration, content_id
from schemas.tasks import Task
from training.corpora.catalogue import Split
from training.corpora.corpus import (
    corpora_root,
    mention_count,
    open_corpus,
    present_corpora,
)
from training.corpora.spans import require_labels
from training.corpora.tsv import Sentence
from training.evaluation.calibration import Bin, bins_error, calibration_bins
from training.evaluation.predict import Context, readings_of
from training.evaluation.reliability import write_reliability
from training.reports.pages import require_writable
from training.reports.progress import Work, show_work
from training.settings.calibrate import CalibrateSettings
from worker.checkpoint.folder import MANIFEST, read_manifest, replace_manifest
from worker.cli.command import human_console, print_table, write_json
from worker.registry.names import checkpoint_folder

if TYPE_CHECKING:
    from worker.network.encoder import Encoder


@dataclass(frozen=True, slots=True)
class CalibratedHead:
    """A head's calibration, and its calibration bins on devel by context, before and after."""

    calibration: HeadCalibration
    before: Mapping[Context, tuple[Bin, ...]]
    after: Mapping[Context, tuple[Bin, ...]]

    def errors(self) -> dict[str, float]:
        """Return the expected calibration errors by metric name."""
        named = {}
        for context in Context:
            where = "" if context == Context.SENTENCE else f"_{context}"
            named[f"ece{where}_before"] = round(bins_error(self.before[context]), 4)
            named[f"ece{where}"] = round(bins_error(self.after[context]), 4)
        return named


def calibrate(settings: CalibrateSettings) -> int:
    """Run `pubner calibrate`; return the exit status.

    :raises PubnerError: with a one-line message for the user.
    """
    source = checkpoint_folder(settings.checkpoint, settings.registry, settings.checkpoint_cache)
    manifest = read_manifest(source)
    _refuse_taken(settings.output)
    if settings.plot is not None:
        require_writable(settings.plot)
    console = human_console(settings.json_file)
    from worker.network.encoder import load_encoder

    with show_work(console) as work:
        with work.stage("reading the corpora"):
            devel = _read_devel(settings, manifest.task_records())
        with work.stage("loading the checkpoint"):
            encoder = load_encoder(
                source, device=settings.device, threads=settings.threads, calibrated=False
            )
        heads = {
            task.name: _calibrate(
                encoder, task, sentences, manifest.calibration.get(task.name), work
            )
            for task, sentences in devel
        }
    made = _write_copy(source, manifest, heads, settings.output)
    print_table(
        console,
        [
            (name, f"{head.calibration.temperature:.3f}", *(f"{x:.3f}" for x in _cells(head)))
            for name, head in heads.items()
        ],
        columns=("head", "temperature", "sentence before", "after", "window before", "after"),
        title=f"Expected calibration error on devel: checkpoint {made.id} in {settings.output}",
        right=range(1, 6),
    )
    if manifest.reference is not None:
        console.print(
            "The drift reference was not copied, since the scores have changed; make one with: "
            f"pubner checkpoint reference {settings.output} --texts FILE",
            soft_wrap=True,
        )
    if settings.plot is not None:
        write_reliability(
            {
                f"{name}, {context} context": {
                    "before": head.before[context],
                    "after": head.after[context],
                }
                for name, head in heads.items()
                for context in Context
            },
            settings.plot,
            title=f"{made.id} on devel",
        )
    if settings.json_file is not None:
        write_json(
            {
                "id": made.id,
                "path": str(settings.output),
                "heads": {
                    name: {**head.calibration.model_dump(mode="json"), **head.errors()}
                    for name, head in heads.items()
                },
            },
            settings.json_file,
        )
    return 0


def _cells(head: CalibratedHead) -> list[float]:
    return list(head.errors().values())


def _refuse_taken(output: Path) -> None:
    """Reject a non-empty output folder: a checkpoint is never changed."""
    if (output / MANIFEST).exists():
        raise OutputError(f"{output} already holds a checkpoint; name another --output")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"--output {output} is no empty folder; name another")


def _read_devel(
    settings: CalibrateSettings, tasks: Sequence[Task]
) -> list[tuple[Task, tuple[Sentence, ...]]]:
    """Return the heads to calibrate, each with its devel sentences.

    :raises SettingsError: if a named corpus has no head in the checkpoint.
    :raises CorpusError: if a corpus is missing or broken.
    """
    heads = {task.name: task for task in tasks}
    root = corpora_root(settings.data, os.environ)
    names = settings.corpus or tuple(
        name for name in present_corpora(root, Split.DEVEL) if name in heads
    )
    if not names:
        raise CorpusError(
            f"no corpus of the heads {', '.join(heads)} has a devel.tsv under {root}; "
            "name a folder with --data, or run: pubner corpora fetch"
        )
    found = []
    for name in dict.fromkeys(names):
        corpus = open_corpus(root, name)
        if corpus.name not in heads:
            raise SettingsError(
                f"the checkpoint has no head for the corpus {name!r}; it has {', '.join(heads)}"
            )
        corpus.require_trainable()
        task, sentences = heads[corpus.name], corpus.sentences(Split.DEVEL)
        require_labels(task, sentences)
        if not any(map(mention_count, sentences)):
            raise CorpusError(
                f"{corpus.path(Split.DEVEL)} has no mention, so no score can be calibrated on it"
            )
        found.append((task, sentences))
    return found


def _calibrate(
    encoder: "Encoder",
    task: Task,
    sentences: Sequence[Sentence],
    old: HeadCalibration | None,
    work: Work,
) -> CalibratedHead:
    """Fit a head of `encoder`, which was loaded without its `old` calibration."""
    from training.finetune.calibration import FIT_CONTEXT, collect_scores, fit_head, outcomes_at

    total = sum(len(readings_of(sentences, context)) for context in Context)
    with work.stage(task.name, total, "texts") as stage:
        scores = {
            context: collect_scores(encoder, task, sentences, context, stage.advance)
            for context in Context
        }
    with work.stage(f"fitting {task.name}"):
        fitted = fit_head(scores[FIT_CONTEXT])
        before = old or HeadCalibration()
        return CalibratedHead(
            fitted,
            {c: calibration_bins(outcomes_at(head, before)) for c, head in scores.items()},
            {c: calibration_bins(outcomes_at(head, fitted)) for c, head in scores.items()},
        )


def _write_copy(
    source: Path, manifest: CheckpointManifest, heads: Mapping[str, CalibratedHead], output: Path
) -> CheckpointManifest:
    """Copy the checkpoint to `output` atomically, with a new manifest."""
    calibration = {
        **manifest.calibration,
        **{name: head.calibration for name, head in heads.items()},
    }
    metrics = dict(manifest.metrics)
    for name, head in heads.items():
        metrics[f"devel/{name}"] = {**metrics.get(f"devel/{name}", {}), **head.errors()}
    identity = content_id(
        manifest.files,
        manifest.tasks,
        letter_case=manifest.letter_case,
        max_pieces=manifest.max_pieces,
        calibration=calibration,
        reading=manifest.reading,
    )
    made = manifest.model_copy(
        update={
            "id": identity,
            "calibration": calibration,
            "metrics": metrics,
            "reference": None,  # it describes the scores before calibration
        }
    )
    partial = output.with_name(f".{output.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # left by a killed call
        partial.mkdir(parents=True)
        for name in manifest.files:
            shutil.copyfile(source / name, partial / name)
        replace_manifest(partial, made)
        partial.replace(output)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"cannot write {output}: {error.strerror or error}") from error
    return read_manifest(output)
