"""A wrong option, path or checkpoint is one clear line and exit code 2."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pubner import cli
from tests.support.annotating import annotate, article, articles, check_output, pubmed_xml
from tests.support.commands import run_pubner


@pytest.fixture
def complain(
    tmp_path: Path, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run `pubner annotate` in this process and return the one line that it complains with."""

    def run(*words: str, command: str = "annotate") -> str:
        defaults = [f"--output={tmp_path / 'out'}", f"--checkpoint={checkpoint}"]
        given = {word.partition("=")[0] for word in words}
        extra = [word for word in defaults if word.partition("=")[0] not in given]
        if command != "annotate":
            extra = []
        capfd.readouterr()
        assert cli.main([*command.split(), *extra, *words]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        assert err.startswith("pubner: ")
        return err

    return run


def altered(checkpoint: Path, folder: Path) -> Path:
    return Path(shutil.copytree(checkpoint, folder))


def test_options_and_paths(tmp_path: Path, complain: Callable[..., str]) -> None:
    source = str(pubmed_xml(tmp_path / "a.xml", articles(1)))
    twin = tmp_path / "twin" / "a.xml"
    twin.parent.mkdir()
    shutil.copy(source, twin)
    (tmp_path / "odd.txt").write_text("")
    assert "--blok-size" in complain(source, "--blok-size=1")
    assert "--block-size '0'" in complain(source, "--block-size=0")
    assert "--device 'gpu'" in complain(source, "--device=gpu")
    assert "missing.xml" in complain(str(tmp_path / "missing.xml"))
    assert "no input at" in complain(str(tmp_path / "*.json"))
    assert "two inputs are called 'a.xml'" in complain(source, str(twin))
    assert "odd.txt" in complain(str(tmp_path / "odd.txt"))
    assert "unknown runner 'Spork'" in complain(source, "--runner=Spork")
    assert "'--no_such_option'" in complain(source, "--", "--no_such_option")
    assert "invalid int value: 'x'" in complain(source, "--", "--direct_num_workers=x")
    assert not (tmp_path / "out").exists()


def test_clusters(tmp_path: Path, complain: Callable[..., str]) -> None:
    source = str(pubmed_xml(tmp_path / "a.xml", articles(1)))
    assert "region" in complain(source, "--runner=DataflowRunner")
    nobody = ["--job_endpoint=localhost:1", "--job_server_timeout=1"]
    line = complain(source, "--runner=PortableRunner", "--", *nobody, "--environment_type=LOOPBACK")
    assert "--job_endpoint localhost:1: nothing answers" in line
    assert check_output(tmp_path / "out")["citations"] == []


def test_outputs(tmp_path: Path, complain: Callable[..., str], checkpoint: Path) -> None:
    source = str(pubmed_xml(tmp_path / "a.xml", articles(1)))
    (tmp_path / "file").write_text("")
    assert "it is a file; name a folder" in complain(source, f"--output={tmp_path / 'file'}")
    assert "cannot write" in complain(source, "--output=/proc/no-such-folder/out")
    assert "expected a folder" in complain(source, "--output=")
    annotate([source], tmp_path / "out", checkpoint)
    assert "block size 5, and this run 6" in complain(source, "--block-size=6")
    assert "/dev/full" in complain(source, "--block-size=5", "--json=/dev/full")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder(tmp_path: Path, complain: Callable[..., str]) -> None:
    source = str(pubmed_xml(tmp_path / "a.xml", articles(1)))
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    assert "Permission denied" in complain(source, f"--output={folder}")


def test_checkpoints(
    tmp_path: Path, complain: Callable[..., str], checkpoint: Path, other_checkpoint: Path
) -> None:
    source = str(pubmed_xml(tmp_path / "a.xml", articles(1)))

    def refused(path: object) -> str:
        line = complain(source, f"--checkpoint={path}")
        assert str(path) in complain(str(path), command="checkpoint show")
        return line

    assert "no checkpoint at" in refused(tmp_path / "missing")
    assert "no manifest.json" in refused(tmp_path)

    changed = altered(checkpoint, tmp_path / "changed")
    weights = bytearray((changed / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (changed / "model.safetensors").write_bytes(weights)
    assert "model.safetensors differs from the manifest" in refused(changed)

    edited = altered(checkpoint, tmp_path / "edited")
    manifest = json.loads((edited / "manifest.json").read_text())
    manifest["tasks"].append({"name": "jnlpba", "labels": manifest["tasks"][0]["labels"]})
    (edited / "manifest.json").write_text(json.dumps(manifest))
    assert "the manifest's id" in refused(edited)

    same = altered(checkpoint, tmp_path / "same")
    line = complain(source, f"--checkpoint={checkpoint}", f"--checkpoint={same}")
    assert "both have the head" in line
    line = complain(source, f"--checkpoint={checkpoint},{checkpoint}")
    assert "given twice" in line
    assert not (tmp_path / "out").exists()


def test_a_manifest_that_names_a_head_the_weights_lack(
    tmp_path: Path, complain: Callable[..., str], checkpoint: Path
) -> None:
    """Digests and id are made to agree, so that only the loaded weights contradict."""
    from schemas.manifest import CheckpointManifest, content_id

    folder = altered(checkpoint, tmp_path / "headless")
    values = json.loads((folder / "manifest.json").read_text())
    labels = values["tasks"][0]["labels"]
    values["tasks"].append({"name": "jnlpba", "labels": labels})
    manifest = CheckpointManifest.model_validate(values)
    values["id"] = content_id(
        manifest.files,
        manifest.tasks,
        letter_case=manifest.letter_case,
        max_pieces=manifest.max_pieces,
        calibration=manifest.calibration,
    )
    (folder / "manifest.json").write_text(json.dumps(values))
    source = str(pubmed_xml(tmp_path / "a.xml", articles(1)))
    line = complain(source, f"--checkpoint={folder}", "--threads=1")
    assert "head" in line
    assert str(folder) in line


def test_an_error_inside_the_pipeline_is_one_line_and_what_is_in_place_stays(
    tmp_path: Path, checkpoint: Path
) -> None:
    """Files over a size limit fail as those on a full disk do."""
    wide = [article(number, "gene " * 4000, "cell " * 4000) for number in range(10, 14)]
    source = pubmed_xml(tmp_path / "a.xml", [*articles(10), *wide])
    out = tmp_path / "out"
    words = ["annotate", str(source), f"--output={out}", f"--checkpoint={checkpoint}"]
    words += ["--threads=1", "--block-size=5"]
    full = run_pubner(tmp_path / "log", *words, largest_file=40_000)
    assert full.code == 2
    assert "cannot write" in full.one_line
    assert "a.xml-0-000000000010" in full.one_line
    assert "same command again" in full.one_line
    assert full.out == ""
    assert [row["pmid"] for row in check_output(out)["citations"]] == list(range(1, 11))
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "citations").iterdir()}
    assert run_pubner(tmp_path / "log", *words).code == 0
    assert len(check_output(out)["citations"]) == 14
    after = {path.name: path.stat().st_mtime_ns for path in (out / "citations").iterdir()}
    assert {name: after[name] for name in kept} == kept


def test_checkpoint_show(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["checkpoint", "show", str(checkpoint), "--json=-"]) == 0
    shown = json.loads(capsys.readouterr().out)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    assert shown == {**manifest, "path": str(checkpoint)}
    assert [task["name"] for task in shown["tasks"]] == ["ncbi-disease", "bc2gm"]
    file = tmp_path / "a" / "show.json"
    assert cli.main(["checkpoint", "show", str(checkpoint), f"--json={file}"]) == 0
    assert json.loads(file.read_text()) == shown
    text = capsys.readouterr().out
    for part in (shown["id"], str(checkpoint), "head bc2gm", "GENE"):
        assert part in text
