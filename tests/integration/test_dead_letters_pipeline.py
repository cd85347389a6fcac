"""`pubner dead-letters replay --pipeline`: dead letters become citations in their place."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.commands import dead_letters as dead_letters_command
from pipelines.output.manifest import open_existing, open_output
from pipelines.output.writer import committed_blocks
from schemas.errors import OutputError, RecordError
from tests.support.annotating import annotate, article, articles, check_output, pubmed_xml
from tests.support.blocks import all_rows, hidden_files, rows
from tests.support.dead_letters import dead_letter, run_dead_letters, write_dead_letters
from tests.support.replaying import MENDED, break_json, fresh, good, replay, send, stream
from tests.support.services import Kafka
from worker.readers import pubmed_xml as xml_reader
from worker.tagger import Tagger


def break_xml(patch: pytest.MonkeyPatch) -> None:
    """Make the parser of PubMed XML refuse one in three."""
    identity = xml_reader._identity

    def broken(element: Any) -> tuple[int, int]:
        pmid, version = identity(element)
        if pmid % 3 == 0:
            raise RecordError("a bug of pubner")
        return pmid, version

    patch.setattr(xml_reader, "_identity", broken)


def break_tagger(patch: pytest.MonkeyPatch) -> None:
    """Make the tagger fail on some texts."""
    tag = Tagger.annotate

    def broken(self: Tagger, texts: Sequence[str]) -> Any:
        if any(re.search(r"patient \d*4\b", text) for text in texts):
            raise ValueError("a bug of pubner")
        return tag(self, texts)

    patch.setattr(Tagger, "annotate", broken)


def test_letters_of_a_file_become_citations_in_their_place(
    tmp_path: Path, checkpoint: Path, other_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pubmed_xml(tmp_path / "a.xml", [*articles(12), article("none"), *articles(3, 13)])
    out, clean = tmp_path / "out", tmp_path / "clean"
    with monkeypatch.context() as broken:
        break_xml(broken)
        break_tagger(broken)
        summary = annotate([source], out, checkpoint, "--max-text-chars=60")
    assert summary["dead_letters_by_stage"] == {"annotate": 2, "parse": 6}
    words = ["--pipeline", f"--checkpoint={checkpoint}", "--threads=1"]
    first = run_dead_letters("replay", out, *words, "--position=a.xml/0/3,a.xml/0/2")
    assert (first["letters"], first["annotated"], first["failing"]) == (2, 2, 0)
    found = run_dead_letters("replay", out, *words)
    assert (found["letters"], found["annotated"], found["failing"]) == (6, 5, 1)
    assert found["failing_by_stage"] == {"parse": 1}
    check_output(out)
    annotate([source], clean, checkpoint, "--max-text-chars=60")
    assert all_rows(out) == all_rows(clean)

    before = footers(out)
    again = run_dead_letters("replay", out, *words)
    assert (again["letters"], again["annotated"], again["blocks_written"]) == (1, 0, 0)
    resumed = annotate([source], out, checkpoint, "--max-text-chars=60")
    assert resumed["blocks_written_now"] == 0
    assert footers(out) == before
    assert footers(clean) == before
    annotate([source], out, other_checkpoint)
    annotate([source], clean, other_checkpoint)
    assert all_rows(out) == all_rows(clean)


def footers(root: Path) -> dict[int, Any]:
    """Return the blocks' footers without revisions, into which the time of annotation goes."""
    found = committed_blocks(open_existing(str(root)), "a.xml")
    return {
        start: (x.settings, x.checkpoint_id, x.records, x.last, x.complete, x.covered)
        for start, x in found.items()
    }


def test_letters_of_a_topic_become_citations_in_their_place(
    tmp_path: Path, kafka: Kafka, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, out = fresh(kafka, "letters-pipeline"), tmp_path / "out"
    bad = (b"8", b"{")
    send(kafka, topic, [(b"%d" % x, good(x)) for x in range(1, 8)] + [bad, (b"9", None)])
    with monkeypatch.context() as broken:
        break_json(broken, 7)
        stream(kafka, topic, out, checkpoint)
    before = rows(out, "citations", ignore=())
    assert [x["offset"] for x in rows(out, "dead_letters")] == [6, 7]
    words = ["--pipeline", f"--checkpoint={checkpoint}", "--threads=1"]
    with monkeypatch.context() as broken:
        break_json(broken, 7)
        break_tagger(broken)
        assert run_dead_letters("replay", out, *words)["blocks_written"] == 0
    with monkeypatch.context() as broken:
        broken.setattr(Tagger, "annotate", lambda self, texts: 1 / 0)
        found = run_dead_letters("replay", out, *words)
        assert found["failing_by_stage"] == {"annotate": 1, "parse": 1}
    [still, _] = rows(out, "dead_letters")
    assert (still["stage"], still["error_type"]) == ("annotate", "ZeroDivisionError")
    assert (still["key"], still["payload"]) == (b"7", good(7))
    assert still["headers"] == [("trace", b"\x01")]

    found = run_dead_letters("replay", out, *words)
    assert (found["annotated"], found["failing_by_stage"]) == (1, {"parse": 1})
    check_output(out)
    after = rows(out, "citations", ignore=())
    assert [x for x in after if x["offset"] != 6] == before
    assert [(x["offset"], x["pmid"]) for x in after][6] == (6, 7)
    assert stream(kafka, topic, out, checkpoint)["parts_written"] == 0


def test_what_was_sent_to_a_topic_is_not_annotated_as_well(
    tmp_path: Path, kafka: Kafka, checkpoint: Path
) -> None:
    topic = fresh(kafka, "letters-both")
    write_dead_letters(tmp_path / "out", [dead_letter(1, MENDED)])
    replay(kafka, tmp_path / "out", topic)
    words = ["--pipeline", f"--checkpoint={checkpoint}", "--threads=1"]
    found = run_dead_letters("replay", tmp_path / "out", *words)
    assert (found["letters"], found["sent_before"], found["annotated"]) == (1, 1, 0)
    assert run_dead_letters("replay", tmp_path / "out", *words, "--again")["annotated"] == 1


def test_what_the_pipeline_refuses_before_it_writes(
    tmp_path: Path,
    checkpoint: Path,
    other_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = pubmed_xml(tmp_path / "a.xml", articles(6))
    out = tmp_path / "out"
    with monkeypatch.context() as broken:
        break_xml(broken)
        annotate([source], out, checkpoint)
    before = all_rows(out)

    def refused(*words: str) -> str:
        with pytest.raises(OutputError) as raised:
            dead_letters_command.replay([str(out), "--pipeline", "--threads=1", *words])
        return str(raised.value)

    assert "was annotated with checkpoint" in refused(f"--checkpoint={other_checkpoint}")
    with open_output(str(out), block_size=5):
        assert "another run is writing" in refused(f"--checkpoint={checkpoint}")
    assert all_rows(out) == before
    assert hidden_files(out) == []


def test_an_output_without_letters(tmp_path: Path, checkpoint: Path) -> None:
    source = pubmed_xml(tmp_path / "a.xml", articles(2))
    annotate([source], tmp_path / "out", checkpoint)
    assert run_dead_letters("list", tmp_path / "out")["total"] == 0
    words = ["--pipeline", f"--checkpoint={checkpoint}"]
    assert run_dead_letters("replay", tmp_path / "out", *words)["letters"] == 0
