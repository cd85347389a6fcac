"""`pubner annotate` end to end: input to Parquet and summary."""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from pipelines.output.index import read_index
from pipelines.output.manifest import open_existing
from pipelines.sample import sample_path
from pubner import cli
from tests.support.annotating import annotate, article, articles, check_output, pubmed_xml
from tests.support.blocks import all_rows, as_of_an_older_reader, rows
from tests.support.memory_files import SCHEME, MemoryFiles


def file_times(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*.parquet")
    }


def test_the_sample_is_annotated_where_no_input_is_named(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = annotate([], tmp_path / "out", checkpoint)
    found = check_output(tmp_path / "out")
    text = capsys.readouterr().out
    assert "bundled sample, pubner-sample.xml" in text
    assert len(found["citations"]) == summary["citations"] == 30
    assert summary["dead_letters"] == len(found["dead_letters"]) == 0
    assert sum(summary["mentions"].values()) == len(found["mentions"]) > 0
    assert set(summary["mentions"]) <= {"ncbi-disease", "bc2gm"}
    assert summary["citations_by_status"]["deleted"] == 2
    assert summary["citations_annotated_now"] == 30
    assert summary["counters"]["records"] == summary["counters"]["citations"] == 30
    assert summary["counters"]["mentions"] == len(found["mentions"])
    assert summary["seconds"] > 0
    assert any(row["retracted"] for row in found["citations"])
    for part in ("mentions, bc2gm", "dead letters", "citations/s", str(tmp_path / "out"), "PMID 9"):
        assert part in text
    assert {row["checkpoint_id"] for row in found["citations"]} == {summary["checkpoint_id"]}
    [source] = {row["source"] for row in found["citations"]}
    assert source == sample_path().name


def test_blocks_of_an_older_reader_are_counted_and_on_request_made_again(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    first = annotate([sample_path()], out, checkpoint)
    before = all_rows(out)
    assert first["blocks_of_older_reader"] == 0
    as_of_an_older_reader(out)
    capsys.readouterr()
    second = annotate([sample_path()], out, checkpoint)
    assert "--reread-older" in " ".join(capsys.readouterr().out.split())
    assert second["blocks_of_older_reader"] == second["blocks"] == first["blocks"]
    assert second["blocks_written_now"] == 0
    third = annotate([sample_path()], out, checkpoint, "--reread-older")
    assert "--reread-older" not in capsys.readouterr().out
    assert third["blocks_of_older_reader"] == 0
    assert third["citations_annotated_now"] == 30
    fourth = annotate([sample_path()], out, checkpoint, "--reread-older")
    assert fourth["blocks_written_now"] == 0
    assert {kind: len(rows) for kind, rows in all_rows(out).items()} == {
        kind: len(rows) for kind, rows in before.items()
    }


def test_damaged_and_awkward_files_end_in_rows_and_dead_letters(
    tmp_path: Path, checkpoint: Path
) -> None:
    broken_head = pubmed_xml(tmp_path / "a.xml", [article(n) for n in range(1, 8)])
    data = broken_head.read_bytes()
    damaged = b'<!DOCTYPE PubmedArticleSet SYSTEM "pubmed.dtd#>\n<PubmedArticleSet>'
    broken_head.write_bytes(data.replace(b"<PubmedArticleSet>", damaged, 1))
    twice = pubmed_xml(tmp_path / "b.xml", [article(8)])
    packed = tmp_path / "b.xml.gz"
    packed.write_bytes(gzip.compress(gzip.compress(twice.read_bytes())))
    nested = tmp_path / "c.jsonl"
    lines = [f'{{"pmid": {"[" * depth}{"]" * depth}}}' for depth in range(850, 1000)]
    nested.write_text("\n".join([*lines, '{"pmid": 9, "title": "T", "abstract": "A"}']))
    summary = annotate([broken_head, packed, nested], tmp_path / "out", checkpoint)
    found = check_output(tmp_path / "out")
    assert sorted(row["pmid"] for row in found["citations"]) == list(range(1, 10))
    assert summary["dead_letters"] == 1 + len(lines)


def test_what_is_in_place_is_not_done_again(tmp_path: Path, checkpoint: Path) -> None:
    out = tmp_path / "out"
    first = annotate([sample_path()], out, checkpoint)
    before, times = all_rows(out), file_times(out)
    second = annotate([sample_path()], out, checkpoint)
    assert file_times(out) == times
    assert (second["citations_annotated_now"], second["blocks_written_now"]) == (0, 0)
    assert second["citations_per_second"] == 0
    same = ("citations", "mentions", "mentions_by_type", "dead_letters", "blocks")
    assert [second[name] for name in same] == [first[name] for name in same]
    for kind in ("mentions", "dead_letters", "citations"):
        (out / kind / "pubner-sample.xml-0-000000000010.parquet").unlink()
    third = annotate([sample_path()], out, checkpoint)
    assert (third["citations_annotated_now"], third["blocks_written_now"]) == (5, 1)
    assert all_rows(out) == before
    assert len({time for name, time in file_times(out).items()} - set(times.values())) == 3


def test_another_checkpoint_replaces_and_a_set_gives_all_heads(
    tmp_path: Path, checkpoint: Path, other_checkpoint: Path
) -> None:
    out = tmp_path / "out"
    source = pubmed_xml(tmp_path / "a.xml", articles(7))
    one = annotate([source], out, checkpoint)
    other = annotate([source], out, other_checkpoint)
    assert set(one["mentions"]) <= {"ncbi-disease", "bc2gm"}
    assert set(other["mentions"]) == {"jnlpba"}
    both = annotate([source], out, checkpoint, f"--checkpoint={other_checkpoint}")
    assert both["mentions"] == {**one["mentions"], **other["mentions"]}
    ids = {summary["checkpoint_id"] for summary in (one, other, both)}
    assert len(ids) == 3
    assert {row["checkpoint_id"] for row in check_output(out)["citations"]} == {
        both["checkpoint_id"]
    }
    again = annotate([source], out, other_checkpoint, f"--checkpoint={checkpoint}")
    assert (again["citations_annotated_now"], again["checkpoint_id"]) == (0, both["checkpoint_id"])


def test_a_changed_input_replaces_its_blocks_and_leaves_others(
    tmp_path: Path, checkpoint: Path
) -> None:
    out = tmp_path / "out"
    source = pubmed_xml(tmp_path / "a.xml", articles(13))
    other = pubmed_xml(tmp_path / "b.xml", articles(2))
    annotate([source, other], out, checkpoint)
    pubmed_xml(source, articles(6, first=100))
    summary = annotate([source], out, checkpoint)
    assert (summary["citations"], summary["citations_annotated_now"]) == (6, 6)
    found = check_output(out)
    assert [row["pmid"] for row in found["citations"]] == [*range(100, 106), 1, 2]


def test_every_format_gives_the_same_rows(tmp_path: Path, checkpoint: Path) -> None:
    title, body = "BRCA1 in breast cancer", "It was found."
    lines = [f"{n}|t|{title} {n}\n{n}|a|{body}\n" for n in (1, 2)]
    messages = [{"pmid": n, "title": f"{title} {n}", "abstract": body} for n in (1, 2)]
    sources = [
        pubmed_xml(tmp_path / "a.xml", [article(n, f"{title} {n}", body) for n in (1, 2)]),
        tmp_path / "b.PubTator",
        tmp_path / "c.jsonl",
        tmp_path / "d.xml.gz",
    ]
    sources[1].write_text("\n".join(lines))
    sources[2].write_text("".join(json.dumps(message) + "\n" for message in messages))
    sources[3].write_bytes(gzip.compress(sources[0].read_bytes()))
    annotate([tmp_path / "*.*"], tmp_path / "out", checkpoint)
    found = check_output(tmp_path / "out")
    by_source: dict[str, list[tuple[object, ...]]] = {}
    for row in found["mentions"]:
        place = (row["offset"], row["task"], row["start"], row["end"], row["text"])
        by_source.setdefault(row["source"], []).append(place)
    assert set(by_source) == {path.name for path in sources}
    assert all(places == by_source["a.xml"] for places in by_source.values())


def test_settings_that_shape_rows(tmp_path: Path, checkpoint: Path) -> None:
    out = tmp_path / "out"
    source = pubmed_xml(tmp_path / "a.xml", articles(3))
    annotate([source], out, checkpoint)
    whole = rows(out, "mentions")
    annotate([source], out, checkpoint, "--no-store-text")
    assert {row["text"] for row in rows(out, "citations")} == {None}
    assert rows(out, "mentions") == whole
    summary = annotate([source], out, checkpoint, "--max-text-chars=20")
    assert summary["citations_annotated_now"] == 3
    found = check_output(out)
    assert {row["truncated"] for row in found["citations"]} == {True}
    assert all(row["end"] <= 20 for row in found["mentions"])
    assert all(len(row["text"]) > 20 for row in found["citations"])


def test_the_json_is_alone_on_standard_output(
    tmp_path: Path, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["annotate", f"--checkpoint={checkpoint}", f"--output={tmp_path}", "--threads=1"]
    assert cli.main([*words, "--json=-"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["citations"] == 30
    assert "mentions, bc2gm" in err


def test_a_data_set_reads_as_one_table(tmp_path: Path, checkpoint: Path) -> None:
    source = pubmed_xml(tmp_path / "_hidden name é.xml", articles(7))
    annotate([source], tmp_path / "out", checkpoint)
    citations = ds.dataset(tmp_path / "out" / "citations", format="parquet").to_table()
    assert citations.num_rows == 7
    assert set(citations["source"].to_pylist()) == {"_hidden name é.xml"}


@pytest.fixture
def bucket() -> Iterator[str]:
    MemoryFiles.objects.clear()
    yield f"{SCHEME}://bucket"
    MemoryFiles.objects.clear()


def test_any_file_system_of_beam_s(tmp_path: Path, checkpoint: Path, bucket: str) -> None:
    local = pubmed_xml(tmp_path / "a.xml", articles(7))
    MemoryFiles.objects[f"{bucket}/in/a.xml"] = local.read_bytes()
    words = ["annotate", f"{bucket}/in/*.xml", f"--output={bucket}/out", "--block-size=5"]
    words += [f"--checkpoint={checkpoint}", "--threads=1"]
    assert cli.main(words) == 0
    store = open_existing(f"{bucket}/out")
    counts = read_index(store, ["a.xml"], counted=True).counts()
    assert counts.citations == {"annotated": 7}
    summary = annotate([local], tmp_path / "out", checkpoint)
    assert counts.mentions_by_head() == summary["mentions"]


def test_real_files_of_nlm(tmp_path: Path, checkpoint: Path, data: Path) -> None:
    folder = data / "pubmed"
    files = sorted(path for path in folder.rglob("*.xml.gz"))
    summary = annotate(files, tmp_path / "out", checkpoint)
    found = check_output(tmp_path / "out")
    assert summary["dead_letters"] == 0
    assert {row["source"] for row in found["citations"]} == {path.name for path in files}
    per_file = dict.fromkeys((path.name for path in files), 0)
    for row in found["citations"]:
        per_file[row["source"]] += row["status"] != "deleted"
    assert per_file["pubmed26n1334.xml.gz"] == per_file["pubmed26n1335.xml.gz"] == 30
    assert summary["citations_by_status"]["deleted"] > 0
    assert not any(row["retracted"] for row in found["citations"]), "there is only a notice"
    assert not any(row["truncated"] for row in found["citations"])


def test_a_damaged_download_refuses_one_file(tmp_path: Path, checkpoint: Path, data: Path) -> None:
    for name in ("pubmed26n1334.xml.gz", "pubmed26n1334.xml.gz.md5"):
        shutil.copy(data / "pubmed" / "baseline" / name, tmp_path / name)
    for name in ("pubmed26n1335.xml.gz", "pubmed26n1335.xml.gz.md5"):
        shutil.copy(data / "pubmed" / "updatefiles" / name, tmp_path / name)
    place = tmp_path / "pubmed26n1334.xml.gz"
    damaged = bytearray(place.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    place.write_bytes(damaged)
    summary = annotate([tmp_path / "*.gz"], tmp_path / "out", checkpoint)
    found = check_output(tmp_path / "out")
    [dead_letter] = found["dead_letters"]
    assert (dead_letter["source"], dead_letter["offset"], dead_letter["stage"]) == (
        place.name,
        0,
        "read",
    )
    assert "MD5" in dead_letter["error"]
    assert dead_letter["payload"] == (tmp_path / f"{place.name}.md5").read_bytes()
    assert {row["source"] for row in found["citations"]} == {"pubmed26n1335.xml.gz"}
    assert summary["dead_letters_by_stage"] == {"read": 1}
