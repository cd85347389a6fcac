"""No locale, and no output that cannot be written, ends a command with a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.registries import move, publish
from tests.support.root import ROOT
from worker.registry.registry import open_registry

NOT_UTF8 = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1"},
}
GREEK = "TNF-\u03b1 and IL-1\u03b2 rose after ozone \u2265 80 ppb"
_PROGRAM = """
import json, sys
from pubner import cli
codes = []
for words in json.load(sys.stdin):
    print(f"## {' '.join(words[:2])}", flush=True)
    codes.append(cli.main(words))
print(codes, file=sys.stderr)
"""


def run_all(
    lines: Sequence[Sequence[object]], folder: Path, environment: dict[str, str]
) -> tuple[list[int], str, str]:
    """Run commands one after the other in one process; return exit codes, output and errors."""
    kept = {name: x for name, x in os.environ.items() if not name.startswith(("PUBNER_", "LC_"))}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        input=json.dumps([[str(word) for word in words] for words in lines]).encode(),
        capture_output=True,
        timeout=500,
        check=False,
    )
    out, err = done.stdout.decode("latin-1"), done.stderr.decode("latin-1")
    assert done.returncode == 0, err
    codes: list[int] = json.loads(err.splitlines()[-1])
    return codes, out, err


@pytest.fixture(scope="module")
def greek(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an input, a registry and a corpus whose texts are Greek in part."""
    folder = tmp_path_factory.mktemp("greek")
    citation = {"pmid": 1, "title": GREEK, "abstract": f"{GREEK}. \U0001f600"}
    lines = [json.dumps(citation, ensure_ascii=False), f"no JSON, {GREEK}"]
    (folder / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    corpus = folder / "corpora" / "own"
    corpus.mkdir(parents=True)
    for split in ("train", "devel", "test"):
        rows = ["TNF-\u03b1\tB-Gene", "rose\tO", "", "\u03b2\tI-Gen\u03b5"]
        (corpus / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    registry = open_registry(str(folder / "registry"))
    move(registry, publish(registry, folder))
    pointer = folder / "registry" / "active.json"
    text = json.loads(pointer.read_text("utf-8"))
    text["changes"][0]["why"] = GREEK
    pointer.write_text(json.dumps(text, ensure_ascii=False), encoding="utf-8")
    return folder


@pytest.mark.parametrize("locale", NOT_UTF8)
def test_no_command_ends_with_a_traceback(locale: str, greek: Path, checkpoint: Path) -> None:
    out = greek / f"out-{locale}"
    lines: list[tuple[list[object], int]] = [
        (["annotate", greek / "in.jsonl", f"--output={out}", f"--checkpoint={checkpoint}"], 0),
        (["dead-letters", "list", out], 0),
        (["dead-letters", "list", out, "--json=-"], 0),
        (["dead-letters", "show", out, "in.jsonl/0/1"], 0),
        (["reannotate", out, "--where=text LIKE '%\u03b1%'", "--dry-run"], 0),
        (["drift", out, "--sample=0"], 0),
        (["checkpoint", "show", checkpoint], 0),
        (["checkpoint", "history", f"--registry={greek / 'registry'}"], 0),
        (["checkpoint", "list", f"--registry={greek / 'registry'}"], 0),
        (["corpora", "check", f"--data={greek / 'corpora'}", "--corpus=own"], 1),
        (["evaluate", checkpoint, f"--data={greek / 'corpora'}", "--corpus=own"], 2),
        (["checkpoint", "show", "\u03b1"], 2),
    ]
    codes, shown, errors = run_all([words for words, _ in lines], greek, NOT_UTF8[locale])
    assert "Traceback" not in shown + errors
    assert codes == [code for _, code in lines], errors
    assert "\\u03b1" in shown
    # JSON is JSON in any locale.
    listed = shown.split("## dead-letters list")[2].split("## ")[0]
    assert json.loads(listed)["letters"][0]["offset"] == 1


LIST = ["checkpoint", "list", "--registry=registry"]
HISTORY_JSON = ["checkpoint", "history", "--registry=registry", "--json=-"]
HELP = ["annotate", "--help"]


@pytest.mark.parametrize("words", [LIST, HISTORY_JSON, HELP, ["--help"]])
def test_a_full_disk_behind_standard_output_is_one_line(words: list[str], greek: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = command(words, greek, stdout=full.fileno())
    assert done.returncode == 2
    assert done.stderr.startswith(b"pubner: cannot write to standard output: No space left")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words", [LIST, HISTORY_JSON, HELP, ["--help"]])
def test_an_output_that_nobody_reads_any_more_is_no_error(words: list[str], greek: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = command(words, greek, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("words", [LIST, HELP])
def test_closed_streams_are_no_error(words: list[str], greek: Path) -> None:
    shell = ["sh", "-c", 'exec "$0" "$@" >&- 2>&-', sys.executable, "-m", "pubner", *words]
    done = subprocess.run(shell, cwd=greek, env=plain(), timeout=120, check=False)
    assert done.returncode == 0


def command(words: list[str], folder: Path, *, stdout: int) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "pubner", *words],
        cwd=folder,
        env=plain(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )


def plain() -> dict[str, str]:
    kept = {name: x for name, x in os.environ.items() if not name.startswith("PUBNER_")}
    return {**kept, "PYTHONPATH": str(ROOT)}
