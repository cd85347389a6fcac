"""Strict scores on corpora, and end to end on raw documents."""

from pathlib import Path

from training.corpora.catalogue import Split
from training.corpora.corpus import open_corpus
from training.evaluation.documents import evaluate_documents, read_gold_file
from training.evaluation.evaluate import evaluate_head
from training.evaluation.predict import Context
from worker.checkpoint.folder import default_checkpoint
from worker.tagger import load_tagger

DOCUMENTS = {
    "ncbi-disease": "NCBIdisease_devel.PubTator",
    "bc5cdr": "BC5CDR_devel.PubTator",
}


def measure_scores(data: Path, *, precision: str = "auto") -> dict[str, float]:
    """Return strict F1 on devel: on the corpus by sentence and by window, and on raw documents."""
    tagger = load_tagger([default_checkpoint()], precision=precision)
    tasks = {task.name: task for task in tagger.tasks}
    out: dict[str, float] = {}
    for head, file in DOCUMENTS.items():
        sentences = open_corpus(data / "corpora", head).sentences(Split.DEVEL)
        for context in (Context.SENTENCE, Context.WINDOW):
            scored = evaluate_head(tagger, tasks[head], sentences, context=context)
            out[f"{head}: corpus devel, {context}"] = scored.strict.overall.f1
        gold = read_gold_file(data / "pubtator" / file)
        end_to_end = evaluate_documents(tagger, tasks[head], gold)
        out[f"{head}: end to end on {file}"] = end_to_end.strict.overall.f1
    return out
