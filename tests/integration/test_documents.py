"""The code that stands in README and docs: run as it stands, or its options read."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import need
from tests.support.documents import (
    Block,
    blocks,
    commands,
    documents,
    exception_for,
    exceptions,
    parse_command,
    script,
)
from tests.support.root import ROOT

LONG = "PUBNER_LONG_DOCUMENTS"
_SECONDS = 550
_PYTHON = {"python": "python -"}
_SHELL = [block for block in blocks() if block.language == "sh"]


def test_the_documents_are_found() -> None:
    assert {"README.md", "deploy/README.md", "training/README.md"} <= set(documents())
    assert len(_SHELL) > 20


def test_every_block_that_is_not_run_is_listed_once_with_a_reason() -> None:
    listed = [(x.document, x.begins) for x in exceptions()]
    assert len(set(listed)) == len(listed)
    known = {(block.document, block.begins) for block in blocks()}
    assert [entry for entry in listed if entry not in known] == []
    assert all(x.reason and x.how in ("long", "parse") for x in exceptions())


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the files that the documents speak of are there."""
    (tmp_path / "registry").mkdir()
    for output in ("out", "live"):
        (tmp_path / output).mkdir()
        (tmp_path / output / "pubner.json").write_text("{}", "utf-8")
    for file in ("my.xml.gz", "abstracts.jsonl.gz", "sample.jsonl.gz", "recent.xml.gz"):
        (tmp_path / file).write_bytes(b"")
    for name in ("PUBNER_REGISTRY", "PUBNER_BROKERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", _SHELL, ids=lambda block: block.place)
def test_options_in_the_documents_are_read(
    block: Block, named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in commands(block.text):
        if words[0] == "export":
            monkeypatch.setenv(*words[1].split("=", 1))
    monkeypatch.setenv("PUBNER_REGISTRY", os.environ.get("PUBNER_REGISTRY", "registry"))
    monkeypatch.setenv("PUBNER_BROKERS", "127.0.0.1:9092")
    for words in commands(block.text):
        if words[0] == "pubner":
            parse_command(words[1:], monkeypatch)
        elif words[0] == "make":
            targets = [word for word in words[1:] if "=" not in word]
            made = (ROOT / "Makefile").read_text("utf-8")
            assert all(f"\n{target}:" in made for target in targets), block.place
        elif words[0].startswith(("deploy/", "training/")):
            assert os.access(ROOT / words[0], os.X_OK), f"{block.place}: {words[0]}"


@pytest.fixture
def tour(tmp_path: Path, data: Path) -> Iterator[Path]:
    """A folder like a fresh clone's, with a few files of the baseline and updates."""
    (ROOT / ".cache").mkdir(exist_ok=True)
    for name in ("deploy", "schemas", "training", "pipelines", ".cache"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    baseline = tmp_path / "pubmed" / "baseline"
    baseline.mkdir(parents=True)
    for file in sorted((data / "pubmed" / "baseline").glob("pubmed26n*")):
        shutil.copy(file, baseline)
    yield tmp_path
    for service in ("kafka", "flink"):
        subprocess.run(
            [ROOT / "deploy" / "local" / service, "down"],
            env=environment(tmp_path),
            capture_output=True,
            check=False,
        )


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PUBNER_")}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PUBNER_LOCAL": str(folder / "services"),
        "PUBNER_CORPORA": str(Path(os.environ["PUBNER_DATA"]) / "corpora"),
    }


def run_blocks(found: list[Block], folder: Path) -> None:
    """Run blocks in turn in one shell, as a reader does; say which one failed."""
    done = subprocess.run(
        ["bash"],
        input=script(found, _PYTHON),
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize("document", documents())
def test_code_in_the_documents_runs_as_it_stands(
    document: str, tour: Path, request: pytest.FixtureRequest
) -> None:
    long = bool(os.environ.get(LONG))
    found = [
        block
        for block in blocks()
        if block.document == document
        and ((listed := exception_for(block)) is None or (long and listed.how == "long"))
    ]
    if not found:
        pytest.skip(f"every block of {document} is listed in tests/documents with a reason")
    if any("deploy/local/" in block.text for block in found):
        need("java", "mvn")
    run_blocks(found, tour)
