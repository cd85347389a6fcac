"""What `pubner reannotate` does before it looks at an output."""

import threading
from pathlib import Path

import pytest

from pipelines.commands.reannotate import run
from schemas.errors import SettingsError


def test_a_condition_that_takes_long_is_checked_with_progress_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pubner.json").write_text("{}")

    def parse(sql: str) -> None:
        assert "pubner-progress" in {thread.name for thread in threading.enumerate()}
        raise SettingsError(sql)

    monkeypatch.setattr("pipelines.output.sql_filter.parse_condition", parse)
    with pytest.raises(SettingsError, match="slow"):
        run([str(tmp_path), "--where=slow"])
