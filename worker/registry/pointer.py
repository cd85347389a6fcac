"""Which checkpoint of a registry is active: one object that holds every change there was.

The pointer and its history are one and the same object, put by one conditional write, so no change
is ever seen in part, and of two made at a time one is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError, model_validator

from schemas.errors import RegistryError

POINTER = "active.json"
FORMAT_VERSION: Literal[1] = 1

Action = Literal["promote", "rollback"]


class Change(BaseModel):
    """One change of the active checkpoint: to what, from what, by whom, when (UTC) and why.

    `number` counts changes from 1. `forced` says that the gate had refused it; `report` names the
    gate's report in the registry. `token` tells a change from any other that says the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    action: Action
    id: str
    previous: str | None
    who: str
    when: AwareDatetime
    why: str
    forced: bool = False
    report: str | None = None
    token: str = ""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
    changes: tuple[Change, ...] = ()

    @model_validator(mode="after")
    def _changes_follow(self) -> Self:
        """Refuse a history in which a change does not follow from the one before."""
        before: str | None = None
        for number, change in enumerate(self.changes, start=1):
            if (change.number, change.previous) != (number, before):
                raise ValueError(
                    f"change {number} is numbered {change.number} and follows {change.previous}, "
                    f"expected {number} and {before}"
                )
            before = change.id
        return self


@dataclass(frozen=True, slots=True)
class Pointer:
    """The pointer as it was read: every change, oldest first, and the store's version of it."""

    changes: tuple[Change, ...] = ()
    version: str | None = None

    @property
    def active(self) -> Change | None:
        """The change that made the active checkpoint active; None where none ever was."""
        return self.changes[-1] if self.changes else None

    def before(self) -> str:
        """Return the checkpoint that a rollback makes active again.

        A rollback of a rollback goes back further, to what was active before that checkpoint
        first became so; never forward again.

        :raises RegistryError: if nothing was active before.
        """
        standing = self._standing()
        if len(standing) < 2:
            raise RegistryError(
                "no checkpoint was active before this one, so there is nothing to roll back to; "
                "promote another one"
            )
        return standing[-2]

    def fallbacks(self) -> tuple[str, ...]:
        """Return the ids that were ever active, each once, in the order in which to try them.

        The active one is first, then those to which rollbacks would go, then those that were
        rolled back from, the newest first.
        """
        others = (change.id for change in reversed(self.changes))
        return tuple(dict.fromkeys([*reversed(self._standing()), *others]))

    def _standing(self) -> list[str]:
        """Return the promoted ids that no rollback has undone, oldest first; the last is active."""
        standing: list[str] = []
        for change in self.changes:
            if change.action == "rollback" and change.id in standing:
                while standing[-1] != change.id:
                    standing.pop()
            elif not standing or standing[-1] != change.id:
                standing.append(change.id)
        return standing

    def with_change(self, change: Change) -> "Pointer":
        """Return the pointer as it will be, of the same version."""
        return Pointer((*self.changes, change), self.version)


def to_bytes(changes: Sequence[Change]) -> bytes:
    """Return the object that holds `changes`."""
    return (_Document(changes=tuple(changes)).model_dump_json(indent=2) + "\n").encode()


def from_bytes(data: bytes, place: str) -> tuple[Change, ...]:
    """Return the changes that the object at `place` holds.

    :raises RegistryError: if it is damaged.
    """
    try:
        return _Document.model_validate_json(data).changes
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        reason = first["msg"].removeprefix("Value error, ")
        raise RegistryError(
            f"{place} is damaged: {where}: {reason}; put back a copy of it, or remove it and "
            "promote a checkpoint again (its history is then lost)"
        ) from error
