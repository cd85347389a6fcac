"""Corpora that look sound line by line and are not: named by file and line, and not trained on."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from pubner.cli import main
from schemas.errors import CorpusError
from tests.support.corpora import write_encoder
from training.commands.corpora import check
from training.corpora.check import check_corpora
from training.corpora.schemes import Scheme, detect_scheme
from training.finetune.run import load_training_corpora

SENTENCES = [
    [("Aspirin", "B-Chemical"), ("helps", "O"), ("stroke", "B-Disease"), ("patients", "O")],
    [("Breast", "B-Disease"), ("cancer", "I-Disease"), ("is", "O"), ("not", "O"), ("rare", "O")],
    [("They", "O"), ("took", "O"), ("metformin", "B-Chemical"), ("daily", "O"), (".", "O")],
]


def text(times: int = 8, *, prefix: str = "") -> str:
    """Return a sound IOB2 file; each sentence takes as many lines as it has words, and one."""
    blocks = [
        "\n".join(f"{prefix if n == 0 else ''}{word}\t{tag}" for n, (word, tag) in enumerate(rows))
        for rows in SENTENCES * times
    ]
    return "\n\n".join(blocks) + "\n\n"


TRAIN, DEVEL = text(), text(prefix="x")


def put(root: Path, **splits: str | bytes) -> Path:
    folder = root / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    for split, content in ({"train": TRAIN, "devel": DEVEL} | splits).items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / f"{split}.tsv").write_bytes(data)
    return folder


def changed(content: str, line: int, row: str) -> str:
    rows = content.split("\n")
    rows[line - 1] = row
    return "\n".join(rows)


SPLIT_OTHERWISE = DEVEL.replace("-Disease", "-disease")


@pytest.mark.parametrize(
    ("splits", "places", "says"),
    [
        ({"devel": SPLIT_OTHERWISE}, ["devel:3"], "the label 'disease' is not in train.tsv, which"),
        ({"devel": SPLIT_OTHERWISE}, ["devel:3"], "has Chemical, Disease; is it 'Disease'?"),
        (
            {"devel": DEVEL.replace("-Disease\n", "-Disease \n")},
            ["devel:3", "devel:6", "devel:7", "devel:20", "devel:23"],
            "a blank before or after the tag 'B-Disease '",
        ),
        ({"devel": changed(DEVEL, 2, "helps\tB-Gene")}, ["devel:2"], "the label 'Gene' is not in"),
        ({"test": changed(TRAIN, 2, "helps\tB-Gene")}, ["test:2"], "the label 'Gene' is not in"),
        (
            {"train": changed(TRAIN, 14, "metformin\tB-chemical")},
            ["train:14"],
            "the label 'chemical' is spelled 'Chemical' elsewhere",
        ),
        (
            {"train": changed(TRAIN, 2, "helps\tB-a/verb"), "devel": DEVEL},
            ["train:2"],
            "the label 'a/verb' cannot name an entity type",
        ),
        (
            {
                "devel": "\n".join(
                    f"{row.split(chr(9))[0]}\tO" if row else "" for row in DEVEL.split("\n")
                )
            },
            ["devel:1"],
            "no mention in the whole file; no epoch can be chosen, no score calibrated",
        ),
        ({"train": "a\tO\nb\tO\n", "devel": "a\tO\n"}, ["train:1", "devel:1"], "no mention in the"),
        ({"train": ""}, ["train:1"], "no sentence: the file is empty"),
        ({"devel": "\n\n\n"}, ["devel:1"], "no sentence: the file is empty"),
        (
            {"train": changed(TRAIN, 13, "took\tI-Disease")},
            ["train:13"],
            "illegal transition: IOB2 does not allow I-Disease directly after O",
        ),
        ({"train": changed(TRAIN, 13, "took\tS-Disease")}, ["train:13"], "is no IOB2 tag"),
        ({"devel": changed(DEVEL, 13, "took\tE-Disease")}, ["devel:13"], "is no IOB2 tag"),
        ({"train": changed(TRAIN, 13, "took\tDisease")}, ["train:13"], "is no IOB2 tag"),
        ({"train": changed(TRAIN, 13, "took\tb-Disease")}, ["train:13"], "is no IOB2 tag"),
        ({"train": changed(TRAIN, 13, "took\to")}, ["train:13"], "'o' is no IOB2 tag"),
        ({"train": changed(TRAIN, 13, "took\tVBD\tO\tO")}, ["train:13"], "4 columns: expected a w"),
        ({"train": changed(TRAIN, 13, "took    O")}, ["train:13"], "no tab: expected a word"),
        ({"train": changed(TRAIN, 13, "B-Disease")}, ["train:13"], "no tab: expected a word"),
        ({"train": changed(TRAIN, 13, "\tB-Disease")}, ["train:13"], "empty word"),
        ({"devel": DEVEL.replace("\t", "    ")}, [f"devel:{n}" for n in (1, 2, 3, 4, 6)], "no tab"),
        (
            {"devel": "\n\n".join(["a\tO\nb\tS-Disease\n"] * 3)},
            ["devel:2", "devel:6", "devel:10"],
            "the tags of this file are IOBES, those of the corpus IOB2; convert one of them",
        ),
        ({"train": TRAIN.encode("utf-16")}, ["train:1"], "not UTF-8 but UTF-16: convert the file"),
    ],
)
def test_what_is_wrong_is_named_by_check_and_refused_by_training(
    tmp_path: Path, splits: dict[str, str | bytes], places: list[str], says: str
) -> None:
    folder = put(tmp_path, **splits)
    (report,) = check_corpora(tmp_path, ["mine"])
    problems = [problem for file in report.files for problem in file.problems]
    assert [f"{problem.path.stem}:{problem.line}" for problem in problems][:5] == places
    assert problems[0].path.parent == folder
    assert says in str(problems[0])
    assert report.broken
    in_test = places[0].startswith("test")
    assert report.trainable == in_test
    if in_test:  # which training never opens
        assert len(load_training_corpora(tmp_path, ["mine"])) == 1
        return
    with pytest.raises(CorpusError) as refused:
        load_training_corpora(tmp_path, ["mine"])
    first = places[0].partition(":")
    assert f"{folder / first[0]}.tsv, line {first[2]}: " in str(refused.value)


def test_one_line_is_said_by_every_command_that_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, devel=SPLIT_OTHERWISE)
    write_encoder(tmp_path / "encoder")
    capsys.readouterr()
    words = ["--data", str(tmp_path), "--corpus", "mine", "--output", str(tmp_path / "out")]
    encoder = ["--encoder", str(tmp_path / "encoder"), "--device", "cpu"]
    registry = ["--registry", str(tmp_path / "registry")]
    for command in (
        ["train", "stl", *words, *encoder],
        ["train", "dictionary", *words],
        ["tune", *words, *encoder],
        ["retrain", *words, *encoder, *registry],
    ):
        assert main(command) == 2
        said = capsys.readouterr().err
        (line,) = said.splitlines()
        assert "devel.tsv, line 3: the label 'disease' is not in train.tsv" in line


@pytest.mark.parametrize(
    ("splits", "place", "says"),
    [
        ({"devel": TRAIN}, "devel:6", "16 of 24 sentences are in train.tsv too, the first here"),
        (
            {"devel": "\n".join(r for r in DEVEL.split("\n") if "Chemical" not in r)},
            "devel:1",
            "no mention has the label 'Chemical'",
        ),
        (
            {"devel": changed(DEVEL, 2, unicodedata.normalize("NFD", "Sjögren") + "\tO")},
            "devel:2",
            "1 words are not in Unicode's normal form NFC",
        ),
    ],
)
def test_what_is_odd_is_warned_of_by_both(
    tmp_path: Path, splits: dict[str, str], place: str, says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    put(tmp_path, **splits)
    report_file = tmp_path / "report.json"
    assert check(["--data", str(tmp_path), "--corpus", "mine", "--json", str(report_file)]) == 0
    assert f"warning: {tmp_path / 'mine' / 'devel.tsv'}, line {place[6:]}: " in (
        capsys.readouterr().out
    )
    report = json.loads(report_file.read_text())["corpora"]["mine"]
    assert report["trainable"]
    (warning,) = report["warnings"]
    assert warning["line"] == int(place[6:])
    assert says in warning["reason"]
    said: list[str] = []
    load_training_corpora(tmp_path, ["mine"], log=said.append)
    assert len(said) == 1
    assert says in said[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.replace("\n", "\r\n"),
        lambda content: "\ufeff" + content,
        lambda content: content.rstrip("\n"),
        lambda content: "-DOCSTART-\tO\n\n" + content,
    ],
)
def test_how_a_file_was_saved_is_no_matter(tmp_path: Path, change: Callable[[str], str]) -> None:
    put(tmp_path, train=change(TRAIN), devel=change(DEVEL))
    (report,) = check_corpora(tmp_path, ["mine"])
    assert not report.broken
    assert report.trainable
    assert not report.warnings
    assert [file.mentions for file in report.files] == [32, 32]
    (loaded,) = load_training_corpora(tmp_path, ["mine"])
    assert loaded.task.label_names == ("Chemical", "Disease")


@pytest.mark.parametrize(
    ("scheme", "stray"),
    [
        (Scheme.IOB2, "I-A"), (Scheme.IOB2, "E-A"), (Scheme.IOB2, "S-A"), (Scheme.IOB1, "S-A"),
        (Scheme.IOB1, "B-A"), (Scheme.IOBES, "I-A"), (Scheme.IOBES, "B-A"),
    ],
)  # fmt: skip
def test_one_stray_tag_does_not_change_the_scheme(scheme: Scheme, stray: str) -> None:
    sound = {
        Scheme.IOB1: ["O", "I-A", "I-A", "B-A", "O"],
        Scheme.IOB2: ["O", "B-A", "I-A", "B-A", "O"],
        Scheme.IOBES: ["O", "B-A", "E-A", "S-A", "O"],
    }[scheme]
    assert detect_scheme([*[sound] * 10, ["O", stray, "O"], *[sound] * 10]) == scheme
