"""What of an error survives where a runner passes it on as text."""

import ast
from pathlib import Path

import pytest

import schemas.errors
from schemas.errors import (
    BrokerError,
    InputError,
    LockedError,
    OutputError,
    PubnerError,
    error_from_runner,
    family,
)
from tests.support.root import ROOT


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            "Traceback (most recent call last):\n  File ...\nschemas.errors.OutputError: "
            "no room in 'a: b' [while running 'Write/ParDo']\n",
            OutputError,
            "no room in 'a: b'",
        ),
        (
            "schemas.errors.InputError: first\nDuring handling ...\nRuntimeError: "
            "schemas.errors.LockedError: process 3 holds it [while running 'Write']\n\n\tat java",
            LockedError,
            "process 3 holds it",
        ),
        ("schemas.errors.BrokerError: no answer", BrokerError, "no answer"),
        ("schemas.errors.InputError: ", InputError, ""),
    ],
)
def test_the_last_error_of_the_family_is_found(text: str, kind: type, message: str) -> None:
    found = error_from_runner(RuntimeError(text))
    assert type(found) is kind
    assert str(found) == message


@pytest.mark.parametrize("text", ["", "ValueError: odd", "an OutputError: or so"])
def test_other_errors_are_none(text: str) -> None:
    assert error_from_runner(RuntimeError(text)) is None


def test_the_step_behind_a_message_is_left_out() -> None:
    error: PubnerError = OutputError("no room [while running 'Write']")
    found = error_from_runner(error)
    assert (type(found), str(found)) == (OutputError, "no room")


def test_every_class_of_the_family_stands_in_one_file() -> None:
    here = Path(schemas.errors.__file__)
    names = {kind.__name__ for kind in family()}
    files: list[Path] = []
    for package in ("schemas", "worker", "pipelines", "training", "pubner"):
        files += (ROOT / package).rglob("*.py")
    assert len(files) > 100
    elsewhere = [
        (str(file), node.name)
        for file in files
        if file != here
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and names & {base.id for base in node.bases if isinstance(base, ast.Name)}
    ]
    assert elsewhere == []
