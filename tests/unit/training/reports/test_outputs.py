"""Output folders: what is thrown away, what is refused, what is left alone."""

from pathlib import Path

import pytest

from schemas.errors import TrainingError
from training.reports.outputs import prepare_output
from worker.checkpoint.folder import MANIFEST

STATE = ".training-state"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder with a finished checkpoint, a state, and notes of the user's own."""
    folder = tmp_path / "out"
    (folder / STATE).mkdir(parents=True)
    for name in (MANIFEST, f"{STATE}/latest", "notes.txt"):
        (folder / name).write_text("x")
    return folder


def test_a_finished_checkpoint_is_thrown_away_only_when_asked(output: Path) -> None:
    with pytest.raises(TrainingError, match="a finished checkpoint; name another --output, or"):
        prepare_output(output, restart=False, own=(MANIFEST, STATE))
    prepare_output(output, restart=True, own=(MANIFEST, STATE, "never-there"))
    assert [path.name for path in output.iterdir()] == ["notes.txt"]


def test_a_command_that_makes_none_throws_no_checkpoint_away(output: Path) -> None:
    for restart in (False, True):
        with pytest.raises(TrainingError, match=r"name another --output$"):
            prepare_output(output, restart=restart, own=(STATE,))
    assert (output / STATE / "latest").is_file(), "nor anything else"


def test_a_state_is_kept_unless_the_run_starts_over(output: Path) -> None:
    (output / MANIFEST).unlink()
    prepare_output(output, restart=False, own=(MANIFEST, STATE))
    assert (output / STATE / "latest").is_file()
    prepare_output(output, restart=True, own=(MANIFEST, STATE))
    assert not (output / STATE).exists()


def test_a_folder_is_made_and_what_can_be_none_is_told(tmp_path: Path) -> None:
    prepare_output(tmp_path / "a" / "b", restart=True, own=(MANIFEST,))
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="is a file; name a folder"):
        prepare_output(tmp_path / "file", restart=False, own=(MANIFEST,))
    with pytest.raises(TrainingError, match="cannot be made: Not a directory; name another"):
        prepare_output(tmp_path / "file" / "below", restart=False, own=(MANIFEST,))
