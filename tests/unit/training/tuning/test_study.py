"""The shared study: limits, processes side by side, kills, seeds, identity; real SQLite."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner
from optuna.trial import TrialState

from schemas.errors import OutputError, SettingsError
from training.recipes.recipe import Recipe
from training.tuning.space import choose_space, distributions
from training.tuning.study import SharedStudy, make_pruner, was_interrupted

SPACE = choose_space(("learning-rate", "dropout"), Recipe("base"), corpora=1)
START = {"learning_rate": 3e-4, "dropout": 0.1}


def open_study(folder: Path, **changes: Any) -> SharedStudy:
    settings: dict[str, Any] = {
        "identity": {"encoder": "tiny", "recipe": {"seed": 13}},
        "space": distributions(SPACE),
        "start": START,
        "seed": 13,
        "startup_trials": 3,
        "pruner": NopPruner(),
    }
    return SharedStudy(folder, **(settings | changes))


def quality(values: dict[str, float]) -> float:
    """A score that training might give."""
    return 0.8 - abs(values["learning_rate"] - 2e-4) * 300 - values["dropout"] / 10


def finish(study: SharedStudy, limit: int) -> list[dict[str, float]]:
    drawn = []
    while (opened := study.begin_trial(limit)) is not None:
        drawn.append(opened.trial.params)
        study.complete(opened, quality(opened.trial.params), {})
    return drawn


def elsewhere(folder: Path, *lines: str) -> subprocess.Popen[str]:
    """Run `lines` in a process of its own, with `study` open."""
    code = [
        "import sys",
        "from pathlib import Path",
        "from tests.unit.training.tuning.test_study import finish, open_study",
        "study = open_study(Path(sys.argv[1]))",
        *lines,
    ]
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join(code), str(folder)], stdout=subprocess.PIPE, text=True
    )


def states(study: SharedStudy) -> list[TrialState]:
    return [trial.state for trial in study.trials()]


def test_the_limit_is_the_whole_studys_and_the_recipes_values_come_first(tmp_path: Path) -> None:
    first = finish(open_study(tmp_path), 3)
    assert first[0] == START
    assert len(first) == 3
    again = open_study(tmp_path)
    assert len(finish(again, 5)) == 2
    assert finish(again, 5) == []
    assert states(again) == [TrialState.COMPLETE] * 5


def test_a_search_in_two_starts_draws_what_one_start_draws(tmp_path: Path) -> None:
    whole = finish(open_study(tmp_path / "whole"), 9)
    parts: list[dict[str, float]] = []
    for limit in (1, 4, 9):
        parts += finish(open_study(tmp_path / "parts"), limit)
    assert parts == whole
    other = finish(open_study(tmp_path / "other", seed=14), 9)
    assert other[0] == whole[0]
    assert all(one != another for one, another in zip(other[1:], whole[1:], strict=True))
    assert len({json.dumps(values) for values in whole}) == 9


def test_the_search_learns_from_its_trials(tmp_path: Path) -> None:
    scores = [quality(values) for values in finish(open_study(tmp_path), 20)]
    assert sum(scores[-6:]) > sum(scores[1:7])


def test_processes_side_by_side_share_the_limit_and_draw_apart(tmp_path: Path) -> None:
    workers = [elsewhere(tmp_path, "print(len(finish(study, 8)))") for _ in range(2)]
    counts = [int(worker.communicate(timeout=120)[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert sum(counts) == 8
    trials = open_study(tmp_path).trials()
    assert len(trials) == 8
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len({json.dumps(trial.params) for trial in trials}) == 8


def test_what_a_living_process_runs_is_its_own_and_what_a_killed_one_ran_is_run_again(
    tmp_path: Path,
) -> None:
    worker = elsewhere(
        tmp_path, "opened = study.begin_trial(9)", "print(opened.trial.params, flush=True)",
        "opened.folder.mkdir()", "print(flush=True)", "sys.stdin.read()",
    )  # fmt: skip
    assert worker.stdout is not None
    assert worker.stdout.readline().strip() == str(START)
    worker.stdout.readline()
    study = open_study(tmp_path)
    assert study.begin_trial(1) is None, "a running trial counts"
    opened = study.begin_trial(2)
    assert opened is not None
    assert opened.trial.params != START
    study.complete(opened, 0.5, {})
    worker.send_signal(signal.SIGKILL)
    worker.communicate(timeout=60)
    assert finish(open_study(tmp_path), 2) == [START]
    found = open_study(tmp_path).trials()
    assert [trial.state.name for trial in found] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert was_interrupted(found[0])
    assert list((tmp_path / ".trials").iterdir()) == [], "neither states nor locks are left"


def test_interrupted_again_and_again_the_values_are_queued_once(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    for _ in range(3):
        opened = study.begin_trial(1)
        assert opened is not None
        assert opened.trial.params == START
        opened.folder.mkdir()
        study.interrupt(opened)
        assert not opened.folder.exists()
    undisturbed = finish(open_study(tmp_path / "undisturbed"), 6)
    assert finish(study, 6) == undisturbed, "interruptions change no draw"
    assert len([trial for trial in study.trials() if was_interrupted(trial)]) == 3


def test_a_kill_between_queueing_and_marking_queues_nothing_twice(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    opened = study.begin_trial(5)
    assert opened is not None
    # The first half of `interrupt`, and then the process is gone.
    study._study.enqueue_trial(START, user_attrs={"retry_of": opened.trial.number})
    os.close(opened.lock.descriptor)
    assert [values == START for values in finish(study, 3)] == [True, False, False]


def test_a_diverged_trial_counts_and_is_not_run_again(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    opened = study.begin_trial(2)
    assert opened is not None
    study.fail(opened, "diverged")
    assert len(finish(study, 2)) == 1
    assert states(study) == [TrialState.FAIL, TrialState.COMPLETE]
    assert not was_interrupted(study.trials()[0])


def test_a_study_without_an_ended_trial_gives_way_to_other_settings(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    opened = study.begin_trial(2)
    assert opened is not None
    other = {"encoder": "other", "recipe": {"seed": 13}}
    with pytest.raises(OutputError, match="differing: encoder"):
        open_study(tmp_path, identity=other)  # a trial runs
    study.interrupt(opened)
    again = open_study(tmp_path, identity=other)
    assert again.trials() == []
    assert len(finish(again, 1)) == 1
    with pytest.raises(OutputError, match="differing: encoder"):
        open_study(tmp_path)


@pytest.mark.parametrize(
    ("identity", "differing"),
    [
        ({"encoder": "other", "recipe": {"seed": 13}}, "encoder"),
        ({"encoder": "tiny", "recipe": {"seed": 14}}, "recipe"),
        ({"encoder": "tiny"}, "recipe"),
        ({"encoder": "big", "recipe": {"seed": 13}, "space": {}}, "encoder, space"),
    ],
)
def test_a_study_of_other_settings_is_refused(
    tmp_path: Path, identity: dict[str, Any], differing: str
) -> None:
    open_study(tmp_path)
    assert len(finish(open_study(tmp_path), 1)) == 1
    with pytest.raises(OutputError, match=rf"\(differing: {differing}\)"):
        open_study(tmp_path, identity=identity)


def test_a_file_that_is_no_study_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("no database " * 100)
    with pytest.raises(OutputError, match="cannot be used as a study") as refused:
        open_study(tmp_path)
    assert "\n" not in str(refused.value)


def test_an_output_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        open_study(tmp_path / "file" / "study")


def run_curve(study: SharedStudy, curve: Sequence[float], limit: int = 99) -> int:
    """Report a curve of scores; return how many epochs were run."""
    opened = study.begin_trial(limit)
    assert opened is not None
    for epoch, score in enumerate(curve, 1):
        if not study.report(opened, epoch, score, {}, last=epoch == len(curve)):
            study.prune(opened)
            return epoch
    study.complete(opened, max(curve), {})
    return len(curve)


def test_the_median_pruner_ends_a_weak_trial_behind_its_second_epoch(tmp_path: Path) -> None:
    study = open_study(tmp_path, pruner=make_pruner("median", startup_trials=2, epochs=4))
    assert run_curve(study, (0.1, 0.1, 0.1, 0.1)) == 4, "nothing to compare with yet"
    assert run_curve(study, (0.5, 0.6, 0.7, 0.8)) == 4
    assert run_curve(study, (0.0, 0.0, 0.9, 0.9)) == 2, "behind the first epoch none is ended"
    assert run_curve(study, (0.0, 0.9, 0.9, 0.9)) == 4
    assert run_curve(study, (0.0, 0.0)) == 2
    assert [state.name for state in states(study)] == [
        "COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "COMPLETE",
    ]  # fmt: skip
    assert study.trials()[2].value == 0.0


def test_hyperband_ends_weak_trials_and_none_ends_none(tmp_path: Path) -> None:
    strong, weak = (0.5,) * 9, (0.1,) * 9
    curves = [strong if number % 2 else weak for number in range(9)]
    band = open_study(
        tmp_path / "band", pruner=make_pruner("hyperband", startup_trials=2, epochs=9)
    )
    run = [run_curve(band, curve) for curve in curves]
    assert min(run) < 9
    assert max(run) == 9
    full = open_study(tmp_path / "full", pruner=make_pruner("none", startup_trials=2, epochs=9))
    assert {run_curve(full, curve) for curve in curves[:4]} == {9}


def test_pruners_have_names() -> None:
    kinds = {"median": MedianPruner, "hyperband": HyperbandPruner, "none": NopPruner}
    for name, kind in kinds.items():
        assert type(make_pruner(name, startup_trials=2, epochs=1)) is kind
    with pytest.raises(SettingsError, match="expected one of median, hyperband, none"):
        make_pruner("axe", startup_trials=2, epochs=1)


def test_importance_tells_what_matters_and_needs_scores_that_differ(tmp_path: Path) -> None:
    study = open_study(tmp_path / "dropout")
    flat = open_study(tmp_path / "flat")
    for _ in range(8):
        opened, level = study.begin_trial(99), flat.begin_trial(99)
        assert opened is not None
        assert level is not None
        study.complete(opened, 0.9 - opened.trial.params["dropout"], {})
        flat.complete(level, 0.5, {})
    shares = study.importance(13)
    assert next(iter(shares)) == "dropout"
    assert shares["dropout"] > 0.8
    assert sum(shares.values()) == pytest.approx(1.0)
    assert study.importance(13) == shares
    with pytest.raises(ValueError, match="variance"):
        flat.importance(13)


def test_importing_the_study_needs_no_plots_and_no_torch() -> None:
    code = """
        import sys
        import training.tuning.study
        print([name for name in ("matplotlib", "torch") if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
