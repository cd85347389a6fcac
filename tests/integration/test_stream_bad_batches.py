"""Messages and record batches that clients and disks may leave in a topic, read by a stream."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.batches import RawRecord
from pubner import cli
from schemas.records import header_key_bytes
from tests.support.batches import RawKey, with_codec
from tests.support.services import Kafka
from tests.support.streaming import make_topic


def citation(pmid: int) -> bytes:
    return json.dumps({"pmid": pmid, "title": "Cystic fibrosis.", "abstract": ""}).encode()


def send(kafka: Kafka, topic: str, pmids: range, *, partition: int = 0, codec: str = "") -> None:
    """Send citations in one batch."""
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        compression_type=codec or None,
        linger_ms=200,
        batch_size=2**20,
    )
    for pmid in pmids:
        producer.send(topic, key=b"%d" % pmid, value=citation(pmid), partition=partition)
    producer.flush()
    producer.close()


def stream(kafka: Kafka, folder: Path, topic: str, checkpoint: Path, *words: str) -> int:
    return cli.main(
        [
            *("stream", f"--brokers={kafka.bootstrap}", f"--topic={topic}", f"--group={topic}"),
            *(f"--output={folder / 'out'}", f"--checkpoint={checkpoint}", "--until-caught-up"),
            *(f"--json={folder / 'summary.json'}", *words),
        ]
    )


def rows(folder: Path, kind: str, columns: str) -> list[tuple[object, ...]]:
    files = folder / "out" / kind / "*.parquet"
    with duckdb.connect() as connection:
        found: list[tuple[object, ...]] = connection.execute(
            f"SELECT {columns} FROM '{files}' ORDER BY partition, \"offset\""
        ).fetchall()
    return found


def received(kafka: Kafka, topic: str) -> list[RawRecord]:
    """Return what a topic of one partition holds."""
    client = consumer(KafkaAccess((kafka.bootstrap,)))
    place = TopicPartition(topic, 0)
    try:
        client.assign([place])
        client.seek(place, 0)
        end = client.end_offsets([place])[place]
        found: list[RawRecord] = []
        while client.position(place) < end:
            found += client.poll(timeout_ms=500).get(place, [])
        return found
    finally:
        client.close()


def test_header_keys_that_are_no_text_stop_nothing(
    kafka: Kafka, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic, dead_letters, again = "bad-keys", "bad-keys-letters", "bad-keys-again"
    for name in (topic, dead_letters, again):
        make_topic(kafka.bootstrap, name, 1)
    headers = [(RawKey(b"\xe9tat"), b"\x00\xff"), ("trace", b"1"), ("trace", b"2"), ("é", b"")]
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    for number in range(1, 11):
        given = headers if number in (4, 8) else []
        value = b"not JSON" if number == 8 else citation(number)
        producer.send(topic, key=b"%d" % number, value=value, headers=given, partition=0)
    producer.flush()
    producer.close()
    assert stream(kafka, tmp_path, topic, checkpoint, f"--dead-letter-topic={dead_letters}") == 0
    assert len(rows(tmp_path, "citations", "pmid")) == 9
    [(headers_column, header_list)] = rows(tmp_path, "dead_letters", "headers, header_list")
    assert headers_column == {"\N{REPLACEMENT CHARACTER}tat": b"\x00\xff", "trace": b"2", "é": b""}
    assert header_list == [
        {"key": "\N{REPLACEMENT CHARACTER}tat", "key_bytes": b"\xe9tat", "value": b"\x00\xff"},
        {"key": "trace", "key_bytes": None, "value": b"1"},
        {"key": "trace", "key_bytes": None, "value": b"2"},
        {"key": "é", "key_bytes": None, "value": b""},
    ]
    capsys.readouterr()
    out = str(tmp_path / "out")
    assert cli.main(["dead-letters", "show", out, f"{topic}/0/7"]) == 0
    said = capsys.readouterr().out
    assert r"header:      b'\xe9tat' = b'\x00\xff'" in said
    assert "header:      trace = 1" in said
    words = [f"--brokers={kafka.bootstrap}", f"--topic={again}"]
    assert cli.main(["dead-letters", "replay", out, *words]) == 0
    sent = [(header_key_bytes(name), value) for name, value in headers_of(kafka, topic, 7)]
    assert sent[0] == (b"\xe9tat", b"\x00\xff")
    for name in (dead_letters, again):
        [dead_letter] = received(kafka, name)
        assert [(header_key_bytes(x), value) for x, value in dead_letter.headers][:4] == sent


def headers_of(kafka: Kafka, topic: str, offset: int) -> tuple[tuple[str, bytes | None], ...]:
    return received(kafka, topic)[offset].headers


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_every_codec_of_kafka_is_read(
    kafka: Kafka, checkpoint: Path, tmp_path: Path, codec: str
) -> None:
    topic = f"codec-{codec}"
    make_topic(kafka.bootstrap, topic, 1)
    send(kafka, topic, range(1, 40), codec=codec)
    assert stream(kafka, tmp_path, topic, checkpoint) == 0
    assert [x for (x,) in rows(tmp_path, "citations", "pmid")] == list(range(1, 40))


def segment(kafka: Kafka, topic: str) -> Path:
    [found] = [x for x in kafka.folder.rglob("*.log") if x.parent.name == f"{topic}-0"]
    return found


def batches_of(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each batch of a segment begins and ends."""
    begin = 0
    while begin < len(data):
        end = begin + 12 + struct.unpack_from(">i", data, begin + 8)[0]
        yield begin, end
        begin = end


def damage(kafka: Kafka, topic: str) -> None:
    """Damage the second batch of a partition where the broker keeps it, and the codec of the third.

    A byte of the second is another one; the third says that it is of a codec that nobody knows.
    """
    place = segment(kafka, topic)
    data = bytearray(place.read_bytes())
    _, second, third, _ = batches_of(bytes(data))
    data[second[1] - 5] ^= 0xFF
    data[slice(*third)] = with_codec(bytes(data[slice(*third)]), 6)
    with place.open("r+b") as stream:
        stream.write(data)


def test_damaged_batches_are_dead_letters_and_all_else_is_read(
    kafka: Kafka, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = "bad-batches"
    make_topic(kafka.bootstrap, topic, 2)
    for begin in (1, 4, 7, 10):
        send(kafka, topic, range(begin, begin + 3))
    send(kafka, topic, range(101, 111), partition=1)
    damage(kafka, topic)
    # The second batch lies across the border of two blocks.
    assert stream(kafka, tmp_path, topic, checkpoint, "--block-size=5") == 0
    found = rows(tmp_path, "citations", 'partition, "offset"')
    assert found == [(0, x) for x in (0, 1, 2, 9, 10, 11)] + [(1, x) for x in range(10)]
    dead_letters = rows(tmp_path, "dead_letters", '"offset", stage, error_type, error')
    assert [x[:3] for x in dead_letters] == [(x, "read", "RecordBatchError") for x in range(3, 9)]
    assert "offsets 3 to 5" in str(dead_letters[0][3])
    assert "checksum" in str(dead_letters[0][3])
    assert "compression codec 6 is not known" in str(dead_letters[3][3])
    assert json.loads((tmp_path / "summary.json").read_text())["dead_letters"] == 6
    said = capsys.readouterr().err
    assert "the record batch with the offsets 3 to 5 cannot be read" in said
    words = ["dead-letters", "replay", str(tmp_path / "out"), f"--brokers={kafka.bootstrap}"]
    assert cli.main([*words, f"--topic={topic}", f"--json={tmp_path / 'replay.json'}"]) == 0
    report = json.loads((tmp_path / "replay.json").read_text())
    assert (report["sent"], report["no_message"]) == (0, 6)


def test_an_offset_that_was_set_behind_a_message_is_where_reading_goes_on(
    kafka: Kafka, checkpoint: Path, tmp_path: Path
) -> None:
    topic = "bad-keys-skipped"
    make_topic(kafka.bootstrap, topic, 1)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    for number, headers in enumerate(([], [(RawKey(b"\xe9tat"), b"x")], [])):
        producer.send(topic, key=b"%d" % (number + 1), value=citation(number + 1), headers=headers)
        producer.flush()
    producer.close()
    place = TopicPartition(topic, 0)
    client = KafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=topic)
    client.assign([place])
    client.commit({place: OffsetAndMetadata(2, "", -1)})
    client.close()
    assert stream(kafka, tmp_path, topic, checkpoint) == 0
    assert [x for (x,) in rows(tmp_path, "citations", "pmid")] == [1, 2, 3]
