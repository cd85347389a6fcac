"""The manifest of an output, and the lock that prevents a second writer."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pipelines.blocks.keys import parse_name
from pipelines.blocks.tables import FORMAT_VERSION, READABLE_VERSIONS
from pipelines.output.store import MANIFEST, Store, open_store
from schemas.arrow import KINDS
from schemas.errors import OutputError
from worker.storage.objects import Stored

LOCK = ".pubner.lock"
_REFUSAL = (
    "another run is writing to {root} (process {holder}); wait until it ends, or choose another "
    "--output"
)
_ID = "id"
_MISSING = "missing"
_MOST_NAMED = 5


@contextmanager
def open_output(
    root: str, *, block_size: int, sources: Mapping[str, str] | None = None
) -> Iterator[Store]:
    """Open the output at `root` for exclusive writing, and record its settings in the manifest.

    On a disk a lock excludes a second run; the system frees it when the holder's process ends, and
    the next holder rolls replacements that were interrupted forward or back. An object store has no
    lock: on S3 and Google Cloud Storage conditional writes detect conflicts (see `object_store`);
    on other stores, let one run write at a time.

    `sources` identifies each topic (`kafka:CLUSTER_ID:TOPIC_ID` by its name). It is recorded in the
    manifest, so that another topic of the same name is refused.

    :raises OutputError: if the output cannot be written, has another writer, or was made with
        another block size or format version, or holds another topic of the same name.
    """
    store = open_store(root)
    with store.locked(LOCK, _REFUSAL):
        store.recover(sources or {})
        _agree(store, root, block_size, sources or {})
        yield store.opened_for_run()


def open_existing(root: str) -> Store:
    """Return the output at `root` for reading.

    :raises OutputError: if there is none.
    """
    store = open_store(root)
    if store.objects.get(MANIFEST) is None:
        raise OutputError(f"{root!r} holds no output of pubner: it has no {MANIFEST}")
    return store


def output_id(store: Store) -> str:
    """Return the unique id of an output that was opened for writing."""
    return str(_read_manifest(store)[1][_ID])


def record_missing(
    store: Store, missing: Sequence[Mapping[str, Any]], starts: Mapping[tuple[str, int], int]
) -> list[dict[str, Any]]:
    """Record which offsets of topics are missing in an output; return all recorded ones.

    Each has `topic`, `partition`, `begin` and `end`. `starts` are the offsets where the run begins
    to read: from there on nothing is missing any more.

    :raises OutputError: if the output cannot be written.
    """
    before, found = _read_manifest(store)
    recorded: list[dict[str, Any]] = []
    for known in (*found.get(_MISSING, ()), *missing):
        start = starts.get((known["topic"], known["partition"]), known["end"])
        cut = {**known, "end": min(known["end"], start)}
        if cut["begin"] < cut["end"] and cut not in recorded:
            recorded.append(cut)
    if recorded != found.get(_MISSING, []):
        data = _to_json({**found, _MISSING: recorded})
        store.objects.put(MANIFEST, data, over=before.version)
    return recorded


def _read_manifest(store: Store) -> tuple[Stored, Mapping[str, Any]]:
    stored = store.objects.get(MANIFEST)
    if stored is None:
        raise OutputError(f"{MANIFEST} of the output was removed while the output was in use")
    return stored, _parse(stored.data, MANIFEST)


def other_sources(store: Store, *, topics: bool) -> list[str]:
    """Return, sorted, the sources of the other kind in an output: files if `topics`, else topics.

    The topics are all that were ever streamed into the output; the files are all other sources.
    """
    manifest = store.objects.get(MANIFEST)
    known = set(_sources(_parse(manifest.data, MANIFEST), MANIFEST)) if manifest else set()
    if not topics:
        return sorted(known)
    keys = [parse_name(name) for name in store.names("citations")]
    return sorted({key.source for key in keys if key is not None} - known)


def describe_mixed_sources(sources: Sequence[str], *, topics: bool) -> str:
    """Return the text for a summary about sources of the other kind in one output."""
    kind, command = ("files", "annotate") if topics else ("topics", "stream")
    listed = ", ".join(sources[:_MOST_NAMED]) + (", …" if len(sources) > _MOST_NAMED else "")
    return f"it also holds rows of {len(sources):,} {kind} by `pubner {command}`: {listed}"


def _agree(
    store: Store,
    root: str,
    block_size: int,
    sources: Mapping[str, str],
) -> None:
    """Check the output's manifest against this run's settings, and update it."""
    expected = {"format_version": FORMAT_VERSION, "block_size": block_size}
    before = store.objects.get(MANIFEST)
    if before is None:
        if any(store.names(kind) for kind in KINDS):
            raise OutputError(
                f"{root!r} holds files in {', '.join(KINDS)} but no {MANIFEST}: it is not "
                "an output of pubner; choose another --output"
            )
        found: Mapping[str, Any] = expected
    else:
        found = _parse(before.data, root)
        _compare(found, expected, root)
    outdated = found["format_version"] != FORMAT_VERSION or _ID not in found
    known = _sources(found, root)
    _compare_sources(known, sources, root)
    if before is None or outdated or not sources.keys() <= known.keys():
        # Files of an older format stay beside new ones; an older version of pubner, which cannot
        # read the new ones, refuses the output from now on.
        values = {_ID: uuid.uuid4().hex, **found, **expected, "sources": {**known, **sources}}
        over = None if before is None else before.version
        store.objects.put(MANIFEST, _to_json(values), over=over)


def _to_json(values: Mapping[str, Any]) -> bytes:
    kept = {name: x for name, x in values.items() if x or name not in ("sources", _MISSING)}
    return (json.dumps(kept, indent=2) + "\n").encode()


def _sources(found: Mapping[str, Any], root: str) -> Mapping[str, str]:
    sources = found.get("sources", {})
    if not isinstance(sources, dict):
        raise OutputError(f"{MANIFEST} in {root!r} is damaged; choose another --output")
    return sources


def _compare_sources(known: Mapping[str, str], sources: Mapping[str, str], root: str) -> None:
    for name, value in sources.items():
        if known.get(name, value) != value:
            raise OutputError(
                f"the output in {root!r} was made from another topic {name!r} ({known[name]}, and "
                f"now {value}: another cluster, or the topic was recreated); choose another "
                "--output"
            )


def _parse(data: bytes, root: str) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise OutputError(f"{MANIFEST} in {root!r} is damaged; choose another --output")
    return found


def _compare(found: Mapping[str, Any], expected: Mapping[str, int], root: str) -> None:
    for name, value in expected.items():
        readable = READABLE_VERSIONS if name == "format_version" else (value,)
        if found.get(name) not in readable:
            label = name.replace("_", " ")
            raise OutputError(
                f"the output in {root!r} has {label} {found.get(name)!r}, and this run {value!r}; "
                "give the same, or choose another --output"
            )
