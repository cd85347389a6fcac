"""`pubner dead-letters replay` to a topic of the real broker."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.commands import dead_letters as dead_letters_command
from pipelines.dead_letters.ledger import FOLDER, Ledger
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.topics import create_topic
from pipelines.output.manifest import open_existing, open_output
from schemas.citation_message import to_message
from schemas.errors import OutputError, SettingsError
from schemas.records import Citation, Stage
from tests.support.annotating import article, check_output
from tests.support.blocks import rows
from tests.support.dead_letters import dead_letter, run_dead_letters, write_dead_letters
from tests.support.feeding import feed, read_topic
from tests.support.replaying import (
    MENDED,
    break_json,
    fresh,
    good,
    replay,
    replayed_from,
    send,
    stream,
)
from tests.support.root import ROOT
from tests.support.services import Kafka


def test_from_poison_to_a_citation(
    tmp_path: Path, kafka: Kafka, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a parser could not read is sent again after the fix, once, and annotated."""
    topic, out = fresh(kafka, "letters-poison"), tmp_path / "out"
    others = [(b"%d" % x, good(x)) for x in (3, 4)]
    send(kafka, topic, [(b"1", good(1)), (b"7", MENDED), (b"2", good(2)), (None, b"{"), *others])
    with monkeypatch.context() as broken:
        break_json(broken, 7)
        stream(kafka, topic, out, checkpoint)
    listed = run_dead_letters("list", out)
    assert [(x["offset"], x["replayed"]) for x in listed["letters"]] == [(3, False), (1, False)]

    found = replay(kafka, out, topic, f"--position={topic}/0/1")
    assert (found["letters"], found["sent"], found["sent_before"]) == (1, 1, 0)
    again = replay(kafka, out, topic, f"--position={topic}/0/1")
    assert (again["letters"], again["sent"], again["sent_before"]) == (1, 0, 1)
    sent = read_topic(kafka.bootstrap, topic)
    assert replayed_from(sent) == [f"{topic}/0/1"]
    assert (sent[-1].key, sent[-1].value, sent[-1].headers["trace"]) == (b"7", MENDED, b"\x01")
    marks = {x["offset"]: x["replayed"] for x in run_dead_letters("list", out)["letters"]}
    assert marks == {1: True, 3: False}

    stream(kafka, topic, out, checkpoint)
    check_output(out)
    pmids = {x["offset"]: x["pmid"] for x in rows(out, "citations")}
    assert pmids == {0: 1, 2: 2, 4: 3, 5: 4, 6: 7}
    assert [x["offset"] for x in rows(out, "dead_letters")] == [1, 3]


def test_messages_go_as_they_were(tmp_path: Path, kafka: Kafka) -> None:
    topic = fresh(kafka, "letters-as-they-were", partitions=3)
    own = ("pubner-replayed-from", b"t/0/0")
    write_dead_letters(
        tmp_path / "out",
        [
            dead_letter(1, b"{", key=b"1", headers=(("h", b"x"), own)),
            dead_letter(2, b"", key=b"abc"),
            dead_letter(3, b"", key=b"12"),
            dead_letter(8, good(8), stage=Stage.ANNOTATE),
        ],
    )
    write_dead_letters(tmp_path / "out", [dead_letter(4, b"{", source="u")], digest="kafka:c:u")
    found = replay(kafka, tmp_path / "out", topic, "--source=t")
    assert (found["letters"], found["sent"], found["no_message"]) == (4, 4, 0)
    sent = {
        x.headers["pubner-replayed-from"].decode(): (x.key, x.value)
        for x in read_topic(kafka.bootstrap, topic)
    }
    assert sent == {
        "t/0/1": (b"1", b"{"),
        "t/0/2": (b"abc", None),
        "t/0/3": (b"12", b""),
        "t/0/8": (b"8", good(8)),
    }
    assert replay(kafka, tmp_path / "out", topic)["sent"] == 1  # that of the other source
    assert replay(kafka, tmp_path / "out", topic, "--limit=2", "--again")["sent"] == 2
    other = fresh(kafka, "letters-another-topic")
    assert replay(kafka, tmp_path / "out", other)["sent"] == 5


def test_what_a_feed_could_not_send_is_sent_once_the_limit_is_raised(
    tmp_path: Path, kafka: Kafka
) -> None:
    access = KafkaAccess((kafka.bootstrap,))
    create_topic(access, "letters-fed", configs={"max.message.bytes": "2000"})
    noise = Citation(5, title=os.urandom(5000).hex())
    (tmp_path / "a.jsonl").write_bytes(good(4) + b"\n" + to_message(noise) + b"\n{\n")
    feed(tmp_path, kafka.bootstrap, "letters-fed", tmp_path / "a.jsonl")
    dead_letters = tmp_path / "letters-fed"
    assert list(replay(kafka, dead_letters, "letters-fed")["refused"]) == ["a.jsonl/0/1"]
    large = fresh(kafka, "letters-fed-large")
    found = replay(kafka, dead_letters, large)
    assert (found["sent"], found["no_message"]) == (1, 1)
    [sent] = read_topic(kafka.bootstrap, large)
    assert (sent.key, sent.value) == (b"5", to_message(noise))
    with pytest.raises(OutputError, match="were written by `pubner feed`"):
        dead_letters_command.replay([str(dead_letters), "--pipeline", "--again"])


def test_another_letter_at_the_same_place_is_another(tmp_path: Path, kafka: Kafka) -> None:
    topic = fresh(kafka, "letters-another")
    write_dead_letters(tmp_path / "out", [dead_letter(1, b"{"), dead_letter(2, b"{")])
    assert replay(kafka, tmp_path / "out", topic)["sent"] == 2
    write_dead_letters(
        tmp_path / "out", [dead_letter(1, b"{", error="another"), dead_letter(2, b"[")]
    )
    assert replay(kafka, tmp_path / "out", topic)["sent"] == 1


def test_records_of_files_go_as_a_feed_would_send_them(tmp_path: Path, kafka: Kafka) -> None:
    topic = fresh(kafka, "letters-files")
    found = [
        dead_letter(1, article(5, "Mended").encode(), source="a.xml"),
        dead_letter(2, b'<PMID Version="1">6</PMID>', source="a.xml"),
        dead_letter(3, b"<PubmedArticle/>", source="a.xml"),
        dead_letter(4, article(5, "Cut").encode(), source="a.xml", stage=Stage.READ),
    ]
    write_dead_letters(tmp_path / "out", found, digest="0" * 64)
    summary = replay(kafka, tmp_path / "out", topic)
    assert (summary["sent"], summary["no_message"]) == (2, 2)
    sent = [(x.key, x.value) for x in read_topic(kafka.bootstrap, topic)]
    assert sent == [
        (b"5", to_message(Citation(5, title="Mended"))),
        (b"6", to_message(Citation(6, deleted=True))),
    ]
    assert replay(kafka, tmp_path / "out", topic)["sent_before"] == 2


def test_what_the_broker_does_not_take_is_told_and_not_marked(tmp_path: Path, kafka: Kafka) -> None:
    access = KafkaAccess((kafka.bootstrap,))
    create_topic(access, "letters-small", configs={"max.message.bytes": "2000"})
    create_topic(access, "letters-compact", configs={"cleanup.policy": "compact"})
    noise = os.urandom(5000)
    write_dead_letters(
        tmp_path / "out",
        [dead_letter(1, b"{"), dead_letter(2, noise, key=b"2"), dead_letter(3, b"[")],
    )
    for _ in range(2):
        found = replay(kafka, tmp_path / "out", "letters-small")
        assert list(found["refused"]) == ["t/0/2"]
    assert found["sent_before"] == 2
    assert "allows 2,000 bytes, compressed" in found["refused"]["t/0/2"]
    found = replay(kafka, tmp_path / "out", "letters-compact")
    assert list(found["refused"]) == ["t/0/1", "t/0/3"]
    assert "no key" in found["refused"]["t/0/1"]
    assert found["sent"] == 1
    assert replayed_from(read_topic(kafka.bootstrap, "letters-small")) == ["t/0/1", "t/0/3"]
    assert replayed_from(read_topic(kafka.bootstrap, "letters-compact")) == ["t/0/2"]


KILLED = """
import os, signal, sys
from pipelines.commands import dead_letters
from pipelines.dead_letters import republish

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

count = int(sys.argv[1])
if count < 0:
    republish.record = kill
else:
    original, sent = republish.Sender.send, []
    def send(self, message):
        original(self, message)
        self.wait()
        sent.append(message)
        if len(sent) == count:
            kill()
    republish.Sender.send = send
dead_letters.replay(sys.argv[2:])
"""


@pytest.mark.parametrize("after", [-1, 1, 3])
def test_killed_between_sending_and_recording_each_is_sent_once(
    tmp_path: Path, kafka: Kafka, after: int
) -> None:
    topic, out = fresh(kafka, f"letters-killed{after}", partitions=2), tmp_path / "out"
    send(kafka, topic, [(b"9", good(9))])
    write_dead_letters(out, [dead_letter(x, b"{", key=b"%d" % x) for x in range(1, 9)])
    words = [str(out), f"--topic={topic}", f"--brokers={kafka.bootstrap}"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(after), *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    sent = 8 if after < 0 else after
    assert len(replayed_from(read_topic(kafka.bootstrap, topic))) == sent
    fresh_letter = dead_letter(11, b"{")
    write_dead_letters(out, [fresh_letter])
    found = replay(kafka, out, topic)
    assert (found["recovered"], found["sent_before"], found["sent"]) == (sent, sent, 9 - sent)
    expected = sorted([f"t/0/{x}" for x in range(1, 9)] + ["t/0/11"])
    assert replayed_from(read_topic(kafka.bootstrap, topic)) == expected
    found = replay(kafka, out, topic)
    assert (found["recovered"], found["sent_before"], found["sent"]) == (0, 9, 0)
    assert all(x.finished for x in Ledger(open_existing(str(out))).replays())


def test_two_outputs_of_one_topic_do_not_take_each_others_replays_for_theirs(
    tmp_path: Path, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = fresh(kafka, "letters-two-outputs")
    for name in ("one", "two"):
        write_dead_letters(tmp_path / name, [dead_letter(1, b"{")])
    with monkeypatch.context() as cut:
        cut.setattr("pipelines.dead_letters.republish._send", fail)
        with pytest.raises(OutputError):
            replay(kafka, tmp_path / "one", topic)
    assert replay(kafka, tmp_path / "two", topic)["sent"] == 1
    found = replay(kafka, tmp_path / "one", topic)
    assert (found["recovered"], found["sent"]) == (0, 1)


def fail(*_: object) -> None:
    raise OutputError("cut short")


def test_two_replays_at_once_are_refused(tmp_path: Path, kafka: Kafka) -> None:
    topic = fresh(kafka, "letters-at-once")
    write_dead_letters(tmp_path / "out", [dead_letter(1, b"{")])
    with (
        Ledger(open_existing(str(tmp_path / "out"))).locked(),
        pytest.raises(OutputError, match=r"another replay .* is running"),
    ):
        replay(kafka, tmp_path / "out", topic)
    with open_output(str(tmp_path / "out"), block_size=5):  # a stream does not hinder it
        assert replay(kafka, tmp_path / "out", topic)["sent"] == 1


def test_a_ledger_that_is_damaged_is_one_line(tmp_path: Path, kafka: Kafka) -> None:
    topic = fresh(kafka, "letters-damaged")
    write_dead_letters(tmp_path / "out", [dead_letter(1, b"{")])
    replay(kafka, tmp_path / "out", topic)
    [path] = (tmp_path / "out" / FOLDER).iterdir()
    whole = path.read_text()
    for text in ("{", "[]", whole.replace('"format_version": 1', '"format_version": 2')):
        path.write_text(text)
        with pytest.raises(OutputError, match=re.escape(path.name)):
            replay(kafka, tmp_path / "out", topic)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["out"], "give --topic NAME or --pipeline"),
        (["out", "--topic=t", "--pipeline"], "give --topic NAME or --pipeline"),
        (["out", "--topic=t"], "--topic needs --brokers"),
        (["out", "--topic=t", "--brokers=x"], "HOST:PORT"),
        (["out", "--pipeline", "--limit=0"], "--limit"),
    ],
)
def test_a_wrong_option_is_one_line(
    words: list[str], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_dead_letters(tmp_path / "out", [dead_letter(1, b"{")])
    with pytest.raises(SettingsError, match="see `pubner dead-letters replay --help`") as raised:
        dead_letters_command.replay(words)
    assert part in str(raised.value)
