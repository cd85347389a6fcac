"""The record of a retraining round: its frozen options, and the result of each step.

`round.json` in the round's folder holds the options the round was started with, `steps/NAME.json`
the inputs and result of a finished step. Each is written atomically, so that a killed round knows
which steps are done.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import LockedError, TrainingError
from worker.cli.command import write_json
from worker.system.locks import exclusive

ROUND, STEPS, RECIPE, CHECKPOINT = "round.json", "steps", "recipe.json", "checkpoint"
_LOCK = ".lock"
_CHECK = "check"
_OWN = (ROUND, STEPS, RECIPE, CHECKPOINT)


@dataclass(frozen=True, slots=True)
class Round:
    """A round in its folder; `given` holds the options that may not change within it."""

    folder: Path
    given: Mapping[str, Any]

    @property
    def checkpoint(self) -> Path:
        """The folder in which the checkpoint is trained."""
        return self.folder / CHECKPOINT

    @property
    def recipe(self) -> Path:
        """The JSON file with the recipe of the round."""
        return self.folder / RECIPE

    def begun(self) -> dict[str, Any] | None:
        """Return the values recorded at the start of the round; None if it has not started.

        The record of a round with other settings in which nothing was trained yet, as left by a
        failed start, is discarded.

        :raises TrainingError: if it was started with other settings, or its record is damaged.
        """
        found = self._read(self.folder / ROUND)
        if found is None:
            return None
        known = found.get("given")
        now = json.loads(json.dumps(self.given))
        if known != now and not self.holds_work():
            _clear(self.folder)
            return None
        if known != now:
            was = known if isinstance(known, dict) else {}
            differing = [name for name in now if was.get(name) != now[name]]
            raise TrainingError(
                f"{self.folder} holds a round with other settings (differing: "
                f"{', '.join(f'--{name}' for name in differing) or 'their names'}); give those, "
                "another --output, or --restart"
            )
        return dict(found["begun"])

    def holds_work(self) -> bool:
        """Whether a step after the corpora check is done, or training has saved a state."""
        steps = {path.stem for path in (self.folder / STEPS).glob("*.json")} - {_CHECK}
        trained = self.checkpoint.rglob("*")
        return bool(steps) or any(path.suffix == ".safetensors" for path in trained)

    def begin(self, begun: Mapping[str, Any]) -> None:
        """Record the values that are fixed for the round."""
        self._write(self.folder / ROUND, {"given": self.given, "begun": begun})

    def done(self, step: str, given: object) -> dict[str, Any] | None:
        """Return the result of a finished step; None if it is not done, or had other inputs.

        :raises TrainingError: if its record is damaged.
        """
        found = self._read(self.folder / STEPS / f"{step}.json")
        if found is None or found.get("given") != json.loads(json.dumps(given)):
            return None
        return dict(found["result"])

    def given_to(self, step: str) -> object:
        """Return the inputs of a finished step; None if it is not done."""
        found = self._read(self.folder / STEPS / f"{step}.json")
        return None if found is None else found.get("given")

    def end(self, step: str, given: object, result: Mapping[str, Any]) -> None:
        """Record that a step is done."""
        self._write(self.folder / STEPS / f"{step}.json", {"given": given, "result": result})

    def _write(self, path: Path, value: object) -> None:
        write_json(value, str(path))

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"the record {path} cannot be read ({error}); start the round again with --restart"
            ) from error
        if not isinstance(found, dict):
            raise TrainingError(f"the record {path} is no JSON object; start again with --restart")
        return found


@contextmanager
def open_round(folder: Path, given: Mapping[str, Any], *, restart: bool) -> Iterator[Round]:
    """Open a round's folder under an exclusive lock; with `restart` its content is removed first.

    :raises TrainingError: if the folder cannot be made, holds anything but a round, or another
        process works in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"the folder {folder} cannot be made: {error.strerror}; name another --output"
        ) from error
    lock = exclusive(folder / _LOCK, wait_seconds=0)
    with ExitStack() as stack:
        try:
            stack.enter_context(lock)
        except LockedError as error:
            raise TrainingError(
                f"process {error.holder} works on the round in {folder}; wait until it ends"
            ) from error
        others = [
            path.name
            for path in folder.iterdir()
            if path.name != RECIPE and not path.name.startswith(".")
        ]
        if others and not (folder / ROUND).is_file():
            raise TrainingError(
                f"--output {folder} holds {others[0]!r}, and no round; name another folder"
            )
        if restart:
            _clear(folder)
        yield Round(folder, given)


def _clear(folder: Path) -> None:
    """Remove the files of a round, and nothing else; its record last."""
    for name in reversed(_OWN):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
