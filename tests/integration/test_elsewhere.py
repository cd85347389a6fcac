"""Relative paths, on a real worker pool whose working folder is another one."""

import json
from pathlib import Path

import pytest

from pubner import cli
from tests.support.annotating import article, articles, check_output, pubmed_xml
from tests.support.checkpoints import tiny_checkpoint
from tests.support.services import Flink, Kafka, Security
from tests.support.stream_check import rows_in_place
from tests.support.streaming import Sender, make_topic


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command's working folder, with a checkpoint and another."""
    monkeypatch.chdir(tmp_path)
    tiny_checkpoint(tmp_path / "tiny")
    tiny_checkpoint(tmp_path / "other", seed=1)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def files_of(flink: Flink) -> set[Path]:
    return {path for path in flink.folder.rglob("*.parquet") if path.is_file()}


def test_files_are_annotated_and_annotated_again(flink: Flink, here: Path) -> None:
    (here / "in").mkdir()
    pubmed_xml(here / "in" / "a.xml", articles(6))
    pubmed_xml(here / "b.xml", [article(99)])
    beam = ["--runner=FlinkRunner", "--", *flink.options]
    words = ["annotate", "in", "./*.xml", "--output=out", "--checkpoint=tiny", "--threads=1"]
    assert cli.main([*words, "--json=a.json", *beam]) == 0
    summary = json.loads((here / "a.json").read_text())
    assert (summary["citations"], summary["dead_letters"]) == (7, 0)
    assert len(check_output(here / "out")["citations"]) == 7
    words = ["reannotate", "~/out", "--where=pmid = 99", "--checkpoint=file://other"]
    assert cli.main([*words, "--threads=1", "--json=r.json", *beam]) == 0
    assert json.loads((here / "r.json").read_text())["reannotated"] == 1
    ids = {row["checkpoint_id"] for row in check_output(here / "out")["citations"]}
    assert len(ids) == 2
    assert files_of(flink) == set()


def test_a_topic_of_a_secured_broker_is_annotated(
    kafka: Kafka, secure_kafka: Security, flink: Flink, here: Path
) -> None:
    topic = "elsewhere"
    make_topic(kafka.bootstrap, topic, 1)
    sent = Sender(kafka.bootstrap).send(topic, 40, partitions=[0])
    (here / "password").write_text(secure_kafka.password)
    (here / "ca.pem").write_bytes(Path(secure_kafka.ca_file).read_bytes())
    words = ["stream", f"--brokers={secure_kafka.bootstrap}", f"--topic={topic}", "--group=g"]
    words += ["--security-protocol=SASL_SSL", "--sasl-mechanism=PLAIN", "--threads=1"]
    words += [f"--sasl-username={secure_kafka.username}", "--sasl-password-file=password"]
    words += ["--tls-ca-file=ca.pem", "--output=out", "--checkpoint=tiny", "--until-caught-up"]
    assert cli.main([*words, "--runner=FlinkRunner", "--", *flink.options]) == 0
    assert rows_in_place(here / "out") == len(sent)
    assert files_of(flink) == set()
