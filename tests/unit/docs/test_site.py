"""The documentation site: every page is in its table of contents, and nothing is fetched."""

import re
from collections.abc import Iterator

import yaml

from tests.support.root import ROOT

DOCS = ROOT / "docs"
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))


def listed(entry: object) -> Iterator[str]:
    """The pages that a part of the table of contents names."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for part in entry.values():
            yield from listed(part)
    elif isinstance(entry, list):
        for part in entry:
            yield from listed(part)


def test_every_page_is_listed_once() -> None:
    pages = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
    assert sorted(listed(CONFIG["nav"])) == pages


def test_every_decision_is_listed_and_has_the_usual_form() -> None:
    index = (DOCS / "decisions" / "index.md").read_text("utf-8")
    pages = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert len(pages) > 10
    assert len({page.name[:4] for page in pages}) == len(pages)
    for page in pages:
        text = page.read_text("utf-8")
        title = text.splitlines()[0].removeprefix("# ")
        assert title.startswith(f"{page.name[:4]}. ")
        assert f"* [{title}]({page.name})\n" in index
        assert "\nStatus: " in text
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert headings[:3] == ["Context", "Decision", "Consequences"]


def test_the_site_fetches_nothing() -> None:
    assert CONFIG["theme"]["font"] is False
    assert "privacy" not in str(CONFIG["plugins"])
    for page in DOCS.rglob("*.md"):
        text = page.read_text("utf-8")
        assert "```mermaid" not in text, page
        assert not re.search(r"!\[[^]]*\]\(https?:", text), page
