"""Commands with a line of progress: on a terminal, narrow and wide, and without one."""

import json
import re
import signal
import time
from pathlib import Path

import pytest

from tests.support.annotating import annotate, articles, check_output, pubmed_xml
from tests.support.commands import run_pubner, start_pubner
from tests.support.replaying import fresh, send, stream
from tests.support.services import Kafka
from tests.support.terminal import OnTerminal, start_on_terminal

WIDTHS = [40, 120]
CITATIONS = 200


def check_drawn(done: OnTerminal, columns: int, *tasks: str) -> None:
    """Check that a command that ended well drew `tasks`, each line within the terminal."""
    assert done.finish() == 0, done.shown
    assert "Traceback" not in done.shown
    for task in tasks:
        assert any(part.startswith(task) for part in done.drawn), (task, done.shown)
    progress = [part for part in done.drawn if part.startswith(tasks)]
    assert max(len(part) for part in progress) <= columns


def words_for(source: Path, out: Path, checkpoint: Path) -> list[str]:
    return [
        "annotate",
        str(source),
        f"--output={out}",
        f"--checkpoint={checkpoint}",
        "--threads=1",
        "--block-size=20",
        "--chunk-size=1",
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return pubmed_xml(tmp_path / "a.xml", articles(CITATIONS))


@pytest.mark.parametrize("columns", WIDTHS)
def test_annotate_and_reannotate(
    tmp_path: Path, source: Path, checkpoint: Path, other_checkpoint: Path, columns: int
) -> None:
    out = tmp_path / "out"
    done = start_on_terminal(words_for(source, out, checkpoint), columns=columns)
    check_drawn(done, columns, "loading the model", "annotating")
    counts = re.findall(r"annotating\S* .*?([0-9,]+)(?: of (?:about )?|/)([0-9,]+)", done.shown)
    assert counts, done.shown
    check_output(out)
    again = start_on_terminal(
        [
            "reannotate",
            str(out),
            "--where=true",
            f"--checkpoint={other_checkpoint}",
            "--threads=1",
            "--chunk-size=1",
        ],
        columns=columns,
    )
    check_drawn(again, columns, "loading the model", "annotating")
    assert re.search(rf"\b(of |/){CITATIONS}\b", again.shown)


@pytest.mark.parametrize("columns", WIDTHS)
def test_dead_letters_through_the_pipeline_and_drift(
    tmp_path: Path, checkpoint: Path, columns: int
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("broken\n" * 20 + '{"pmid": 1, "title": "Asthma", "abstract": ""}\n')
    out = tmp_path / "out"
    annotate([path], out, checkpoint)
    words = ["dead-letters", "replay", str(out), "--pipeline", f"--checkpoint={checkpoint}"]
    check_drawn(start_on_terminal(words, columns=columns), columns, "starting")
    page = tmp_path / "drift.html"
    drift = ["drift", str(out), f"--checkpoint={checkpoint}", "--min-citations=1"]
    done = start_on_terminal([*drift, f"--html={page}"], columns=columns)
    assert done.finish() == 0, done.shown
    assert "Traceback" not in done.shown
    table = [line for line in done.lines if line.startswith("  ")]
    assert max(map(len, table)) <= columns, done.shown
    assert "PSI" in done.text
    assert "\\n" not in done.text
    assert page.exists()


@pytest.mark.parametrize("columns", WIDTHS)
def test_feed_and_replay_to_a_topic(tmp_path: Path, kafka: Kafka, columns: int) -> None:
    path = tmp_path / "a.jsonl"
    lines = [
        json.dumps({"pmid": 1 + number, "title": "Asthma", "abstract": ""})
        for number in range(3000)
    ]
    path.write_text("\n".join(lines))
    topic = f"terminal-{columns}"
    words = [
        "feed",
        str(path),
        f"--brokers={kafka.bootstrap}",
        f"--topic={topic}",
        "--create-topic",
        f"--dead-letters={tmp_path / 'letters'}",
    ]
    done = start_on_terminal(words, columns=columns)
    check_drawn(done, columns, "loading the libraries", "connecting to the broker")


@pytest.mark.parametrize("columns", WIDTHS)
def test_dead_letters_to_a_topic(
    tmp_path: Path, kafka: Kafka, checkpoint: Path, columns: int
) -> None:
    read = fresh(kafka, f"terminal-broken-{columns}")
    send(kafka, read, [(b"1", b"broken")] * 20)
    out = tmp_path / "out"
    stream(kafka, read, out, checkpoint)
    topic = fresh(kafka, f"terminal-letters-{columns}")
    words = ["dead-letters", "replay", str(out), f"--topic={topic}", f"--brokers={kafka.bootstrap}"]
    done = start_on_terminal(words, columns=columns)
    check_drawn(done, columns, "starting")
    again = start_on_terminal(words, columns=columns)
    check_drawn(again, columns, "starting")
    sent = [re.search(r"sent before +(\d+)", text) for text in (done.text, again.text)]
    assert [x and x[1] for x in sent] == ["0", "20"]


def test_without_a_terminal_a_line_says_done_of_how_many(
    tmp_path: Path, source: Path, checkpoint: Path
) -> None:
    path = pubmed_xml(tmp_path / "long.xml", articles(6000))
    out = tmp_path / "out"
    running = start_pubner(tmp_path / "log", *words_for(path, out, checkpoint))
    log = tmp_path / "log" / "stderr"
    pattern = re.compile(
        r"^\[\d+:\d\d\] annotating: [0-9,]+ of about [0-9,]+ citations, [0-9,.]+/s, [0-9:]+ left$",
        re.MULTILINE,
    )
    while running.is_alive and not (log.exists() and pattern.search(log.read_text())):
        time.sleep(0.1)
    running.send(signal.SIGKILL)
    running.finish()
    assert pattern.search(log.read_text()), log.read_text()


@pytest.mark.parametrize("columns", WIDTHS)
def test_ctrl_c_says_at_once_what_happens(tmp_path: Path, checkpoint: Path, columns: int) -> None:
    source = pubmed_xml(tmp_path / "a.xml", articles(5000))
    out = tmp_path / "out"
    running = start_on_terminal(words_for(source, out, checkpoint), columns=columns)
    while running.is_running and len(list(out.rglob("*.parquet"))) < 3:
        time.sleep(0.01)
    running.press(b"\x03")
    assert running.finish() == 130
    assert "Traceback" not in running.shown
    said = " ".join(running.shown.split())
    assert "SIGINT: the block in flight is abandoned after the current chunk" in said
    assert "a second signal stops now" in said
    assert "the same command resumes from there" in said
    found = check_output(out)
    assert 0 < len(found["citations"]) < 5000
    assert len(found["citations"]) % 20 == 0


def test_a_terminal_that_is_closed_is_a_request_to_end(tmp_path: Path, checkpoint: Path) -> None:
    source = pubmed_xml(tmp_path / "a.xml", articles(5000))
    out = tmp_path / "out"
    running = start_on_terminal(words_for(source, out, checkpoint), columns=80)
    while running.is_running and len(list(out.rglob("*.parquet"))) < 3:
        time.sleep(0.01)
    running.hang_up()
    assert running.finish() == 128 + signal.SIGHUP
    found = check_output(out)
    assert len(found["citations"]) % 20 == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_chunk_that_takes_long_is_given_up(
    tmp_path: Path, checkpoint: Path, number: signal.Signals
) -> None:
    path = tmp_path / "a.jsonl"
    text = "BRCA1 and breast cancer of the lung. " * 250_000
    lines = [{"pmid": 1, "title": "T", "abstract": ""}, {"pmid": 2, "title": "T", "abstract": text}]
    path.write_text("\n".join(map(json.dumps, lines)))
    out = tmp_path / "out"
    running = start_pubner(
        tmp_path / "log",
        "annotate",
        str(path),
        f"--output={out}",
        f"--checkpoint={checkpoint}",
        "--threads=1",
        "--block-size=1",
    )
    while running.is_alive and not list(out.rglob("*.parquet")):
        time.sleep(0.01)
    time.sleep(1)
    running.send(number)
    stopped = running.finish()
    assert stopped.code == 128 + number, stopped.err
    assert "the same command resumes from there" in stopped.lines[-1]
    assert [row["pmid"] for row in check_output(out)["citations"]] == [1]
    done = run_pubner(tmp_path / "log", "drift", str(out), f"--checkpoint={checkpoint}")
    assert done.code == 0, done.err
