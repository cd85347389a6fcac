"""The record of a retraining round: its settings, held still, and what each step gave.

`round.json` in the round's folder holds what the round was begun with, `steps/NAME.json` what a
finished step gave and what it was given. Each is written in one step, so that a round that was
killed knows which steps are done.
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
    """A round in its folder. `given` are the settings that may not change within it."""

    folder: Path
    given: Mapping[str, Any]

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint is trained."""
        return self.folder / CHECKPOINT

    @property
    def recipe(self) -> Path:
        """The recipe that the round trains by, as a JSON file."""
        return self.folder / RECIPE

    def begun(self) -> dict[str, Any] | None:
        """Return what the round was begun with; None where it was not begun.

        One of other settings in which nothing was trained yet, as a start that failed leaves it,
        is thrown away.

        :raises TrainingError: if it was begun with other settings, or its record is damaged.
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
        """Whether a step is done behind the check of the corpora, or training has saved a state."""
        steps = {path.stem for path in (self.folder / STEPS).glob("*.json")} - {_CHECK}
        trained = self.checkpoint.rglob("*")
        return bool(steps) or any(path.suffix == ".safetensors" for path in trained)

    def begin(self, begun: Mapping[str, Any]) -> None:
        """Hold still what the round is begun with."""
        self._write(self.folder / ROUND, {"given": self.given, "begun": begun})

    def done(self, step: str, given: object) -> dict[str, Any] | None:
        """Return what a finished step gave; None where it is not done, or was given other things.

        :raises TrainingError: if its record is damaged.
        """
        found = self._read(self.folder / STEPS / f"{step}.json")
        if found is None or found.get("given") != json.loads(json.dumps(given)):
            return None
        return dict(found["result"])

    def given_to(self, step: str) -> object:
        """Return what a finished step was given; None where it is not done."""
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
                f"the record {path} cannot be read ({error}); begin the round anew with --restart"
            ) from error
        if not isinstance(found, dict):
            raise TrainingError(f"the record {path} is no JSON object; begin anew with --restart")
        return found


@contextmanager
def open_round(folder: Path, given: Mapping[str, Any], *, restart: bool) -> Iterator[Round]:
    """Hold a round's folder, alone among all processes; with `restart` its content goes first.

    :raises TrainingError: if the folder cannot be made, holds something that is no round, or
        another process works in it.
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
                f"process {error.holder} works on the round in {folder}; wait for its end"
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
    """Throw away what a round wrote, and nothing else; its record last."""
    for name in reversed(_OWN):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
