"""A registry of checkpoints, which are immutable once published; one of them is active.

```
checkpoints/ID/…            a checkpoint's files, its manifest last
published/ID.json           publication record: who published it and when; written last
active.json                 the pointer, with its history
gate/ID/…                   the gate's reports on it
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
from worker.registry.published import (
    Publication,
    content,
    digest_of,
    read_file,
    read_manifest_bytes,
)
from worker.storage.disk import DiskObjects
from worker.storage.objects import Objects, put_over
from worker.storage.opening import CONDITIONAL, expanded, is_conditional, open_objects

__all__ = ["ACTIVE", "Change", "Pointer", "Publication", "Registry", "default_cache"]
__all__ += ["open_registry"]

ACTIVE = "active"
"""The name that stands for the active checkpoint."""
CHECKPOINTS, PUBLISHED, GATE = "checkpoints", "published", "gate"
_WHOLE_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
_ATTEMPTS = 10
_MOST_LISTED = 10


@dataclass(frozen=True, slots=True)
class Registry:
    """The registry at `root`, stored in `objects`. Nothing is cached.

    Every method raises an `OutputError` if the store cannot be reached, read or written.
    """

    root: str
    objects: Objects

    def ids(self) -> list[str]:
        """Return the ids of all published checkpoints, sorted."""
        names = self.objects.names(PUBLISHED)
        return [name.removesuffix(".json") for name in names if name.endswith(".json")]

    def find(self, name: str) -> str:
        """Return the id that begins with `name`, or for `active` the id of the active checkpoint.

        A complete id is found without a listing, which HTTP does not support.

        :raises RegistryError: if no id or several ids match, or no checkpoint is active.
        """
        if name == ACTIVE:
            return self.active().id
        if _WHOLE_ID.fullmatch(name) and self.objects.get(_record_path(name)) is not None:
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
        """Return the ids of the published checkpoints for a message, at most ten of them."""
        return _enumerate(self.ids())

    def publication(self, checkpoint_id: str) -> Publication:
        """Return the publication record of a checkpoint.

        :raises RegistryError: if it is not published, or its record is damaged.
        """
        location = _record_path(self._checked_id(checkpoint_id))
        found = self.objects.get(location)
        if found is None:
            raise RegistryError(f"{self.root} has no checkpoint {checkpoint_id!r}; publish it")
        try:
            publication = Publication.model_validate_json(found.data)
        except ValidationError:
            publication = None
        if publication is None or publication.id != checkpoint_id:
            raise RegistryError(
                f"{self.root}/{location} is damaged; remove it and publish the checkpoint again"
            )
        return publication

    def manifest(self, checkpoint_id: str) -> CheckpointManifest:
        """Return a published checkpoint's manifest; its files are not read.

        :raises RegistryError: if it is not published.
        :raises CheckpointError: if the manifest is damaged, or belongs to another checkpoint.
        """
        return self._manifest(checkpoint_id)[0]

    def publish(self, folder: Path, *, who: str, when: datetime) -> bool:
        """Copy the checkpoint in `folder` to the registry and verify it; False if it was there.

        Files are written first, then the manifest, the publication record last, so an interrupted
        publication is not a checkpoint, and publishing again completes it. Descriptive fields such
        as metrics are not part of an id: those that were published first are kept.

        :raises CheckpointError: if the checkpoint, or the published copy, fails verification.
        :raises RegistryError: if its id has other content here, or the registry is read-only.
        """
        self.require_conditional("publish")
        manifest = read_manifest(folder)
        identity = manifest.id
        location = f"{CHECKPOINTS}/{identity}"
        if self.objects.get(f"{location}/{MANIFEST}") is None:
            for name, digest in manifest.files.items():
                self._put(f"{location}/{name}", read_file(folder / name, digest))
                self._check(identity, name, digest)
            self._create(f"{location}/{MANIFEST}", read_manifest_bytes(folder, manifest))
            self._check_same_content(manifest)
        else:
            self._check_same_content(manifest)
            self.verify(identity)
        return self._record(identity, who, when)

    def verify(self, checkpoint_id: str) -> CheckpointManifest:
        """Verify all files of a published checkpoint against its manifest; return the manifest.

        :raises RegistryError: if it is not published.
        :raises CheckpointError: if a file is missing or differs from the manifest.
        """
        manifest = self.manifest(checkpoint_id)
        for name, digest in manifest.files.items():
            self._check(checkpoint_id, name, digest)
        return manifest

    def fetch(self, checkpoint_id: str, cache: Path) -> Path:
        """Return a verified local folder of a published checkpoint.

        A registry on local disk is used directly. From any other, the checkpoint is copied to
        `cache/ID`, once for all processes that share the cache.

        :raises RegistryError: if it is not published.
        :raises CheckpointError: if its files differ from its manifest.
        :raises OutputError: if the store cannot be read, or the cache cannot be written.
        """
        if isinstance(self.objects, DiskObjects):
            self.publication(checkpoint_id)
            self.verify(checkpoint_id)
            return self.objects.root / CHECKPOINTS / checkpoint_id
        return cached(self._checked_id(checkpoint_id), cache, fill=self._copy)

    def pointer(self) -> Pointer:
        """Return the current pointer.

        :raises RegistryError: if it is damaged.
        """
        found = self.objects.get(POINTER)
        if found is None:
            return Pointer()
        return Pointer(from_bytes(found.data, f"{self.root}/{POINTER}"), found.version)

    def active(self) -> Change:
        """Return the change that activated the active checkpoint.

        :raises RegistryError: if none was ever promoted.
        """
        return self.active_and_fallbacks()[0]

    def active_and_fallbacks(self) -> tuple[Change, tuple[str, ...]]:
        """Return the active change and the ids to try in turn, from a single read of the pointer.

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
        """Activate a checkpoint by one conditional write, if the pointer is still `over`.

        If the response to the write is lost, the pointer is read again to learn the outcome.

        :raises RegistryError: if there was a concurrent change (which then stands), the registry
            is read-only, or the checkpoint is not published.
        :raises OutputError: if the store fails; the message says whether the outcome is known.
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
                if change in now.changes:  # our own write, whose response was lost
                    return change
                if now.version == over.version:  # it conflicted with a write that failed
                    continue
                raise self._overtaken(now) from None
            except OutputError as error:
                return self._confirm(change, over, error)
            return change
        raise RegistryError(
            f"{self.root}/{POINTER}: too many concurrent updates; nothing was changed: try again"
        )

    def _confirm(self, change: Change, over: Pointer, failure: OutputError) -> Change:
        """Return a change whose write reported failure, if the history contains it nevertheless.

        :raises RegistryError: if another change was made instead.
        :raises OutputError: if it is not in the history, or the history cannot be read.
        """
        reason = str(failure).partition("; ")[0]
        advice = "check `pubner checkpoint history` before you run the command again"
        try:
            now = self.pointer()
        except PubnerError as error:
            again = str(error).partition("; ")[0]
            raise OutputError(
                f"it is unknown whether {change.id} became active: {reason}, and then {again}; "
                f"{advice}"
            ) from failure
        if change in now.changes:
            return change
        if now.version != over.version:
            raise self._overtaken(now) from failure
        raise OutputError(
            f"{change.id} did not become active: {reason}; the store may still apply the "
            f"write: {advice}"
        ) from failure

    def put_report(self, checkpoint_id: str, name: str, data: bytes) -> str:
        """Store a gate report on a checkpoint; return its path below the root."""
        location = f"{GATE}/{self._checked_id(checkpoint_id)}/{name}"
        self._put(location, data)
        return location

    def require_conditional(self, action: str) -> None:
        """Check that the store supports conditional writes, which `action` needs.

        :raises RegistryError: if it does not.
        """
        if not is_conditional(self.root):
            raise RegistryError(
                f"cannot {action} in {self.root}: such a file system has no conditional writes, "
                "so two concurrent changes could both appear to succeed; use "
                f"{', '.join(CONDITIONAL)} (any file system can be read)"
            )

    def _overtaken(self, now: Pointer) -> RegistryError:
        last = now.active
        what = "removed"
        if last is not None:
            what = f"moved to {last.id} by {last.who} (change {last.number}: {last.why})"
        return RegistryError(
            f"the active checkpoint of {self.root} was {what} meanwhile; nothing was changed: "
            "check `pubner checkpoint history`, and decide again"
        )

    def _put(self, path: str, data: bytes) -> None:
        """Write an object unconditionally: any old one is from an interrupted publication."""
        try:
            put_over(self.objects, path, data)
        except ConflictError as error:
            raise self._contended(path) from error

    def _create(self, path: str, data: bytes) -> bool:
        """Create an object; return False if it exists already."""
        for _ in range(_ATTEMPTS):
            try:
                self.objects.put(path, data, over=None)
            except ConflictError:
                if self.objects.get(path) is not None:
                    return False
                continue  # it conflicted with a write that failed
            return True
        raise self._contended(path)

    def _contended(self, path: str) -> RegistryError:
        return RegistryError(
            f"{self.root}/{path}: another command keeps writing it; end that command, and try again"
        )

    def _check_same_content(self, manifest: CheckpointManifest) -> None:
        """Check that the registry's manifest under this id has the same content."""
        if content(self.manifest(manifest.id)) != content(manifest):
            raise RegistryError(
                f"{self.root} has other content under the id {manifest.id}; a checkpoint is "
                "immutable once published: export this one again, or use another registry"
            )

    def _record(self, checkpoint_id: str, who: str, when: datetime) -> bool:
        """Write the publication record; return False if it exists already."""
        publication = Publication(id=checkpoint_id, who=who, when=when.astimezone(UTC))
        data = (publication.model_dump_json(indent=2) + "\n").encode()
        if self._create(_record_path(checkpoint_id), data):
            return True
        return self.publication(checkpoint_id) == publication  # our own, whose response was lost

    def _manifest(self, checkpoint_id: str) -> tuple[CheckpointManifest, bytes]:
        path = f"{CHECKPOINTS}/{self._checked_id(checkpoint_id)}/{MANIFEST}"
        location = f"{self.root}/{path}"
        found = self.objects.get(path)
        if found is None:
            raise RegistryError(f"{self.root} has no checkpoint {checkpoint_id!r}; publish it")
        manifest = parse_manifest(found.data, location)
        if manifest.id != checkpoint_id:
            raise CheckpointError(
                f"{location} is the manifest of {manifest.id}; remove the folder and publish the "
                "checkpoint again"
            )
        check_identity(manifest, location)
        return manifest, found.data

    def _check(self, checkpoint_id: str, name: str, digest: str) -> None:
        """Check that a published file has the SHA-256 `digest`."""
        path = f"{CHECKPOINTS}/{checkpoint_id}/{name}"
        if isinstance(self.objects, DiskObjects):
            self._compare(path, self.objects.digest(path), digest)
        else:
            found = self.objects.get(path)
            self._compare(path, None if found is None else digest_of(found.data), digest)

    def _compare(self, path: str, found: str | None, digest: str) -> None:
        if found != digest:
            raise CheckpointError(
                f"{self.root}/{path} is {'missing' if found is None else 'altered'}: its "
                f"manifest has SHA-256 {digest[:12]}…; remove the checkpoint's folder and publish "
                "it again"
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

    def _checked_id(self, checkpoint_id: str) -> str:
        """Return an id after checking that it is a plain folder name."""
        if Path(checkpoint_id).name != checkpoint_id or checkpoint_id[:1] in ("", "."):
            raise RegistryError(f"{self.root}: {checkpoint_id!r} is not a checkpoint's id")
        return checkpoint_id


def open_registry(root: str) -> Registry:
    """Return the registry at `root`: a folder, or an s3://, gs:// or other URL.

    A leading `~` of a folder is the user's home folder.

    :raises RegistryError: if `root` is blank or contains a password, or the package that opens
        such URLs is not installed.
    """
    if not root.strip():
        raise RegistryError("the registry's name is blank; give a folder, or an s3:// or gs:// URL")
    try:
        root = expanded(root)
        return Registry(root.rstrip("/") or "/", open_objects(root))
    except OutputError as error:
        raise RegistryError(str(error)) from error


def _record_path(checkpoint_id: str) -> str:
    return f"{PUBLISHED}/{checkpoint_id}.json"


def _enumerate(ids: list[str]) -> str:
    more = f" and {len(ids) - _MOST_LISTED} more" if len(ids) > _MOST_LISTED else ""
    return ", ".join(ids[:_MOST_LISTED]) + more if ids else "none"
