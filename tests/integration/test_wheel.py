"""The wheel: it builds, holds what it needs, and runs away from the tree."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from tests.support.root import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_code_the_checkpoint_and_the_sample_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "pubner/py.typed",
        "pubner/shells/completion.bash",
        "worker/default_checkpoint/manifest.json",
        "worker/default_checkpoint/model.safetensors",
        "worker/default_checkpoint/MODEL_CARD.md",
        "pipelines/sample/pubner-sample.xml",
        "schemas/citation-message.schema.json",
        "schemas/newest.sql",
        "training/evaluation/templates/errors.html.j2",
        "training/evaluation/templates/errors.css",
        "training/gate/templates/gate.html.j2",
        "training/gate/templates/gate.css",
        "training/reports/templates/page.html.j2",
        "training/reports/templates/page.css",
        "training/corpora/known/bc2gm.toml",
    ):
        assert needed in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "pubner", "schemas", "worker", "pipelines", "training",
    }  # fmt: skip
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert wheel.stat().st_size < 60_000_000


_SCRIPT = """
from collections.abc import Sequence

import pyarrow as pa

import pubner


def names(texts: Sequence[str]) -> list[str]:
    tagger: pubner.Tagger = pubner.load("default", device="cpu")
    kinds: list[str] = [m.entity_type for d in tagger.annotate(texts) for m in d.mentions]
    return kinds


def table(path: str) -> pa.Table:
    for record in pubner.read(path):
        if isinstance(record, pubner.DeadLetter):
            print(record.error)
        else:
            print(record.pmid, record.title)
    result: pubner.AnnotateResult = pubner.annotate(path, output="out", block_size=10)
    try:
        return pubner.open_output(result.output).mentions(where="score > 0.9", preferred=True)
    except pubner.PubnerError as error:
        raise SystemExit(str(error)) from error


registry = pubner.Registry("checkpoints")
active: str | None = registry.active()
frame = pubner.to_pandas(pubner.load(active or "default").annotate(["a text"]))
reveal_type(pubner.load("default").annotate(["a"])[0].mentions[0].score)
"""


_MYPY = """
[mypy]
strict = True

[mypy-pyarrow.*]
ignore_missing_imports = True

# What pubner's own modules import of these does not reach a user, and takes minutes to read.
[mypy-torch.*,transformers.*,apache_beam.*]
follow_imports = skip
"""


def test_a_users_script_passes_strict_typing_against_the_wheel(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    [site] = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    (site / "dependencies.pth").write_text(f"{Path(pa.__file__).parent.parent}\n")
    (tmp_path / "script.py").write_text(_SCRIPT)
    (tmp_path / "mypy.ini").write_text(_MYPY)
    interpreter = f"--python-executable={tmp_path / 'venv' / 'bin' / 'python'}"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mypy", interpreter, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert 'Revealed type is "float"' in done.stdout.replace("builtins.", "")


def test_the_wheels_command_annotates_with_the_shipped_checkpoint(
    wheel: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    # The tree is not on the path: what runs is what the wheel holds, beside its dependencies.
    run = (
        f"import sys; sys.path.insert(0, {str(site)!r}); from pubner import cli; "
        "assert cli.__file__.startswith(sys.path[0]), cli.__file__; sys.exit(cli.main())"
    )
    summary = tmp_path / "summary.json"
    done = subprocess.run(
        [sys.executable, "-P", "-c", run, "annotate", "--output", "out", "--json", str(summary)],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith("PUBNER_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(summary.read_text())
    assert found["citations"] >= 20
    assert set(found["mentions"]) == {"ncbi-disease", "bc5cdr", "bc2gm", "jnlpba"}
    assert min(found["mentions"].values()) > 0
    assert found["dead_letters"] == 0
