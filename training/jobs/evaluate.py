"""The command `pubner evaluate`: strict and token-level scores of a checkpoint's heads."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import CorpusError, SettingsError
from schemas.tasks import Task
from training.corpora.catalogue import Split
from training.corpora.corpus import Corpus, corpora_root, open_corpus, present_corpora
from training.corpora.spans import require_labels
from training.corpora.tsv import Sentence
from training.evaluation.documents import (
    GoldFile,
    evaluate_documents,
    head_for,
    read_gold_file,
    split_word,
)
from training.evaluation.errors_analysis import (
    TrainingMentions,
    analyse_errors,
    training_mentions,
)
from training.evaluation.errors_page import ErrorsPage, write_page
from training.evaluation.evaluate import evaluate_heads
from training.evaluation.predict import ScoredSpan
from training.evaluation.reliability import write_reliability
from training.evaluation.report import EvaluationReport, print_report, report_json
from training.reports.pages import require_writable
from training.reports.progress import Work, show_work
from training.settings.evaluate import EvaluateSettings
from worker.cli.command import human_console, write_json
from worker.registry.names import checkpoint_folder

if TYPE_CHECKING:
    from worker.tagger import Tagger


def evaluate(settings: EvaluateSettings) -> int:
    """Run `pubner evaluate`; return the exit status."""
    for name, path in (("errors", settings.errors), ("reliability", settings.reliability)):
        if path is None:
            continue
        if settings.documents and not settings.corpus:
            raise SettingsError(
                f"option --{name} describes corpora, and --documents alone scores none; name one "
                "with --corpus"
            )
        require_writable(path)
    paths = [
        checkpoint_folder(name, settings.registry, settings.checkpoint_cache)
        for name in settings.checkpoint
    ]
    from worker.tagger import load_tagger

    console = human_console(settings.json_file)
    found: dict[str, Sequence[tuple[ScoredSpan, ...]]] = {}
    with show_work(console) as work:
        with work.stage("loading the checkpoint"):
            tagger = load_tagger(paths, device=settings.device, threads=settings.threads)
        with work.stage("reading the corpora"):
            corpora = _read_corpora(settings, tagger.tasks)
            training = _read_training(settings, tagger.tasks)
            documents = [_read_documents(word, tagger.tasks) for word in settings.documents]
        for _, gold in documents:
            for problem in gold.problems:
                console.print(f"{gold.path}: left out: {problem}", soft_wrap=True)
        report = _score(settings, tagger, corpora, documents, work, found)
    print_report(report, console)
    if settings.errors is not None:
        _write_errors(settings.errors, report, corpora, found, training)
        console.print(f"The errors are described in {settings.errors}", soft_wrap=True)
        if settings.split == Split.TEST:
            console.print(
                "It is based on the test split: use it for reporting only; "
                "for development use the errors on devel",
                soft_wrap=True,
            )
    if settings.reliability is not None:
        write_reliability(
            {name: {"": head.bins} for name, head in report.heads.items()},
            settings.reliability,
            title=f"{report.checkpoint} on {report.split}, {report.context} context",
        )
        console.print(f"Reliability is drawn in {settings.reliability}", soft_wrap=True)
    if settings.json_file is not None:
        write_json(report_json(report), settings.json_file)
    return 0


def _open_corpora(settings: EvaluateSettings, tasks: Sequence[Task]) -> list[tuple[Task, Corpus]]:
    """Return the heads to score, each with its corpus.

    :raises SettingsError: if a corpus has no head in the checkpoint.
    :raises CorpusError: if a corpus is missing.
    """
    heads = {task.name: task for task in tasks}
    root = corpora_root(settings.data, os.environ)
    names = settings.corpus
    if not names and not settings.documents:
        names = tuple(name for name in present_corpora(root, settings.split) if name in heads)
        if not names:
            raise CorpusError(
                f"no corpus of the heads {', '.join(heads)} has a {settings.split}.tsv under "
                f"{root}; name a folder with --data, or run: pubner corpora fetch"
            )
    found = []
    for name in dict.fromkeys(names):
        corpus = open_corpus(root, name)
        task = heads.get(corpus.name)
        if task is None:
            raise SettingsError(
                f"the checkpoint has no head for the corpus {name!r}; it has {', '.join(heads)}"
            )
        found.append((task, corpus))
    return found


def _read_corpora(
    settings: EvaluateSettings, tasks: Sequence[Task]
) -> list[tuple[Task, tuple[Sentence, ...]]]:
    """Return the heads to score, each with its sentences.

    :raises CorpusError: if a corpus is broken, or has labels that the head lacks.
    """
    found = []
    for task, corpus in _open_corpora(settings, tasks):
        sentences = corpus.sentences(settings.split)
        require_labels(task, sentences)
        found.append((task, sentences))
    return found


def _read_training(
    settings: EvaluateSettings, tasks: Sequence[Task]
) -> dict[str, TrainingMentions]:
    """Return the training mentions of each head with a training split, if --errors is given.

    Empty if the training split itself is scored, since it has no unseen mentions.
    """
    if settings.errors is None or settings.split == Split.TRAIN:
        return {}
    return {
        task.name: training_mentions(corpus.sentences(Split.TRAIN))
        for task, corpus in _open_corpora(settings, tasks)
        if corpus.has(Split.TRAIN)
    }


def _read_documents(word: str, tasks: Sequence[Task]) -> tuple[Task, GoldFile]:
    head, path = split_word(word)
    gold = read_gold_file(path)
    return head_for(gold, tasks, head), gold


def _score(
    settings: EvaluateSettings,
    tagger: "Tagger",
    corpora: Sequence[tuple[Task, tuple[Sentence, ...]]],
    documents: Sequence[tuple[Task, GoldFile]],
    work: Work,
    found: dict[str, Sequence[tuple[ScoredSpan, ...]]],
) -> EvaluationReport:
    """Score all heads; the predictions on each corpus are added to `found`."""
    heads = evaluate_heads(tagger, corpora, settings.context, work, found)
    files = {}
    for task, gold in documents:
        with work.stage(gold.path.name, len(gold.texts), "documents") as stage:
            files[str(gold.path)] = evaluate_documents(tagger, task, gold, stage.advance)
    return EvaluationReport(
        checkpoint=tagger.id,
        split=str(settings.split),
        context=str(settings.context),
        heads=heads,
        documents=files,
    )


def _write_errors(
    path: Path,
    report: EvaluationReport,
    corpora: Sequence[tuple[Task, tuple[Sentence, ...]]],
    found: Mapping[str, Sequence[tuple[ScoredSpan, ...]]],
    training: Mapping[str, TrainingMentions],
) -> None:
    heads = {
        task.name: analyse_errors(
            task,
            sentences,
            [[one.span for one in spans] for spans in found[task.name]],
            training=training.get(task.name),
            scores=[{one.span: one.score for one in spans} for spans in found[task.name]],
        )
        for task, sentences in {task.name: (task, read) for task, read in corpora}.values()
    }
    write_page(ErrorsPage(report.checkpoint, report.split, report.context, heads), path)
