"""The check for retired words."""

from pathlib import Path

from tests.wording import load_words, problems

RETIRED = "".join(("a", "new"))


def test_a_retired_word_is_found_with_its_line_and_what_to_write(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text(f"All is well.\nBlocks are made {RETIRED} here; renewal and news are fine.\n")
    [line] = problems([file], load_words())
    assert line.startswith(f"{file}:2: {RETIRED!r}: write ")
