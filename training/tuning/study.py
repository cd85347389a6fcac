"""The study of a search: an SQLite file that several processes share.

Every access holds one lock file, so SQLite never has two concurrent writers. The process of a trial
holds the trial's own lock file; a running trial whose lock is free was killed, and its values are
queued again. (Optuna's heartbeats would need a thread and a timeout.)
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import DatabaseError

from schemas.errors import OutputError, SettingsError
from training.tuning.names import PRUNERS, STUDY_FILE
from worker.system.locks import HeldLock, exclusive, try_hold

FAILURE = "failure"
"""The user attribute that holds the reason why a trial failed."""

_IDENTITY = "identity"
_RETRY_OF = "retry_of"
_NAME = "pubner tune"
_TRIALS = ".trials"
_SQLITE_WAIT = 60.0
"""Seconds to wait for another program that reads the file without pubner's lock."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenTrial:
    """A trial that this process runs: Optuna's trial, the folder of its states, its lock."""

    trial: Trial
    folder: Path
    lock: HeldLock


def make_pruner(name: str, *, startup_trials: int, epochs: int) -> BasePruner:
    """Return a pruner for trials that report after each epoch.

    `median` ends a trial that is below the median of the others at the same epoch, from the second
    epoch on (in the first the learning rate is still high, and scores are not indicative);
    `hyperband` is Li et al. 2018.

    :param startup_trials: the number of first trials that `median` never prunes
    :param epochs: the maximum number of epochs of a trial
    :raises SettingsError: if there is no such pruner.
    """
    if name == "median":
        return MedianPruner(n_startup_trials=startup_trials, n_warmup_steps=2)
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=epochs)
    if name == "none":
        return NopPruner()
    raise SettingsError(f"no pruner {name!r}: expected one of {', '.join(PRUNERS)}")


class SharedStudy:
    """A study in `folder`, opened by one of possibly several processes."""

    def __init__(
        self,
        folder: Path,
        *,
        identity: Mapping[str, Any],
        space: dict[str, BaseDistribution],
        start: Mapping[str, float],
        seed: int,
        startup_trials: int,
        pruner: BasePruner,
    ) -> None:
        """Open or create the study, with `start` (values within the space) as the first trial.

        :raises OutputError: if the file cannot be used, or holds trials of another identity.
        """
        self.folder = folder
        self._space = space
        self._seed = seed
        self._startup_trials = startup_trials
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            (folder / _TRIALS).mkdir(parents=True, exist_ok=True)
            with self.locked():
                self._study, storage = _open(folder / STUDY_FILE, pruner)
                whose = json.loads(json.dumps(identity))
                if self._study.user_attrs.get(_IDENTITY) != whose and self._holds_nothing():
                    # Left by a failed start: no results of another search are lost.
                    optuna.delete_study(study_name=_NAME, storage=storage)
                    self._study, _ = _open(folder / STUDY_FILE, pruner)
                self._check(whose)
                if not self._study.get_trials(deepcopy=False):
                    self._study.enqueue_trial(dict(start))
        except OSError as error:
            raise OutputError(
                f"the output folder {folder} cannot be written: {error.strerror}; "
                "name another --output"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the study."""
        with exclusive(self.folder / f".{STUDY_FILE}.lock"):
            yield

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number, except waiting ones."""
        with self.locked():
            found = self._study.get_trials()
        return [trial for trial in found if trial.state != TrialState.WAITING]

    def begin_trial(self, limit: int) -> OpenTrial | None:
        """Begin the next trial, or return None if `limit` trials are done or running.

        Values of a killed trial are queued again, and that trial does not count. Each draw has its
        own generator, seeded by the trial's position, so that a resumed search draws the same
        values, and concurrent processes draw different ones.
        """
        with self.locked():
            self._requeue_killed()
            trials = self._study.get_trials(deepcopy=False)
            if sum(_counts(trial) for trial in trials) >= limit:
                return None
            position = sum(
                trial.state != TrialState.WAITING and _RETRY_OF not in trial.user_attrs
                for trial in trials
            )
            self._study.sampler = TPESampler(
                seed=int(np.random.SeedSequence([self._seed, position]).generate_state(1)[0]),
                n_startup_trials=self._startup_trials,
                multivariate=True,
                constant_liar=True,
            )
            trial = self._study.ask(self._space)
            lock = try_hold(self._lock_file(trial.number))
            if lock is None:
                raise OutputError(f"the lock of trial {trial.number} in {self.folder} is held")
            return OpenTrial(trial, self._state_folder(trial.number), lock)

    def report(
        self, opened: OpenTrial, epoch: int, score: float, notes: Mapping[str, Any], *, last: bool
    ) -> bool:
        """Record the score after `epoch` (from 1); return whether the trial should continue.

        :param notes: user attributes of the trial, JSON values
        :param last: whether this is the trial's last epoch, after which it is never pruned
        """
        with self.locked():
            opened.trial.report(score, epoch)
            for name, value in notes.items():
                opened.trial.set_user_attr(name, value)
            return last or not opened.trial.should_prune()

    def complete(self, opened: OpenTrial, score: float, notes: Mapping[str, Any]) -> None:
        """End a trial with its score; `notes` are user attributes, JSON values."""
        with self.locked():
            for name, value in notes.items():
                opened.trial.set_user_attr(name, value)
            self._study.tell(opened.trial, score)
        self._clear(opened)

    def prune(self, opened: OpenTrial) -> None:
        """End a trial for which `report` returned False."""
        with self.locked():
            self._study.tell(opened.trial, state=TrialState.PRUNED)
        self._clear(opened)

    def fail(self, opened: OpenTrial, reason: str) -> None:
        """End a trial whose training failed; it counts, and is not run again."""
        with self.locked():
            opened.trial.set_user_attr(FAILURE, reason)
            self._study.tell(opened.trial, state=TrialState.FAIL)
        self._clear(opened)

    def interrupt(self, opened: OpenTrial) -> None:
        """End an interrupted trial and queue its values again; it does not count."""
        with self.locked():
            self._requeue(opened.trial.number)
        self._clear(opened)

    def importance(self, seed: int) -> dict[str, float]:
        """Return each hyperparameter's fraction of the score variance, the largest first.

        By fANOVA (Hutter et al. 2014) over the completed trials.

        :raises ValueError: if there are too few, or all have the same score.
        """
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
        with self.locked():
            try:
                fractions = optuna.importance.get_param_importances(
                    self._study, evaluator=evaluator
                )
            except RuntimeError as error:
                raise ValueError(str(error)) from error
        return {name: float(share) for name, share in fractions.items()}

    def _holds_nothing(self) -> bool:
        """Whether no trial is complete or running."""
        self._requeue_killed()
        return not any(_counts(trial) for trial in self._study.get_trials(deepcopy=False))

    def _check(self, identity: dict[str, Any]) -> None:
        known = self._study.user_attrs.get(_IDENTITY)
        if known is None and not self._study.get_trials(deepcopy=False):
            self._study.set_user_attr(_IDENTITY, identity)
            return
        if known != identity:
            known = known if isinstance(known, dict) else {}
            differing = sorted(
                key for key in known.keys() | identity if known.get(key) != identity.get(key)
            )
            raise OutputError(
                f"{self.folder / STUDY_FILE} holds a search with other settings (differing: "
                f"{', '.join(differing)}); give its settings, or another --output"
            )

    def _requeue_killed(self) -> None:
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            lock = try_hold(self._lock_file(trial.number))
            if lock is not None:
                self._requeue(trial.number)
                shutil.rmtree(self._state_folder(trial.number), ignore_errors=True)
                lock.release()

    def _requeue(self, number: int) -> None:
        """Queue a trial's values, then mark it failed; in this order a kill loses nothing."""
        trials = self._study.get_trials(deepcopy=False)
        trial = trials[number]
        # Values that were queued but not yet drawn are in an attribute of Optuna.
        values = trial.system_attrs.get("fixed_params", {}) | trial.params
        queued = any(other.user_attrs.get(_RETRY_OF) == number for other in trials)
        if values and not queued and FAILURE not in trial.user_attrs:
            self._study.enqueue_trial(values, user_attrs={_RETRY_OF: number})
        self._study.tell(number, state=TrialState.FAIL)

    def _clear(self, opened: OpenTrial) -> None:
        shutil.rmtree(opened.folder, ignore_errors=True)
        opened.lock.release()

    def _lock_file(self, number: int) -> Path:
        return self.folder / _TRIALS / f"{number}.lock"

    def _state_folder(self, number: int) -> Path:
        return self.folder / _TRIALS / f"{number}"


def was_interrupted(trial: FrozenTrial) -> bool:
    """Return whether a trial failed because its process ended, not because of its values."""
    return trial.state == TrialState.FAIL and FAILURE not in trial.user_attrs


def _counts(trial: FrozenTrial) -> bool:
    return trial.state != TrialState.WAITING and not was_interrupted(trial)


def _open(path: Path, pruner: BasePruner) -> tuple[optuna.Study, RDBStorage]:
    try:
        storage = RDBStorage(
            f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": _SQLITE_WAIT}}
        )
        study = optuna.create_study(
            storage=storage,
            study_name=_NAME,
            direction="maximize",
            pruner=pruner,
            load_if_exists=True,
        )
        return study, storage
    except (DatabaseError, RuntimeError, optuna.exceptions.StorageInternalError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OutputError(
            f"{path} cannot be used as a study ({reason}); name another --output"
        ) from error
