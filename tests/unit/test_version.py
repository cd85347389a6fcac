"""The version stands in pyproject.toml alone; the changelog's newest release is that version."""

import re
import tomllib
from datetime import date
from importlib.metadata import version

from tests.support.root import ROOT


def declared() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return str(project["project"]["version"])


def test_what_is_installed_has_the_declared_version() -> None:
    assert version("pubner") == declared()


def test_the_changelog_has_the_version_dated_below_what_is_unreleased() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    dates = []
    for heading in headings[1:]:
        found = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})", heading)
        assert found is not None, heading
        dates.append(date.fromisoformat(found[2]))
    assert headings[1].startswith(f"[{declared()}] ")
    assert dates == sorted(dates, reverse=True)


def test_no_module_states_the_version_itself() -> None:
    stated = re.compile(rf"[\"']{re.escape(declared())}[\"']")
    for package in ("pubner", "schemas", "worker", "pipelines", "training"):
        for file in (ROOT / package).rglob("*.py"):
            assert not stated.search(file.read_text("utf-8")), file
