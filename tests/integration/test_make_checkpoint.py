"""`training/make-checkpoint`: the stages of the short recipe on very little data, to the end."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.corpora import write_corpus
from tests.support.root import ROOT
from worker.checkpoint.folder import read_manifest

SCRIPT = ROOT / "training" / "make-checkpoint"
CORPORA = {
    "NCBI-disease-IOBES": ("Disease", "cancer"),
    "BC5CDR-IOBES": ("Chemical", "aspirin"),
    "BC2GM-IOBES": ("GENE", "protein"),
    "JNLPBA": ("protein", "kinase"),
}
STAGES = ("encoder/pretraining.json", "teacher1/manifest.json", "teacher2/manifest.json")
LAST = "checkpoint/manifest.json"


@pytest.fixture
def little(tmp_path: Path) -> Path:
    """A data folder with all corpora and abstracts that the script reads."""
    folder = tmp_path / "data"
    for name, (label, word) in CORPORA.items():
        write_corpus(folder / "corpora" / name, label, word, sentences=4)
    for split in (folder / "corpora" / "JNLPBA").iterdir():  # the one corpus in IOB2
        split.write_text(split.read_text("utf-8").replace("\tS-", "\tB-"), "utf-8")
    (folder / "abstracts").mkdir()
    with gzip.open(folder / "abstracts" / "abstracts.jsonl.gz", "wt", encoding="utf-8") as file:
        for number in range(4):
            record = {"title": f"Trial {number}", "abstract": "Aspirin was given in cancer."}
            file.write(json.dumps(record) + "\n")
    return folder


def make(recipe: str, data: Path, output: Path) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {
        "PUBNER_DATA": str(data),
        "PUBNER_TRAIN_OPTIONS": "--epochs 1 --threads 1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environ.pop("PUBNER_CORPORA", None)
    return subprocess.run(
        [str(SCRIPT), recipe, str(output)],
        env=environ, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip


def test_the_short_recipe_is_made_and_made_again_only_where_something_is_missing(
    little: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    done = make("short", little, output)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"The checkpoint is in {output}/checkpoint" in done.stdout
    manifest = read_manifest(output / "checkpoint")
    assert manifest.recipe["name"] == "short"
    assert [corpus.name for corpus in manifest.corpora] == [
        "ncbi-disease", "bc5cdr", "bc2gm", "jnlpba",
    ]  # fmt: skip
    assert "masked language model" in manifest.encoder_source
    made = {name: (output / name).stat() for name in (*STAGES, LAST)}

    again = make("short", little, output)
    assert again.returncode == 0
    assert again.stdout.splitlines() == done.stdout.splitlines()[-1:], "no stage said anything"
    assert {name: (output / name).stat() for name in made} == made

    shutil.rmtree(output / "checkpoint")
    last = make("short", little, output)
    assert last.returncode == 0, last.stdout + last.stderr
    assert read_manifest(output / "checkpoint").recipe == manifest.recipe
    assert (output / LAST).stat().st_ino != made[LAST].st_ino or (
        (output / LAST).stat().st_mtime_ns != made[LAST].st_mtime_ns
    )
    assert {name: (output / name).stat() for name in STAGES} == {n: made[n] for n in STAGES}


def test_an_unknown_recipe_is_refused_in_one_line(little: Path, tmp_path: Path) -> None:
    refused = make("long", little, tmp_path / "out")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "make-checkpoint: no recipe 'long': expected shipped or short"
    ]
