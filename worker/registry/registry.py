"""A registry of checkpoints: immutable once published, one of them active.

```
checkpoints/ID/…            a checkpoint's files, its manifest last
published/ID.json           who published it and when; the record that it is whole
active.json                 the pointer, with its history
gate/ID/…                   what the gate said of it
```
"""

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from schemas.errors import CheckpointError, ConflictError, OutputError, PubnerError, RegistryError
from schemas.manifest import ID_LENGTH, CheckpointManifest
from worker.checkpoint.folder import MANIFEST, check_identity, parse_manifest, read_manifest
from worker.registry.cache import cached, default_cache
from worker.registry.pointer import POINTER, Action, Change, Pointer, from_bytes, to_bytes
from worker.registry.published import Publication, content, digest_of, read_file, read_note
from worker.storage.disk import DiskObjects
from worker.storage.objects import Objects
from worker.storage.opening import CONDITIONAL, expanded, is_conditional, open_objects

__all__ = ["ACTIVE", "Change", "Pointer", "Publication", "Registry", "default_cache"]
__all__ += ["open_registry"]

ACTIVE = "active"
"""The name of whatever checkpoint is active."""
CHECKPOINTS, PUBLISHED, GATE = "checkpoints", "published", "gate"
_WHOLE_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
_ATTEMPTS = 10
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Registry:
    """The registry at `root`, whose objects are `objects`. It holds nothing that was read.

    Every method raises an `OutputError` where the store cannot be reached, read or written.
    """

    root: str
    objects: Objects

    def ids(self) -> list[str]:
        """Return the ids of all published checkpoints, sorted."""
        names = self.objects.names(PUBLISHED)
        return [name.removesuffix(".json") for name in names if name.endswith(".json")]

    def find(self, name: str) -> str:
        """Return the id that begins with `name`, or, for `active`, that of the active checkpoint.

        A whole id is found without a listing, which HTTP does not have.

        :raises RegistryError: if none does, or several do, or none is active.
        """
        if name == ACTIVE:
            return self.active().id
        if _WHOLE_ID.fullmatch(name) and self.objects.get(_record_of(name)) is not None:
            return name
        ids = self.ids()
        found = [known for known in ids if name and known.startswith(name)]
        if name in found:
            return name
        if len(found) != 1:
            what = f"{len(found)} checkpoints" if found else "no checkpoint"
            raise RegistryError(
                f"{self.root} has {what} whose id begins with {name!r}; it has "
                f"{_enumerate(found or ids)}: give one of them, or publish it first"
            )
        return found[0]

    def list_ids(self) -> str:
        """Return the ids of all published checkpoints for a message, of many the first ones."""
        return _enumerate(self.ids())

    def publication(self, checkpoint_id: str) -> Publication:
        """Return who published a checkpoint, and when.

        :raises RegistryError: if it is not published, or its record is damaged.
        """
        place = _record_of(self._plain(checkpoint_id))
        found = self.objects.get(place)
        if found is None:
            raise RegistryError(f"{self.root} has no checkpoint {checkpoint_id!r}; publish it")
        try:
            publication = Publication.model_validate_json(found.data)
        except ValidationError:
            publication = None
        if publication is None or publication.id != checkpoint_id:
            raise RegistryError(
                f"{self.root}/{place} is damaged; remove it and publish the checkpoint again"
            )
        return publication

    def manifest(self, checkpoint_id: str) -> CheckpointManifest:
        """Return a published checkpoint's manifest; its files are not looked at.

        :raises RegistryError: if it is not published.
        :raises CheckpointError: if the manifest is damaged, or another checkpoint's.
        """
        return self._manifest(checkpoint_id)[0]

    def publish(self, folder: Path, *, who: str, when: datetime) -> bool:
        """Copy the checkpoint in `folder` here and verify the copy; False if it was here already.

        Files go first, the manifest behind them, the record of the publication last, so what was
        broken off is no checkpoint, and publishing again ends it. Notes such as metrics are no
        part of an id: those that were published first stay.

        :raises CheckpointError: if the checkpoint, or the one here, is not what it says.
        :raises RegistryError: if another content is here under its id, or this can only be read.
        """
        self.require_conditional("publish")
        manifest = read_manifest(folder)
        identity = manifest.id
        place = f"{CHECKPOINTS}/{identity}"
        if self.objects.get(f"{place}/{MANIFEST}") is None:
            for name, digest in manifest.files.items():
                self._put(f"{place}/{name}", read_file(folder / name, digest))
                self._check(identity, name, digest)
            self._put_first(f"{place}/{MANIFEST}", read_note(folder, manifest))
            self._agree(manifest)
        else:
            self._agree(manifest)
            self.verify(identity)
        return self._record(identity, who, when)

    def verify(self, checkpoint_id: str) -> CheckpointManifest:
        """Read all of a published checkpoint and compare it with its manifest; return that.

        :raises RegistryError: if it is not published.
        :raises CheckpointError: if a file is missing or not what the manifest says.
        """
        manifest = self.manifest(checkpoint_id)
        for name, digest in manifest.files.items():
            self._check(checkpoint_id, name, digest)
        return manifest

    def fetch(self, checkpoint_id: str, cache: Path) -> Path:
        """Return a verified folder of a published checkpoint on this machine.

        A registry on this machine's disk is read where it lies. Any other is copied to
        `cache/ID`, once for all processes that share the cache.

        :raises RegistryError: if it is not published.
        :raises CheckpointError: if it is not what its manifest says.
        :raises OutputError: if the store cannot be read, or the cache cannot be written.
        """
        if isinstance(self.objects, DiskObjects):
            self.publication(checkpoint_id)
            self.verify(checkpoint_id)
            return self.objects.root / CHECKPOINTS / checkpoint_id
        return cached(self._plain(checkpoint_id), cache, fill=self._copy)

    def pointer(self) -> Pointer:
        """Return the pointer as it is now.

        :raises RegistryError: if it is damaged.
        """
        found = self.objects.get(POINTER)
        if found is None:
            return Pointer()
        return Pointer(from_bytes(found.data, f"{self.root}/{POINTER}"), found.version)

    def active(self) -> Change:
        """Return the change that made the active checkpoint active.

        :raises RegistryError: if none was ever promoted.
        """
        return self.active_and_fallbacks()[0]

    def active_and_fallbacks(self) -> tuple[Change, tuple[str, ...]]:
        """Return the active change and the ids to try in turn, of one reading of the pointer.

        :raises RegistryError: if none was ever promoted.
        """
        pointer = self.pointer()
        change = pointer.active
        if change is None:
            raise RegistryError(
                f"{self.root} has no active checkpoint; publish one and promote it: pubner "
                f"checkpoint publish DIR --registry {self.root}, pubner checkpoint promote ID "
                f"--registry {self.root}"
            )
        return change, pointer.fallbacks()

    def move(
        self,
        over: Pointer,
        checkpoint_id: str,
        *,
        action: Action,
        who: str,
        when: datetime,
        why: str,
        forced: bool = False,
        report: str | None = None,
    ) -> Change:
        """Make a checkpoint active in one step, unless the pointer is no longer `over`.

        Where the answer to the write is lost the pointer is read again, to see what came of it.

        :raises RegistryError: if another change came between (the pointer is then as that one made
            it), or the registry can only be read, or the checkpoint is not published.
        :raises OutputError: if the store fails; the message says whether that is known to have
            changed nothing.
        """
        self.require_conditional(action)
        self.publication(checkpoint_id)
        change = Change(
            number=len(over.changes) + 1,
            action=action,
            id=checkpoint_id,
            previous=None if over.active is None else over.active.id,
            who=who,
            when=when.astimezone(UTC),
            why=why,
            forced=forced,
            report=report,
            token=uuid.uuid4().hex,
        )
        data = to_bytes(over.with_change(change).changes)
        for _ in range(_ATTEMPTS):
            try:
                self.objects.put(POINTER, data, over=over.version)
            except ConflictError:
                now = self.pointer()
                if change in now.changes:  # our own write, whose answer was lost
                    return change
                if now.version == over.version:  # refused beside one that came to nothing
                    continue
                raise self._overtaken(now) from None
            except OutputError as error:
                return self._look_for(change, over, error)
            return change
        raise RegistryError(
            f"{self.root}/{POINTER}: other commands write it all the time; nothing was changed: "
            "try again"
        )

    def _look_for(self, change: Change, over: Pointer, failure: OutputError) -> Change:
        """Return a change whose write failed, if it is in the history all the same.

        :raises RegistryError: if another one is there in its place.
        :raises OutputError: if it is not there, or that cannot be known.
        """
        reason = str(failure).partition("; ")[0]
        advice = "look at `pubner checkpoint history` before you give the command again"
        try:
            now = self.pointer()
        except PubnerError as error:
            again = str(error).partition("; ")[0]
            raise OutputError(
                f"whether {change.id} became active is not known: {reason}, and then {again}; "
                f"{advice}"
            ) from failure
        if change in now.changes:
            return change
        if now.version != over.version:
            raise self._overtaken(now) from failure
        raise OutputError(
            f"{change.id} did not become active: {reason}; the store may still apply what was on "
            f"its way: {advice}"
        ) from failure

    def put_report(self, checkpoint_id: str, name: str, data: bytes) -> str:
        """Keep what the gate said of a checkpoint; return where, below the root."""
        place = f"{GATE}/{self._plain(checkpoint_id)}/{name}"
        self._put(place, data)
        return place

    def require_conditional(self, action: str) -> None:
        """Make sure that writers here are told of each other.

        :raises RegistryError: if they are not.
        """
        if not is_conditional(self.root):
            raise RegistryError(
                f"cannot {action} in {self.root}: such a file system has no write that is refused "
                "where another came between, so two at a time could each believe to have won; use "
                f"{', '.join(CONDITIONAL)} (reading works from any)"
            )

    def _overtaken(self, now: Pointer) -> RegistryError:
        last = now.active
        what = "removed"
        if last is not None:
            what = f"moved to {last.id} by {last.who} (change {last.number}: {last.why})"
        return RegistryError(
            f"the active checkpoint of {self.root} was {what} in between; nothing was changed: "
            "look at `pubner checkpoint history`, and decide anew"
        )

    def _put(self, path: str, data: bytes) -> None:
        """Put an object whatever is there; that is what a broken publication left, or the same."""
        for _ in range(_ATTEMPTS):
            found = self.objects.get(path)
            if found is not None and found.data == data:
                return
            try:
                self.objects.put(path, data, over=None if found is None else found.version)
            except ConflictError:
                continue
            return
        raise self._contended(path)

    def _put_first(self, path: str, data: bytes) -> bool:
        """Put an object where there is none; return False where another was first."""
        for _ in range(_ATTEMPTS):
            try:
                self.objects.put(path, data, over=None)
            except ConflictError:
                if self.objects.get(path) is not None:
                    return False
                continue  # refused beside one that came to nothing
            return True
        raise self._contended(path)

    def _contended(self, path: str) -> RegistryError:
        return RegistryError(
            f"{self.root}/{path}: another command writes it all the time; end it, and try again"
        )

    def _agree(self, manifest: CheckpointManifest) -> None:
        """Make sure that what is here under a checkpoint's id is that checkpoint."""
        if content(self.manifest(manifest.id)) != content(manifest):
            raise RegistryError(
                f"{self.root} has another content under the id {manifest.id}; a checkpoint is "
                "immutable once published: export this one again, or use another registry"
            )

    def _record(self, checkpoint_id: str, who: str, when: datetime) -> bool:
        """Record a publication; return False where that was done before."""
        publication = Publication(id=checkpoint_id, who=who, when=when.astimezone(UTC))
        data = (publication.model_dump_json(indent=2) + "\n").encode()
        if self._put_first(_record_of(checkpoint_id), data):
            return True
        return self.publication(checkpoint_id) == publication  # our own, whose answer was lost

    def _manifest(self, checkpoint_id: str) -> tuple[CheckpointManifest, bytes]:
        path = f"{CHECKPOINTS}/{self._plain(checkpoint_id)}/{MANIFEST}"
        place = f"{self.root}/{path}"
        found = self.objects.get(path)
        if found is None:
            raise RegistryError(f"{self.root} has no checkpoint {checkpoint_id!r}; publish it")
        manifest = parse_manifest(found.data, place)
        if manifest.id != checkpoint_id:
            raise CheckpointError(
                f"{place} is that of {manifest.id}; remove the folder and publish the checkpoint "
                "again"
            )
        check_identity(manifest, place)
        return manifest, found.data

    def _check(self, checkpoint_id: str, name: str, digest: str) -> None:
        """Make sure that a file is what it was."""
        path = f"{CHECKPOINTS}/{checkpoint_id}/{name}"
        if isinstance(self.objects, DiskObjects):
            self._compare(path, self.objects.digest(path), digest)
        else:
            found = self.objects.get(path)
            self._compare(path, None if found is None else digest_of(found.data), digest)

    def _compare(self, path: str, found: str | None, digest: str) -> None:
        if found != digest:
            raise CheckpointError(
                f"{self.root}/{path} is {'missing' if found is None else 'altered'}: it is not "
                f"what its manifest says (SHA-256 {digest[:12]}…); remove the checkpoint's folder "
                "and publish it again"
            )

    def _copy(self, checkpoint_id: str, folder: Path) -> None:
        """Copy a published checkpoint into `folder`, the manifest last, and verify it."""
        self.publication(checkpoint_id)
        manifest, data = self._manifest(checkpoint_id)
        for name, digest in manifest.files.items():
            path = f"{CHECKPOINTS}/{checkpoint_id}/{name}"
            found = self.objects.get(path)
            self._compare(path, None if found is None else digest_of(found.data), digest)
            (folder / name).write_bytes(b"" if found is None else found.data)
        (folder / MANIFEST).write_bytes(data)

    def _plain(self, checkpoint_id: str) -> str:
        """Return an id that names no other folder than its own."""
        if Path(checkpoint_id).name != checkpoint_id or checkpoint_id[:1] in ("", "."):
            raise RegistryError(f"{self.root}: {checkpoint_id!r} is no checkpoint's id")
        return checkpoint_id


def open_registry(root: str) -> Registry:
    """Return the registry at `root`: a folder, or an s3://, gs:// or other URL.

    `~` at a folder's begin is the user's home.

    :raises RegistryError: if it names nothing, a password is in it, or what opens such URLs is not
        installed.
    """
    if not root.strip():
        raise RegistryError("no registry is named; give a folder, or an s3:// or gs:// URL")
    try:
        root = expanded(root)
        return Registry(root.rstrip("/") or "/", open_objects(root))
    except OutputError as error:
        raise RegistryError(str(error)) from error


def _record_of(checkpoint_id: str) -> str:
    return f"{PUBLISHED}/{checkpoint_id}.json"


def _enumerate(ids: list[str]) -> str:
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return ", ".join(ids[:_MOST_NAMED]) + more if ids else "none"
