"""Drift end to end: a reference of real findings, an output, and what is said of it."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pubner import cli
from tests.support.annotating import annotate
from tests.support.s3 import S3Server
from worker.checkpoint.folder import read_manifest
from worker.registry.registry import open_registry

LIMITS = ("--min-citations=50", "--min-mentions=50")


def write_citations(path: Path, numbers: range, *, abstract: str = "with TP53 and asthma") -> Path:
    with path.open("w") as stream:
        for number in numbers:
            citation = {
                "pmid": 1 + number,
                "title": f"BRCA{number % 7} and breast cancer in patient {number}",
                "abstract": f"The protein of cell {number % 11} was found in disease, {abstract}.",
            }
            stream.write(json.dumps(citation) + "\n")
    return path


@pytest.fixture(scope="module")
def referenced(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose manifest has a reference, with the id that it had without."""
    folder = tmp_path_factory.mktemp("drift")
    copy = Path(shutil.copytree(checkpoint, folder / "checkpoint"))
    texts = write_citations(folder / "texts.jsonl", range(0, 600, 3))
    words = ["checkpoint", "reference", str(copy), f"--texts={texts}", "--threads=1"]
    assert cli.main(words) == 0
    assert read_manifest(copy).id == read_manifest(checkpoint).id
    return copy


def drift(output: Path, checkpoint: Path, *more: str) -> tuple[int, dict[str, Any]]:
    file = output.parent / f"{output.name}.drift.json"
    words = ["drift", str(output), f"--checkpoint={checkpoint}", f"--json={file}", *LIMITS, *more]
    status = cli.main(words)
    return status, json.loads(file.read_text())


def test_an_output_of_the_same_citations_does_not_drift_and_of_others_it_does(
    referenced: Path, tmp_path: Path
) -> None:
    usual = write_citations(tmp_path / "usual.jsonl", range(1, 600, 3))
    annotate([usual], tmp_path / "usual", referenced)
    status, found = drift(tmp_path / "usual", referenced, "--fail-on-warning")
    assert status == 0
    [one] = found["checkpoints"]
    reference = read_manifest(referenced).reference
    assert reference is not None
    assert one["has_reference"]
    day = one["days"][0]
    assert day["citations"] + sum(d["citations"] for d in one["days"][1:]) == 200
    for head, expected in reference.heads.items():
        assert expected.mentions > 0
        assert abs(day["heads"][head]["change"]) < 0.2

    strange = "\u4e16\u754c " * 40
    other = write_citations(tmp_path / "other.jsonl", range(200), abstract=strange)
    annotate([other], tmp_path / "other", referenced)
    page = tmp_path / "other.html"
    status, found = drift(tmp_path / "other", referenced, "--fail-on-warning", f"--html={page}")
    assert status == 1
    warnings = [w for d in found["checkpoints"][0]["days"] for w in d["warnings"]]
    assert "unknown_pieces" in {warning["kind"] for warning in warnings}
    assert warnings[0]["message"] in page.read_text("utf-8")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server that this process can reach."""
    if shutil.which("go") is None and not os.environ.get("CI"):
        pytest.skip("go is not installed: it is needed to build the S3 server")
    found = S3Server(tmp_path / "s3")
    try:
        found.up()
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found
    finally:
        found.down()


def test_an_output_on_an_object_store_is_read_alike(
    referenced: Path, server: S3Server, tmp_path: Path
) -> None:
    citations = write_citations(tmp_path / "some.jsonl", range(60))
    annotate([citations], tmp_path / "out", referenced)
    root = server.url("out")
    words = ["annotate", str(citations), f"--output={root}", f"--checkpoint={referenced}"]
    assert cli.main([*words, "--threads=1", "--block-size=5"]) == 0
    found = []
    for output in (str(tmp_path / "out"), root):
        file = tmp_path / "drift.json"
        words = ["drift", output, f"--checkpoint={referenced}", f"--json={file}", *LIMITS]
        assert cli.main(words) == 0
        read = json.loads(file.read_text())
        # The two runs may lie on both sides of midnight.
        days = [day for one in read["checkpoints"] for day in one["days"]]
        count = Counter(citations=sum(day["citations"] for day in days))
        for day in days:
            count.update({head: one["mentions"] for head, one in day["heads"].items()})
        found.append(count)
    assert found[0] == found[1]
    assert found[0]["citations"] == 60
    assert found[0]["bc2gm"] > 0
    assert cli.main(["drift", server.url("nothing")]) == 2


def test_the_reference_is_that_of_a_registry_on_an_object_store(
    referenced: Path,
    server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, cache = server.url("registry"), tmp_path / "cache"
    monkeypatch.setenv("PUBNER_REGISTRY", root)
    monkeypatch.setenv("PUBNER_CHECKPOINT_CACHE", str(cache))
    registry = open_registry(root)
    registry.publish(referenced, who="ann", when=datetime(2026, 1, 31, tzinfo=UTC))
    citations = write_citations(tmp_path / "some.jsonl", range(60))
    annotate([citations], tmp_path / "out", referenced)
    made = read_manifest(referenced)
    file = tmp_path / "drift.json"
    words = ["drift", str(tmp_path / "out"), f"--json={file}", *LIMITS]
    for size, fetched in ((0, []), (20, [made.id])):
        assert cli.main([*words, f"--sample={size}"]) == 0
        [one] = json.loads(file.read_text())["checkpoints"]
        assert made.reference is not None
        assert one["reference"] == made.reference.model_dump(mode="json")
        assert {day["sampled_texts"] for day in one["days"]} == {size}
        found = sorted(path.name for path in cache.glob("[!.]*"))
        assert found == fetched
    server.down()
    capsys.readouterr()
    assert cli.main([*words, "--sample=0"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
