"""The real corpora: every file is what was published, and the broken one is found out."""

from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import CorpusError
from schemas.tasks import TASKS
from training.corpora.catalogue import Split, catalogue
from training.corpora.check import BlobStatus, CorpusReport, check_corpora
from training.corpora.corpus import open_corpus
from training.corpora.digests import blob_id
from training.corpora.sentence_breaks import repair_breaks, repair_file


@pytest.fixture(scope="module")
def reports(data: Path) -> dict[str, CorpusReport]:
    return {report.corpus: report for report in check_corpora(data / "corpora")}


@pytest.mark.parametrize(
    "name", ["ncbi-disease", "bc5cdr", "bc5cdr-chem", "bc5cdr-disease", "bc2gm"]
)
def test_files_are_the_published_ones(reports: dict[str, CorpusReport], name: str) -> None:
    report = reports[name]
    assert report.trainable
    assert not report.broken
    assert {file.blob_status for file in report.files} == {BlobStatus.VERIFIED}
    for file, known in zip(report.files, catalogue()[name].files, strict=True):
        assert (file.sentences, file.mentions) == (known.sentences, known.mentions)


def test_the_mended_train_file_is_known(reports: dict[str, CorpusReport]) -> None:
    report = reports["jnlpba"]
    assert report.trainable
    assert [file.blob_status for file in report.files] == [
        BlobStatus.REPAIRED,
        BlobStatus.VERIFIED,
        BlobStatus.VERIFIED,
    ]
    assert (report.files[0].sentences, report.files[0].mentions) == (16_808, 46_750)


def test_the_broken_folder_is_reported_and_never_read(
    data: Path, reports: dict[str, CorpusReport]
) -> None:
    report = reports["jnlpba-iobes"]
    assert report.broken
    assert not report.trainable
    assert {file.split: file.problem_count for file in report.files} == {
        "devel": 438,
        "test": 886,
    }
    first = report.files[0].problems[0]
    assert (first.path.name, first.line) == ("devel.tsv", 154)
    assert "ends inside a mention, with B-protein" in first.reason
    with pytest.raises(CorpusError, match="its sentence breaks drift"):
        open_corpus(data / "corpora", "jnlpba-iobes").sentences(Split.DEVEL)


def read_blocks(path: Path) -> list[list[str]]:
    text = path.read_text(encoding="utf-8").strip("\n")
    return [block.split("\n") for block in text.split("\n\n")]


@pytest.mark.parametrize(("split", "extra"), [("devel", 2), ("test", 1)])
def test_drifted_breaks_come_back_to_their_places(data: Path, split: str, extra: int) -> None:
    """The drifted and the right file of the same sentences: the mend finds every true break."""
    root = data / "corpora"
    true = [
        [row.split("\t")[0] for row in block]
        for block in read_blocks(root / "JNLPBA" / f"{split}.tsv")
        if not block[0].startswith("-DOCSTART-")
    ]
    mended = [
        [row.split("\t")[0] for row in block]
        for block in repair_breaks(read_blocks(root / "JNLPBA-IOBES" / f"{split}.tsv"))
    ]
    assert [word for block in mended for word in block] == [
        word for block in true for word in block
    ]
    true_ends = set(accumulate(map(len, true)))
    mended_ends = set(accumulate(map(len, mended)))
    assert true_ends <= mended_ends
    assert len(mended_ends - true_ends) == extra


def test_the_mend_gives_the_train_file_byte_for_byte(data: Path) -> None:
    """Drift the right file as the source did, with 1,793 marks before its cut, and mend it."""
    blocks = read_blocks(data / "corpora" / "JNLPBA" / "train.tsv")
    rows = [row for block in blocks for row in block]
    lengths_before_the_cut = [len(block) for block in blocks[:16_741]]
    marked = set(np.random.default_rng(0).choice(16_740, size=1_793, replace=False).tolist())
    lengths = [
        length
        for index, whole in enumerate(lengths_before_the_cut)
        for length in ((1, whole) if index in marked else (whole,))
    ]
    assert sum(lengths) == len(rows)
    bounds = [0, *accumulate(lengths)]
    drifted = "".join("\n".join(rows[start:end]) + "\n\n" for start, end in pairwise(bounds))
    content = repair_file(drifted.encode())
    assert blob_id(content) == catalogue()["jnlpba"].file(Split.TRAIN).repaired_blob


def test_every_head_of_a_corpus_that_is_here_can_be_trained(
    reports: dict[str, CorpusReport],
) -> None:
    trainable = {name for name, report in reports.items() if report.trainable}
    assert set(TASKS) - {"bc4chemd"} <= trainable


@pytest.mark.parametrize(
    ("name", "split", "mentions"),
    [
        # Less what is left out, as in training/README.md.
        ("biored", "train", 8_715 - 45),
        ("linnaeus", "train", 2_231),
        ("species-800", "train", 3_053),
        ("anatem", "train", 6_940 - 38),
        ("craft", "train", 50_869 - 209 - 914 - 1_981 - 2_060),
        ("bionlp13cg", "devel", 3_575),
    ],
)
def test_corpora_beside_the_first_are_read(
    reports: dict[str, CorpusReport], name: str, split: str, mentions: int
) -> None:
    (found,) = [file.mentions for file in reports[name].files if file.split == split]
    assert found == mentions


def test_every_other_known_corpus_that_is_there_is_sound(reports: dict[str, CorpusReport]) -> None:
    others = {name: report for name, report in reports.items() if not catalogue()[name].fetched}
    del others["jnlpba-iobes"]
    assert len(others) >= 40
    for name, report in others.items():
        assert not report.broken, name
        assert {file.blob_status for file in report.files} == {BlobStatus.VERIFIED}, name
