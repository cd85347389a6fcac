import json
import os
from pathlib import Path

import pytest

from schemas.errors import CorpusError, PubnerError, SettingsError
from tests.support.corpus_server import CorpusServer, serving
from training.commands.corpora import check, fetch
from training.corpora.check import BlobStatus, check_corpora

GOOD = "Breast\tB-Disease\ncancer\tE-Disease\n\nrare\tO\n"
BAD = "\n\n".join(["cancer\tE-Disease", *(f"word{number} O" for number in range(9))]) + "\n"


def put(root: Path, folder: str, **splits: str) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for split, content in splits.items():
        (root / folder / f"{split}.tsv").write_text(content, encoding="utf-8")


def test_a_sound_corpus_of_the_users_own(tmp_path: Path) -> None:
    put(tmp_path, "mine", train=GOOD, devel=GOOD)
    (report,) = check_corpora(tmp_path, ["mine"])
    assert report.trainable
    assert not report.broken
    (train, _) = report.files
    assert (train.sentences, train.mentions, train.scheme) == (2, 1, "IOBES")
    assert train.blob_status == BlobStatus.UNKNOWN


def test_counts_that_are_not_the_published_ones_make_a_known_corpus_broken(
    tmp_path: Path,
) -> None:
    put(tmp_path, "NCBI-disease-IOBES", train=GOOD, devel=GOOD, test=GOOD)
    (report,) = check_corpora(tmp_path)
    assert report.broken
    assert not report.trainable
    assert report.files[0].difference == (
        "2 sentences, published 5,424; 1 mentions, published 5,134"
    )
    assert report.files[0].blob_status == BlobStatus.DIFFERS


def test_missing_files_make_a_known_corpus_broken(tmp_path: Path) -> None:
    put(tmp_path, "BC4CHEMD-IOBES", train=GOOD.replace("Disease", "Chemical"))
    (report,) = check_corpora(tmp_path)
    assert report.missing == ("devel.tsv", "test.tsv")
    assert report.broken
    assert not report.trainable


def test_every_problem_is_counted_and_the_first_few_named(tmp_path: Path) -> None:
    put(tmp_path, "mine", train=BAD)
    (report,) = check_corpora(tmp_path, ["mine"])
    (train,) = report.files
    assert train.problem_count == 10
    assert [problem.line for problem in train.problems] == [1, 3, 5, 7, 9]
    assert report.broken


def test_an_empty_file_is_a_problem(tmp_path: Path) -> None:
    put(tmp_path, "BC2GM-IOBES", train="")
    (report,) = check_corpora(tmp_path)
    assert report.files[0].problems[0].reason == "no sentence: the file is empty"


@pytest.mark.parametrize(
    ("kind", "named"), [("folder", "a folder"), ("pipe", "a pipe"), ("link", "a link to nowhere")]
)
def test_what_is_called_like_a_file_and_is_none_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, named: str
) -> None:
    put(tmp_path, "mine", train=GOOD)
    path = tmp_path / "mine" / "devel.tsv"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    assert check(["--data", str(tmp_path), "--corpus", "mine"]) == 1
    assert f"{path}, line 1: {named}, where a file was expected" in capsys.readouterr().out


def test_what_an_own_corpus_lacks_for_training_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "mine", test=GOOD)
    assert check(["--data", str(tmp_path), "--corpus", "mine"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "mine: cannot be trained on: no train.tsv and no devel.tsv in" in said


def test_nothing_to_check_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no known corpus lies under"):
        check_corpora(tmp_path)


def test_the_command_prints_why_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "mine", train=BAD, devel=GOOD)
    put(tmp_path, "sound", train=GOOD, devel=GOOD)
    words = ["--data", str(tmp_path), "--corpus", "mine,sound,nowhere"]
    assert check([*words, "--json", str(tmp_path / "report.json")]) == 1
    printed = capsys.readouterr().out
    path = tmp_path / "mine" / "train.tsv"
    assert f"{path}, line 3: no tab: expected a word, a tab and a tag, got 'word0 O'" in printed
    assert f"{path}: and 5 more" in printed
    assert "Can be trained on: sound." in printed
    assert "no corpus 'nowhere'" in printed
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["corpora"]
    assert report["mine"]["broken"]
    assert not report["mine"]["trainable"]
    assert report["mine"]["files"]["train"]["problem_count"] == 10
    assert report["mine"]["files"]["train"]["problems"][1] == {
        "file": str(path),
        "line": 3,
        "reason": "no tab: expected a word, a tab and a tag, got 'word0 O'",
    }
    assert report["sound"]["trainable"]


def test_a_sound_corpus_exits_with_0_and_json_alone_on_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "sound", train=GOOD, devel=GOOD)
    assert check(["--data", str(tmp_path), "--corpus", "sound", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["corpora"]["sound"]["broken"] is False


def test_a_missing_data_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such folder"):
        check(["--data", str(tmp_path / "nowhere")])


def test_the_fetch_command_says_what_it_could_not_get(tmp_path: Path) -> None:
    words = ["--corpus", "ncbi-disease", "--to", str(tmp_path)]
    with serving(CorpusServer({})) as server, pytest.raises(PubnerError, match="404"):
        fetch([*words, "--base-url", server.url])


def test_the_fetch_command_keeps_what_is_there(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Real files, so that the catalogue's digests hold.
    source = data / "corpora" / "NCBI-disease-IOBES"
    files = {f"/NCBI-disease-IOBES/{path.name}": path.read_bytes() for path in source.iterdir()}
    words = ["--corpus", "ncbi-disease", "--to", str(tmp_path), "--json", "-"]
    for status in ("fetched", "present"):
        with serving(CorpusServer(files)) as server:
            assert fetch([*words, "--base-url", server.url]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert [file["status"] for file in printed["files"]] == [status] * 3
    assert check(["--data", str(tmp_path)]) == 0
    assert "Can be trained on: ncbi-disease." in capsys.readouterr().out


def test_an_unknown_corpus_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(SettingsError, match="no corpus 'nonsense' is known"):
        fetch(["--corpus", "nonsense"])
