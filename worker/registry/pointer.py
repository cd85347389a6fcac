"""The pointer to a registry's active checkpoint: one object that holds the full history.

The pointer and its history are a single object, replaced by a conditional write, so no reader sees
a partial change, and of two concurrent changes one is refused.
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

    `number` counts changes from 1. `forced` is true if the gate refused the checkpoint; `report` is
    the path of the gate's report in the registry. `token` is unique to each change.
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
        """Refuse a history in which a change does not follow from the previous one."""
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
    """The pointer as read: all changes, oldest first, and the object's version in the store."""

    changes: tuple[Change, ...] = ()
    version: str | None = None

    @property
    def active(self) -> Change | None:
        """The change that activated the active checkpoint; None if there never was one."""
        return self.changes[-1] if self.changes else None

    def before(self) -> str:
        """Return the id of the checkpoint that a rollback activates.

        A rollback after a rollback goes back further, to the checkpoint that was active before
        the current one was first promoted; it never goes forward.

        :raises RegistryError: if nothing was active before.
        """
        kept = self._not_rolled_back()
        if len(kept) < 2:
            raise RegistryError(
                "no checkpoint was active before this one, so there is nothing to roll back to; "
                "promote another one"
            )
        return kept[-2]

    def fallbacks(self) -> tuple[str, ...]:
        """Return all ids that were ever active, each once, in the order in which to try them.

        The active one is first, then the targets of successive rollbacks, then the checkpoints
        that were rolled back, newest first.
        """
        others = (change.id for change in reversed(self.changes))
        return tuple(dict.fromkeys([*reversed(self._not_rolled_back()), *others]))

    def _not_rolled_back(self) -> list[str]:
        """Return the promoted ids that were not rolled back, oldest first; the last is active."""
        kept: list[str] = []
        for change in self.changes:
            if change.action == "rollback" and change.id in kept:
                while kept[-1] != change.id:
                    kept.pop()
            elif not kept or kept[-1] != change.id:
                kept.append(change.id)
        return kept

    def with_change(self, change: Change) -> "Pointer":
        """Return the pointer with `change` appended, of the same version."""
        return Pointer((*self.changes, change), self.version)


def to_bytes(changes: Sequence[Change]) -> bytes:
    """Serialise `changes` as the pointer's object."""
    return (_Document(changes=tuple(changes)).model_dump_json(indent=2) + "\n").encode()


def from_bytes(data: bytes, location: str) -> tuple[Change, ...]:
    """Parse the changes from the pointer's object; `location` names its path in messages.

    :raises RegistryError: if it is damaged.
    """
    try:
        return _Document.model_validate_json(data).changes
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        reason = first["msg"].removeprefix("Value error, ")
        raise RegistryError(
            f"{location} is damaged: {where}: {reason}; restore a copy of it, or remove it and "
            "promote a checkpoint again (its history is then lost)"
        ) from error
