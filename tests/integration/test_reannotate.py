"""`pubner reannotate`: what older checkpoints made, annotated again from the stored text."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.blocks.tables import Footer
from pipelines.output.store import DiskStore, open_store
from pipelines.output.writer import SEVERAL, committed_blocks
from pubner import cli
from schemas.records import Annotation
from tests.support.annotating import annotate, article, articles, check_output, pubmed_xml
from tests.support.blocks import all_rows, rows
from tests.support.checkpoints import tiny_checkpoint
from tests.support.commands import start_pubner
from tests.support.s3 import S3Server, download, versions
from tests.support.services import Kafka
from tests.support.streaming import Sender, make_topic
from worker.checkpoint.folder import read_manifest
from worker.tagger import Tagger

DELETION = "<DeleteCitation><PMID Version='1'>77</PMID></DeleteCitation>"


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with the same heads as `checkpoint`, and other weights."""
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "newer", seed=5)


def id_of(checkpoint: Path) -> str:
    return read_manifest(checkpoint).id


def older_than(checkpoint: Path) -> str:
    """Return the condition of what another checkpoint made."""
    return f"checkpoint_id != '{id_of(checkpoint)}'"


def words(output: object, where: str, checkpoint: Path, *options: str) -> list[str]:
    return [
        "reannotate",
        str(output),
        "--where",
        where,
        f"--checkpoint={checkpoint}",
        "--threads=1",
        *options,
    ]


def reannotate(output: Path, where: str, checkpoint: Path, *options: str) -> dict[str, Any]:
    """Annotate again in this process; return the summary."""
    file = output.parent / "reannotated.json"
    assert cli.main(words(output, where, checkpoint, f"--json={file}", *options)) == 0
    summary: dict[str, Any] = json.loads(file.read_text())
    return summary


def footers(output: Path, source: str) -> dict[int, Footer]:
    return committed_blocks(DiskStore(output), source)


def file_times(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*.parquet")
    }


def mixed(path: Path) -> Path:
    """Write a file with everything: texts in sections, one with no text, one deleted, one bad."""
    parts = [*articles(7), article(50, "", ""), "<PubmedArticle/>", article(51, "Title of a gene")]
    structured = article(60, "BRCA1", "x").replace(
        "<AbstractText>x</AbstractText>",
        "<AbstractText Label='AIM'>Cancer α.</AbstractText>"
        "<AbstractText Label='END'>TP53 𝛽.</AbstractText>",
    )
    return pubmed_xml(path, [*parts, structured, DELETION])


def assert_equal(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> None:
    """Check that rows are the same, scores within the accuracy of half precision."""
    for kind, wanted in expected.items():
        assert len(found[kind]) == len(wanted)
        for one, two in zip(found[kind], wanted, strict=True):
            assert {**one, "score": 0} == {**two, "score": 0}
            if kind == "mentions":
                assert one["score"] == pytest.approx(two["score"], abs=0.02)


@pytest.mark.parametrize("options", [(), ("--max-text-chars=30", "--chunk-size=2")])
def test_it_gives_what_annotating_the_source_gives(
    tmp_path: Path, checkpoint: Path, newer: Path, options: Sequence[str]
) -> None:
    source, out = mixed(tmp_path / "a.xml"), tmp_path / "out"
    annotate([source], out, checkpoint, *options)
    before, old = footers(out, "a.xml"), all_rows(out)
    annotate([source], tmp_path / "whole", newer, *options)
    expected = all_rows(tmp_path / "whole")
    assert expected["mentions"] != old["mentions"]
    summary = reannotate(out, older_than(newer), newer, "--chunk-size=2")
    assert_equal(check_output(out), expected)
    assert {row["section"] for row in expected["mentions"]} == {"title", "abstract"}
    assert summary["citations"] == summary["reannotated"] == 11
    assert summary["citations_by_status"] == {"annotated": 9, "deleted": 1, "no_text": 1}
    assert summary["citations_by_checkpoint"] == {id_of(checkpoint): 11}
    assert (summary["failed"], summary["blocks"], summary["blocks_written"]) == (0, 3, 3)
    assert summary["counters"]["citations"] == 11
    after = footers(out, "a.xml")
    assert after.keys() == before.keys()
    for start, footer in footers(tmp_path / "whole", "a.xml").items():
        assert after[start].checkpoint_id == id_of(newer)
        same = ("key", "settings", "input_digest", "records", "complete", "last", "covered")
        assert all(getattr(after[start], x) == getattr(footer, x) for x in same)
        assert after[start].revision != before[start].revision


def test_what_was_annotated_again_is_in_place_for_both_commands(
    tmp_path: Path, checkpoint: Path, newer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = mixed(tmp_path / "a.xml"), tmp_path / "out"
    annotate([source], out, checkpoint)
    reannotate(out, older_than(newer), newer)
    times = file_times(out)
    capsys.readouterr()
    for where in (older_than(newer), "year = 1066", "true"):
        summary = reannotate(out, where, newer)
        assert (summary["citations"], summary["blocks_written"]) == (0, 0)
        assert "Nothing to do" in capsys.readouterr().out
    summary = annotate([source], out, newer)
    assert (summary["citations_annotated_now"], summary["blocks_written_now"]) == (0, 0)
    assert file_times(out) == times


def test_a_dry_run_counts_and_changes_nothing(
    tmp_path: Path, checkpoint: Path, newer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    annotate([mixed(tmp_path / "a.xml")], out, checkpoint)
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    capsys.readouterr()
    summary = reannotate(out, "status = 'annotated' AND pmid < 6", newer, "--dry-run")
    assert (summary["citations"], summary["blocks"], summary["reannotated"]) == (5, 1, 0)
    assert "nothing was changed" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == files


def test_rows_that_do_not_match_stay_as_they_are(
    tmp_path: Path, checkpoint: Path, newer: Path, other_checkpoint: Path
) -> None:
    sources = [mixed(tmp_path / "a.xml"), pubmed_xml(tmp_path / "b.xml", articles(5, first=200))]
    out = tmp_path / "out"
    annotate(sources, out, checkpoint)
    old = {kind: rows(out, kind, ignore=()) for kind in ("mentions", "citations", "dead_letters")}
    annotate(sources, tmp_path / "whole", newer)
    new = all_rows(tmp_path / "whole")
    where = "source = 'a.xml' AND pmid % 2 = 0"
    summary = reannotate(out, where, newer)
    assert summary["citations"] == 5  # 2, 4, 6, 50 and 60
    found = check_output(out)
    chosen = {row["offset"] for row in old["citations"] if row["pmid"] in (2, 4, 6, 50, 60)}

    def is_new(row: dict[str, Any]) -> bool:
        return row["source"] == "a.xml" and row["offset"] in chosen

    for kind in ("mentions", "citations"):
        stayed = [row for row in rows(out, kind, ignore=()) if not is_new(row)]
        assert stayed == [row for row in old[kind] if not is_new(row)]
    assert rows(out, "dead_letters", ignore=()) == old["dead_letters"]
    assert_equal(
        {kind: [row for row in found[kind] if is_new(row)] for kind in ("mentions", "citations")},
        {kind: [row for row in new[kind] if is_new(row)] for kind in ("mentions", "citations")},
    )
    ids = {start: x.checkpoint_id for start, x in footers(out, "a.xml").items()}
    assert ids == {0: SEVERAL, 5: SEVERAL, 10: SEVERAL}
    both = reannotate(out, "true", newer, f"--checkpoint={other_checkpoint}")
    assert both["citations"] == both["reannotated"] == 16
    assert {x.checkpoint_id for x in footers(out, "a.xml").values()} == {both["checkpoint_id"]}
    assert {row["task"] for row in check_output(out)["mentions"]} >= {"jnlpba", "bc2gm"}


def test_blocks_of_several_text_limits_are_done_in_one_run(
    tmp_path: Path, checkpoint: Path, newer: Path
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    sources = [pubmed_xml(tmp_path / f"{x}.xml", articles(6)) for x in "ab"]
    for source, options in zip(sources, (["--max-text-chars=20"], []), strict=True):
        annotate([source], out, checkpoint, *options)
        annotate([source], whole, newer, *options)
    summary = reannotate(out, older_than(newer), newer)
    assert (summary["reannotated"], summary["blocks_written"]) == (12, 4)
    assert_equal(check_output(out), all_rows(whole))
    assert [row["truncated"] for row in rows(out, "citations")] == 6 * [True] + 6 * [False]


def test_citations_without_their_text_are_refused_before_anything_is_changed(
    tmp_path: Path, checkpoint: Path, newer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    annotate([mixed(tmp_path / "a.xml")], out, checkpoint)
    annotate([pubmed_xml(tmp_path / "b.xml", articles(3))], out, checkpoint, "--no-store-text")
    times = file_times(out)
    capsys.readouterr()
    assert cli.main(words(out, older_than(newer), newer)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "3 of 14 citations that match have no stored text" in said.err
    assert "annotate their source again" in said.err
    assert file_times(out) == times
    assert reannotate(out, older_than(newer), newer, "--dry-run")["without_text"] == 3
    with_text = f"{older_than(newer)} AND (text IS NOT NULL OR status != 'annotated')"
    assert reannotate(out, with_text, newer)["reannotated"] == 11
    assert {row["checkpoint_id"] for row in rows(out, "citations") if row["source"] == "b.xml"} == {
        id_of(checkpoint)
    }


def test_a_citation_that_fails_keeps_its_row_and_is_counted(
    tmp_path: Path,
    checkpoint: Path,
    newer: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    annotate([pubmed_xml(tmp_path / "a.xml", articles(7))], out, checkpoint)
    old = all_rows(out)
    honest = Tagger.annotate

    def failing(self: Tagger, texts: Sequence[str]) -> list[Annotation]:
        if any("patient 3" in text for text in texts):
            raise RuntimeError("no room")
        return honest(self, texts)

    monkeypatch.setattr(Tagger, "annotate", failing)
    capsys.readouterr()
    summary = reannotate(out, older_than(newer), newer)
    assert (summary["reannotated"], summary["failed"]) == (6, 1)
    assert "still match and keep their rows" in capsys.readouterr().out
    found = check_output(out)
    assert found["dead_letters"] == []
    for kind in ("citations", "mentions"):
        kept = [row for row in found[kind] if row["pmid"] == 3]
        assert kept == [row for row in old[kind] if row["pmid"] == 3] != []
    assert {x.checkpoint_id for x in footers(out, "a.xml").values()} == {SEVERAL, id_of(newer)}
    monkeypatch.setattr(Tagger, "annotate", honest)
    again = reannotate(out, older_than(newer), newer)
    assert (again["citations"], again["reannotated"], again["blocks_written"]) == (1, 1, 1)
    annotate([tmp_path / "a.xml"], tmp_path / "whole", newer)
    assert_equal(check_output(out), all_rows(tmp_path / "whole"))


def test_a_run_that_is_stopped_or_killed_goes_on(
    tmp_path: Path, checkpoint: Path, newer: Path
) -> None:
    source, out = pubmed_xml(tmp_path / "a.xml", articles(75)), tmp_path / "out"
    annotate([source], out, checkpoint, "--block-size=3")
    command = words(out, older_than(newer), newer, "--chunk-size=1")

    def left() -> int:
        found = footers(out, "a.xml").values()
        return sum(footer.checkpoint_id != id_of(newer) for footer in found)

    def written(since: dict[str, int]) -> int:
        return len(file_times(out / "citations").items() - since.items())

    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        before, times = left(), file_times(out / "citations")
        running = start_pubner(tmp_path / "log", *command)
        while running.is_alive and written(times) < 2:
            time.sleep(0.01)
        running.send(number)
        stopped = running.finish()
        assert stopped.code == code, stopped.err
        DiskStore(out).recover()
        assert 0 < left() < before
    assert "the same command resumes from there" in stopped.lines[-1]
    expected = 3 * left()
    summary = reannotate(out, older_than(newer), newer)
    assert summary["citations"] == summary["reannotated"] == expected
    annotate([source], tmp_path / "whole", newer, "--block-size=3")
    assert_equal(check_output(out), all_rows(tmp_path / "whole"))


def test_what_is_wrong_is_one_line_before_anything_runs(
    tmp_path: Path, checkpoint: Path, newer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    annotate([pubmed_xml(tmp_path / "a.xml", articles(3))], out, checkpoint)
    times = file_times(out)

    def complain(*command: str) -> str:
        capsys.readouterr()
        assert cli.main(command) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1, said.err
        return said.err

    assert 'column "chekpoint"' in complain(*words(out, "chekpoint = 1", newer))
    assert "one SQL condition" in complain(*words(out, "true; DROP TABLE x", newer))
    reaching = f"EXISTS (SELECT * FROM read_text('{tmp_path / 'a.xml'}'))"
    assert "disabled by configuration" in complain(*words(out, reaching, newer))
    assert "Could not convert" in complain(*words(out, "CAST(text AS INT) = 1", newer))
    assert "missing required option --where" in complain("reannotate", str(out))
    assert "missing argument OUTPUT" in complain("reannotate", "--where=true")
    assert "not a pubner output" in complain(*words(tmp_path / "none", "true", newer))
    assert not (tmp_path / "none").exists()
    assert "no-such" in complain(*words(out, "true", tmp_path / "no-such"))
    assert "unknown runner" in complain(*words(out, "true", newer, "--runner=Nobody"))
    for option in ("--block-size=5", "--no-store-text", "--format=jsonl"):
        assert "unknown option" in complain(*words(out, "true", newer, option))
    (out / "mentions" / "a.xml-0-000000000000.parquet").unlink()
    assert "do not belong together" in complain(*words(out, "true", newer))
    del times["mentions/a.xml-0-000000000000.parquet"]
    assert file_times(out) == times


def test_prism_gives_the_same(tmp_path: Path, checkpoint: Path, newer: Path, prism: str) -> None:
    source, out = mixed(tmp_path / "a.xml"), tmp_path / "out"
    annotate([source], out, checkpoint)
    annotate([source], tmp_path / "whole", newer)
    options = ["--runner=PrismRunner", "--", f"--prism_location={prism}"]
    assert reannotate(out, older_than(newer), newer, *options)["reannotated"] == 11
    assert_equal(check_output(out), all_rows(tmp_path / "whole"))


def test_a_stream_goes_on_in_blocks_that_were_annotated_again(
    kafka: Kafka, tmp_path: Path, checkpoint: Path, newer: Path
) -> None:
    topic = "reannotated"
    make_topic(kafka.bootstrap, topic, 1)
    sender = Sender(kafka.bootstrap)
    out = tmp_path / "out"

    def stream(model: Path, group: str = "first", folder: Path = out) -> None:
        options = [f"--brokers={kafka.bootstrap}", f"--topic={topic}", f"--group={topic}-{group}"]
        options += [f"--output={folder}", f"--checkpoint={model}", "--threads=1"]
        assert cli.main(["stream", *options, "--block-size=40", "--until-caught-up"]) == 0

    sender.send(topic, 60, partitions=[0])
    stream(checkpoint)
    before, dead_letters = footers(out, topic), rows(out, "dead_letters", ignore=())
    count = len(rows(out, "citations"))
    summary = reannotate(out, older_than(newer), newer)
    assert summary["citations"] == summary["reannotated"] == count
    after = footers(out, topic)
    assert {x: f.covered for x, f in after.items()} == {x: f.covered for x, f in before.items()}
    assert all(footer.covered for footer in after.values())
    assert rows(out, "dead_letters", ignore=()) == dead_letters
    sender.send(topic, 60, partitions=[0])
    stream(newer)
    assert {x.checkpoint_id for x in footers(out, topic).values()} == {id_of(newer)}
    found = all_rows(out)
    assert len(found["citations"]) + len(found["dead_letters"]) == len(sender.ledger)
    stream(newer, "second", tmp_path / "whole")
    assert_equal(found, all_rows(tmp_path / "whole"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server."""
    if shutil.which("go") is None and not os.environ.get("CI"):
        pytest.skip("go is not installed: it is needed to build the S3 server")
    found = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        found.up()
        yield found
    finally:
        found.down()


def test_an_output_in_an_object_store(
    tmp_path: Path,
    checkpoint: Path,
    newer: Path,
    server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    root = server.url("reannotated/out")
    source = mixed(tmp_path / "a.xml")
    annotating = ["annotate", str(source), f"--output={root}", "--threads=1", "--block-size=5"]
    assert cli.main([*annotating, f"--checkpoint={checkpoint}"]) == 0
    assert cli.main(words(root, older_than(newer), newer)) == 0
    annotate([source], tmp_path / "whole", newer)
    assert_equal(check_output(download(root, tmp_path / "s3")), all_rows(tmp_path / "whole"))
    ids = {x.checkpoint_id for x in committed_blocks(open_store(root), "a.xml").values()}
    assert ids == {id_of(newer)}
    before = versions(root)
    assert cli.main(words(root, older_than(newer), newer)) == 0
    assert cli.main([*annotating, f"--checkpoint={newer}"]) == 0
    assert versions(root) == before
