"""The command `pubner evaluate`: strict and token-level scores of a checkpoint's heads."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from schemas.errors import CorpusError, SettingsError
from schemas.tags import split_tag
from schemas.tasks import Task
from training.corpora.catalogue import Split
from training.corpora.corpus import corpora_root, open_corpus, present_corpora
from training.corpora.tsv import Sentence
from training.evaluation.documents import GoldFile, evaluate_documents, head_for, read_gold_file
from training.evaluation.evaluate import evaluate_head
from training.evaluation.predict import Context
from training.evaluation.report import EvaluationReport, print_report, report_json
from worker.checkpoint import resolve_checkpoint
from worker.command import Settings, human_console, parse_settings, write_json

if TYPE_CHECKING:
    from rich.progress import Progress

    from worker.tagger import Tagger


class EvaluateSettings(Settings):
    """The options of `pubner evaluate`."""

    checkpoint: tuple[str, ...] = Field(
        min_length=1, description="a checkpoint's folder, or `default`; several make a set"
    )
    corpus: tuple[str, ...] = Field(
        default=(),
        description="corpora to score on, by name (default: those of the checkpoint's heads that "
        "are there; none where --documents is given)",
    )
    split: Split = Field(default=Split.DEVEL, description="the part of each corpus to score on")
    data: Path | None = Field(
        default=None,
        description="folder of the corpora (default: PUBNER_CORPORA, else the fetch cache)",
    )
    context: Context = Field(
        default=Context.SENTENCE,
        description="what is read at once: each sentence alone, or windows of eight joined",
    )
    documents: tuple[str, ...] = Field(
        default=(),
        description="PubTator files with gold mentions, scored end to end on raw text; "
        "HEAD=FILE names the head",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads (default: the library's choice)"
    )
    json_file: str | None = Field(
        default=None, description="write the scores as JSON; - is standard output"
    )


def run(argv: Sequence[str]) -> int:
    """Run `pubner evaluate`; return the exit status."""
    settings = parse_settings(
        EvaluateSettings,
        argv,
        prog="pubner evaluate",
        description="Score a checkpoint's heads on a corpus split and on raw documents.",
        positional="checkpoint",
    )
    paths = [resolve_checkpoint(name) for name in settings.checkpoint]
    from worker.tagger import load_tagger

    tagger = load_tagger(paths, device=settings.device, threads=settings.threads)
    corpora = _read_corpora(settings, tagger.tasks)
    documents = [_read_documents(word, tagger.tasks) for word in settings.documents]
    console = human_console(settings.json_file)
    for _, gold in documents:
        for problem in gold.problems:
            console.print(f"{gold.path}: left out: {problem}", soft_wrap=True)
    from rich.progress import Progress

    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        report = _score(settings, tagger, corpora, documents, bar)
    print_report(report, console)
    if settings.json_file is not None:
        write_json(report_json(report), settings.json_file)
    return 0


def _read_corpora(
    settings: EvaluateSettings, tasks: Sequence[Task]
) -> list[tuple[Task, tuple[Sentence, ...]]]:
    """Return each head to score with its sentences.

    :raises SettingsError: if a corpus has no head in the checkpoint.
    :raises CorpusError: if a corpus is not there or broken, or has labels that the head lacks.
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
        sentences = corpus.sentences(settings.split)
        _require_labels(task, sentences)
        found.append((task, sentences))
    return found


def _require_labels(task: Task, sentences: Sequence[Sentence]) -> None:
    used = {split_tag(tag)[1] for sentence in sentences for tag in sentence.tags} - {""}
    unknown = used - set(task.label_names)
    if unknown:
        raise CorpusError(
            f"the corpus has the labels {', '.join(sorted(unknown))}, which the head "
            f"{task.name!r} lacks; it has {', '.join(task.label_names)}"
        )


def _read_documents(word: str, tasks: Sequence[Task]) -> tuple[Task, GoldFile]:
    head, equals, path = word.partition("=")
    named = bool(equals) and not Path(word).exists()
    gold = read_gold_file(Path(path if named else word))
    return head_for(gold, tasks, head if named else None), gold


def _score(
    settings: EvaluateSettings,
    tagger: "Tagger",
    corpora: Sequence[tuple[Task, tuple[Sentence, ...]]],
    documents: Sequence[tuple[Task, GoldFile]],
    bar: "Progress",
) -> EvaluationReport:
    heads = {}
    for task, sentences in corpora:
        line = bar.add_task(task.name, total=None)
        heads[task.name] = evaluate_head(
            tagger,
            task,
            sentences,
            context=settings.context,
            progress=partial(bar.advance, line),
        )
        bar.update(line, total=1, completed=1)
    files = {}
    for task, gold in documents:
        line = bar.add_task(gold.path.name, total=len(gold.texts))
        files[str(gold.path)] = evaluate_documents(tagger, task, gold, partial(bar.advance, line))
    return EvaluationReport(
        checkpoint=tagger.id,
        split=str(settings.split),
        context=str(settings.context),
        heads=heads,
        documents=files,
    )
