"""Training and export of a dictionary checkpoint: learn, tune on devel, score, write."""

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from schemas.manifest import CheckpointManifest
from schemas.tasks import Task
from training.corpora.spans import spans_of
from training.dictionary.learning import learn, read_sentences
from training.dictionary.stop_list import Choice, Values, choose, kept
from training.evaluation.predict import Context, predict
from training.evaluation.strict import strict_score
from training.finetune.run import LoadedCorpus
from training.finetune.scoring import DevelSet
from worker.checkpoint.folder import DICTIONARY, write_manifest
from worker.dictionary.normalisation import Normaliser, Rules
from worker.dictionary.tagger import KIND, DictionaryTagger, Head, make_table
from worker.tagger import Tagger
from worker.text.reading_table import NEWEST, reading_of


@dataclass(frozen=True, slots=True, eq=False)
class LearnedHead:
    """One head of a dictionary: its entries, the thresholds chosen on devel, and its devel F1.

    `stopped` is the size of the stop-list, in entries and patterns.
    """

    task: Task
    entries: Values
    patterns: Values
    stopped: int
    choice: Choice
    devel_f1: float


def learn_head(corpus: LoadedCorpus, rules: Rules) -> LearnedHead:
    """Learn a head from the training split of `corpus`, with thresholds chosen on devel."""
    task, normaliser = corpus.task, Normaliser(rules, reading_of(NEWEST))
    learned = learn(read_sentences(corpus.train, normaliser), task, normaliser)
    devel = read_sentences(corpus.devel.sentences, normaliser)
    choice = choose(devel, task, learned, normaliser)
    entries, patterns = kept(task, learned, choice)
    matched = sum(any(values) for part in (entries, patterns) for values in _all(part))
    known = sum(len(keys) for part in (learned.entries, learned.patterns) for keys in part.values())
    head = Head(
        task,
        make_table(task, entries, normaliser),
        make_table(task, patterns, normaliser),
        choice.whole_words,
    )
    tagger = Tagger([DictionaryTagger("in training", normaliser, [head])])
    return LearnedHead(
        task, entries, patterns, known - matched, choice, _devel_f1(tagger, corpus.devel)
    )


def _all(values: Values) -> list[tuple[float, ...]]:
    return [value for keys in values.values() for value in keys.values()]


def _devel_f1(tagger: Tagger, devel: DevelSet) -> float:
    found = predict(tagger, devel.task.name, devel.sentences, Context.SENTENCE)
    gold = [spans_of(sentence) for sentence in devel.sentences]
    return strict_score(gold, found, devel.task.label_names).overall.f1


def train_dictionary(
    folder: Path,
    corpora: Sequence[LoadedCorpus],
    rules: Rules,
    log: Callable[[str], None] = lambda _: None,
) -> tuple[CheckpointManifest, list[LearnedHead]]:
    """Train a dictionary checkpoint into `folder`, one head per corpus, each logged.

    The output is deterministic: the same corpora and rules give the same bytes.
    """
    heads = []
    for corpus in corpora:
        head = learn_head(corpus, rules)
        heads.append(head)
        log(
            f"{head.task.name}: {sum(map(len, head.entries.values())):,} entries, "
            f"{sum(map(len, head.patterns.values())):,} patterns, {head.stopped:,} stopped; "
            f"devel strict F1 {head.devel_f1:.4f}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "format_version": 1,
        "rules": asdict(rules),
        "heads": {
            head.task.name: {
                "whole_words": head.choice.whole_words,
                "entries": head.entries,
                "patterns": head.patterns,
            }
            for head in heads
        },
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    (folder / DICTIONARY).write_text(text + "\n", "utf-8")
    manifest = write_manifest(
        folder,
        kind=KIND,
        files=(DICTIONARY,),
        tasks=[head.task for head in heads],
        letter_case=False,
        max_pieces=0,
        recipe=_recipe(rules, heads),
        encoder_source="",
        corpora=[corpus.entry for corpus in corpora],
        metrics={
            f"devel/{head.task.name}": {"strict_f1": round(head.devel_f1, 4)} for head in heads
        },
        versions={"pubner": version("pubner"), "unicode": unicodedata.unidata_version},
        reading=NEWEST,
    )
    return manifest, heads


def _recipe(rules: Rules, heads: Sequence[LearnedHead]) -> Mapping[str, Any]:
    """Return the rules, and the values chosen on devel for each head and label."""
    recipe: dict[str, Any] = {"name": "dictionary", **asdict(rules)}
    for head in heads:
        name = head.task.name
        recipe[f"min_count/{name}"] = head.choice.min_count
        recipe[f"whole_words/{name}"] = head.choice.whole_words
        recipe[f"stopped/{name}"] = head.stopped
        for label in head.task.label_names:
            recipe[f"threshold/{name}/{label}"] = head.choice.thresholds[label]
    return recipe
