import json
from pathlib import Path

import pytest

from schemas.errors import TrainingError
from training.retraining.record import CHECKPOINT, ROUND, open_round

GIVEN = {"recipe": "compact", "seed": None, "corpus": ["ncbi-disease"]}


def test_a_round_remembers_what_it_was_begun_with_and_its_steps(tmp_path: Path) -> None:
    with open_round(tmp_path / "a" / "round", GIVEN, restart=False) as one:
        assert one.begun() is None
        one.begin({"active": "x"})
        assert one.done("check", {"file": "1"}) is None
        one.end("check", {"file": "1"}, {"sound": True})
    with open_round(tmp_path / "a" / "round", GIVEN, restart=False) as again:
        assert again.begun() == {"active": "x"}
        assert again.done("check", {"file": "1"}) == {"sound": True}
        assert again.done("check", {"file": "2"}) is None
        assert again.given_to("check") == {"file": "1"}
        assert again.given_to("train") is None


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    with open_round(tmp_path, GIVEN, restart=False) as one:
        one.begin({})
        one.end("train", {}, {})
    with (
        open_round(tmp_path, {**GIVEN, "seed": 3, "recipe": "short"}, restart=False) as other,
        pytest.raises(TrainingError, match=r"differing: --recipe, --seed"),
    ):
        other.begun()


def test_a_state_of_training_is_held_too(tmp_path: Path) -> None:
    with open_round(tmp_path, GIVEN, restart=False) as one:
        one.begin({})
        one.end("check", {}, {})
        (one.checkpoint / ".training-state").mkdir(parents=True)
        (one.checkpoint / ".training-state" / "state-7.safetensors").write_bytes(b"")
    with (
        open_round(tmp_path, {**GIVEN, "seed": 3}, restart=False) as other,
        pytest.raises(TrainingError, match="differing: --seed"),
    ):
        other.begun()


def test_a_round_in_which_nothing_was_trained_gives_way_to_other_settings(tmp_path: Path) -> None:
    with open_round(tmp_path, GIVEN, restart=False) as one:
        one.begin({"encoder": "typo"})
        one.end("check", {"file": "1"}, {"sound": True})
        one.checkpoint.mkdir()
    with open_round(tmp_path, {**GIVEN, "seed": 3}, restart=False) as other:
        assert other.begun() is None
        assert other.done("check", {"file": "1"}) is None
        other.begin({"encoder": "right"})
        assert other.begun() == {"encoder": "right"}


def test_restart_throws_away_the_round_and_nothing_else(tmp_path: Path) -> None:
    with open_round(tmp_path, GIVEN, restart=False) as one:
        one.begin({})
        one.end("check", {}, {})
        one.checkpoint.mkdir()
        (one.checkpoint / "manifest.json").write_text("{}")
        (tmp_path / "notes.txt").write_text("mine")
    with open_round(tmp_path, {"recipe": "other"}, restart=True) as again:
        assert again.begun() is None
        assert not (tmp_path / CHECKPOINT).exists()
        assert again.done("check", {}) is None
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_restart_leaves_alone_what_is_no_round(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).mkdir()
    with (
        pytest.raises(TrainingError, match=f"holds '{CHECKPOINT}', and no round"),
        open_round(tmp_path, GIVEN, restart=True),
    ):
        pass
    assert (tmp_path / CHECKPOINT).is_dir()


def test_what_was_broken_off_before_the_round_was_recorded_is_no_hindrance(tmp_path: Path) -> None:
    with open_round(tmp_path, GIVEN, restart=False) as one:
        one.recipe.write_text("{}")
    with open_round(tmp_path, GIVEN, restart=False) as again:
        assert again.begun() is None


def test_two_at_a_time_do_not_meet(tmp_path: Path) -> None:
    with (
        open_round(tmp_path, GIVEN, restart=False),
        pytest.raises(TrainingError, match="works on the round"),
        open_round(tmp_path, GIVEN, restart=True),
    ):
        pass


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_record_is_told_with_the_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / ROUND).write_text(content)
    with (
        open_round(tmp_path, GIVEN, restart=False) as one,
        pytest.raises(TrainingError, match="--restart"),
    ):
        one.begun()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(TrainingError, match="name another --output"),
        open_round(tmp_path / "file", GIVEN, restart=False),
    ):
        pass


def test_records_are_json_for_people_too(tmp_path: Path) -> None:
    with open_round(tmp_path, GIVEN, restart=False) as one:
        one.begin({"active": None})
    assert json.loads((tmp_path / ROUND).read_text()) == {"given": GIVEN, "begun": {"active": None}}
