"""Small dictionary checkpoints, written by hand."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from schemas.tasks import TASKS
from worker.checkpoint.folder import DICTIONARY, write_manifest
from worker.dictionary.normalisation import Normaliser, Rules

Known = Mapping[str, Mapping[str, Sequence[float] | float]]
"""By label and mention, the probability in any letter case, or the four of each."""


def head_content(
    entries: Known, patterns: Known | None = None, *, whole_words: bool = False
) -> dict[str, Any]:
    """Return one head of `dictionary.json`; entries are given as mentions, patterns as keys."""
    normaliser = Normaliser(Rules())
    return {
        "whole_words": whole_words,
        "entries": {
            label: {normaliser.key(mention): _four(value) for mention, value in known.items()}
            for label, known in entries.items()
        },
        "patterns": {
            label: {key: _four(value) for key, value in (patterns or {}).get(label, {}).items()}
            for label in entries
        },
    }


def write_dictionary(
    folder: Path, heads: Mapping[str, Mapping[str, Any]], *, reading: str | None = None
) -> Path:
    """Write a dictionary checkpoint with `heads`, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"format_version": 1, "rules": asdict(Rules()), "heads": heads}
    (folder / DICTIONARY).write_text(json.dumps(content), "utf-8")
    write_manifest(
        folder,
        kind="dictionary",
        files=(DICTIONARY,),
        tasks=[TASKS[name] for name in heads],
        letter_case=False,
        max_pieces=0,
        recipe={},
        encoder_source="",
        corpora=(),
        metrics={},
        versions={},
        reading=reading,
    )
    return folder


def _four(value: Sequence[float] | float) -> list[float]:
    return [value] * 4 if isinstance(value, float) else list(value)
