"""What must hold of the output of any stream, whatever was killed: checked against the ledger.

It reads the Parquet files with pyarrow alone, and uses no code of the writer's.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.arrow import KINDS
from tests.support.streaming import Sent, committed_offsets, end_offsets
from worker.tagger import load_tagger

Place = tuple[str, int, int]
Row = Mapping[str, Any]
_NAME = re.compile(r"(.+)-(\d+)-(\d{12})\.parquet")
_ALLOWED_HIDDEN = {".pubner.lock", ".locks"}
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Output:
    """All rows of an output, by source position."""

    citations: dict[Place, Row]
    dead_letters: dict[Place, Row]
    mentions: dict[Place, list[Row]]

    def rows(self) -> dict[Place, object]:
        """Return what two runs must agree in, by position: all but times and scores."""
        times = ("annotated_at", "seen_at", "score")
        found: dict[Place, object] = {}
        for place, row in (self.citations | self.dead_letters).items():
            mentions = [_without(x, times) for x in self.mentions.get(place, ())]
            found[place] = (_without(row, times), mentions)
        return found


def check_stream(
    root: Path, sent: Iterable[Sent], *, block_size: int, running: bool = False
) -> Output:
    """Check that the output holds what was sent, each offset once, and nothing else.

    While the stream is `running`, what a killed writer left half done may still lie there.
    """
    problems: list[str] = []
    found = read_output(root, block_size=block_size, problems=problems)
    ledger = {x.place: x for x in sent}
    places = found.citations.keys() | found.dead_letters.keys()
    _add(problems, "missing", ledger.keys() - places)
    _add(problems, "not in the ledger", places - ledger.keys())
    _add(problems, "both citation and dead letter", found.citations & found.dead_letters.keys())
    _add(problems, "mentions of no citation", found.mentions.keys() - found.citations.keys())
    for place, one in ledger.items():
        if place in found.citations:
            problems += _citation_problems(
                one, found.citations[place], found.mentions.get(place, ())
            )
        elif place in found.dead_letters:
            problems += _letter_problems(one, found.dead_letters[place])
    problems += [] if running else _leftovers(root)
    assert not problems, f"{len(problems)} problems: " + "; ".join(problems[:_SHOWN])
    return found


def read_output(root: Path, *, block_size: int, problems: list[str]) -> Output:
    """Read all rows, and say what is wrong with files, footers and the order of rows."""
    names = {kind: sorted(x.name for x in _visible(root / kind)) for kind in KINDS}
    for kind in KINDS:
        if names[kind] != names["citations"]:
            differing = set(names[kind]) ^ set(names["citations"])
            problems.append(f"{kind} and citations differ in files: {sorted(differing)[:_SHOWN]}")
    rows: dict[str, dict[Place, list[Row]]] = {kind: {} for kind in KINDS}
    for name in names["citations"]:
        revisions = set()
        for kind in KINDS:
            if name not in names[kind]:
                continue
            table = pq.read_table(root / kind / name)
            revisions.add((table.schema.metadata or {}).get(b"pubner.revision"))
            problems += _file_problems(kind, name, table, block_size=block_size)
            for row in table.to_pylist():
                place = (row["source"], row["partition"], row["offset"])
                rows[kind].setdefault(place, []).append(row)
        if len(revisions) != 1 or None in revisions:
            problems.append(f"the files of {name} are not of one revision: {revisions}")
    for kind in ("citations", "dead_letters"):
        _add(problems, f"twice in {kind}", [x for x, found in rows[kind].items() if len(found) > 1])
    return Output(
        citations={place: found[0] for place, found in rows["citations"].items()},
        dead_letters={place: found[0] for place, found in rows["dead_letters"].items()},
        mentions=rows["mentions"],
    )


def check_committed(bootstrap: str, group: str, topics: Sequence[str]) -> None:
    """Check that the group has committed all that the topics hold."""
    ends = end_offsets(bootstrap, topics)
    committed = committed_offsets(bootstrap, group, topics)
    assert {x: committed[x] or 0 for x in ends} == ends


def check_annotations(
    found: Output, checkpoint: Path, *, sample: int = 200, seed: int = 0, differing: float = 0.005
) -> None:
    """Annotate some citations again, each batch of them alone, and compare the mentions.

    At most `differing` of the mentions may differ: another composition of batches, as design goes.
    """
    tagger = load_tagger([checkpoint], device="auto", threads=1)
    places = sorted(place for place, row in found.citations.items() if row["text"] is not None)
    chosen = random.Random(seed).sample(places, min(sample, len(places)))
    annotations = tagger.annotate([found.citations[place]["text"] for place in chosen])
    wanted, got = set(), set()
    scores: dict[tuple[object, ...], float] = {}
    for place, annotation in zip(chosen, annotations, strict=True):
        for mention in annotation.mentions:
            key = (place, mention.task, mention.label, mention.start, mention.end)
            wanted.add(key)
            scores[key] = mention.score
        for row in found.mentions.get(place, ()):
            key = (place, row["task"], row["label"], row["start"], row["end"])
            got.add(key)
            assert abs(scores.get(key, row["score"]) - row["score"]) <= 0.02, key
    assert wanted
    assert len(wanted ^ got) <= differing * len(wanted), sorted(wanted ^ got)[:_SHOWN]


def file_times(root: Path) -> dict[str, int]:
    """Return when each file of the three kinds was last written, by its path."""
    return {
        str(path.relative_to(root)): path.stat().st_mtime_ns
        for kind in KINDS
        for path in _visible(root / kind)
    }


def whole_blocks(root: Path) -> dict[str, int]:
    """Return the same of the blocks whose three files were written together."""
    times = file_times(root)
    names = {x.name for x in _visible(root / "citations")}
    whole = {
        name
        for name in names
        if len(revisions := {_revision(root / kind / name) for kind in KINDS}) == 1
        and None not in revisions
    }
    return {path: time for path, time in times.items() if Path(path).name in whole}


def rows_in_place(root: Path) -> int:
    """Return how many positions have a row, as the files' statistics say; works under load."""
    count = 0
    for kind in ("citations", "dead_letters"):
        for path in _visible(root / kind):
            try:
                count += pq.read_metadata(path).num_rows
            except (FileNotFoundError, pa.ArrowException):
                continue
    return count


def _revision(place: Path) -> bytes | None:
    """Return what a file's footer says of the block's revision; None where there is no file."""
    if not place.exists():
        return None
    revision: bytes | None = (pq.read_schema(place).metadata or {}).get(b"pubner.revision")
    return revision


def _file_problems(kind: str, name: str, table: pa.Table, *, block_size: int) -> list[str]:
    parsed = _NAME.fullmatch(name)
    if parsed is None:
        return [f"{kind}/{name} is no block's name"]
    source, partition, start = unquote(parsed[1]), int(parsed[2]), int(parsed[3])
    problems = []
    if not table.schema.remove_metadata().equals(KINDS[kind]):
        problems.append(f"{kind}/{name} has another schema")
    for row in table.select(["source", "partition", "offset"]).to_pylist():
        inside = start <= row["offset"] < start + block_size
        if (row["source"], row["partition"]) != (source, partition) or not inside:
            problems.append(f"{kind}/{name} holds {row}")
    offsets = table["offset"].to_pylist()
    if offsets != sorted(offsets) or start % block_size:
        problems.append(f"{kind}/{name} is out of order or off the grid")
    return problems


def _citation_problems(sent: Sent, row: Row, mentions: Sequence[Row]) -> list[str]:
    message = sent.message
    expected = {
        "status": message.status,
        "pmid": message.pmid,
        "pmid_version": message.version,
        "text": message.text,
        "mention_count": len(mentions),
        "truncated": False,
    }
    problems = [
        f"{sent.place}: {name} is {row[name]!r}, expected {value!r}"
        for name, value in expected.items()
        if row[name] != value
    ]
    text = row["text"] or ""
    for mention in mentions:
        span = text[mention["start"] : mention["end"]]
        if span != mention["text"] or not span:
            problems.append(f"{sent.place}: the text of {mention} disagrees with its offsets")
        if (mention["pmid"], mention["pmid_version"]) != (row["pmid"], row["pmid_version"]):
            problems.append(f"{sent.place}: {mention} names another citation")
        if mention["checkpoint_id"] != row["checkpoint_id"]:
            problems.append(f"{sent.place}: {mention} is of another checkpoint")
    spans = Counter((x["task"], x["label"], x["start"], x["end"]) for x in mentions)
    if any(times > 1 for times in spans.values()):
        problems.append(f"{sent.place}: a mention stands twice")
    return problems


def _letter_problems(sent: Sent, row: Row) -> list[str]:
    message = sent.message
    if message.status is not None:
        return [f"{sent.place}: a dead letter ({row['error']}), expected {message.status}"]
    expected = {
        "stage": "parse",
        "key": message.key,
        "payload": message.value or b"",
        "headers": list(dict(message.headers).items()),
        "header_list": [
            {"key": name, "key_bytes": None, "value": value} for name, value in message.headers
        ],
    }
    return [
        f"{sent.place}: {name} of the dead letter is {row[name]!r}, expected {value!r}"
        for name, value in expected.items()
        if row[name] != value
    ]


def _leftovers(root: Path) -> list[str]:
    """Name what a run may not leave behind: temporary files, and the marker that asks it to end."""
    hidden = [x for x in root.rglob(".*") if x.parent.name != ".locks"]
    found = sorted(str(x.relative_to(root)) for x in hidden if x.name not in _ALLOWED_HIDDEN)
    found += sorted(str(x.relative_to(root)) for x in root.rglob("*.tmp") if x not in hidden)
    return [f"left behind: {name}" for name in found]


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [x for x in folder.iterdir() if not x.name.startswith(".")]


def _without(row: Row, names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _add(problems: list[str], what: str, places: Iterable[Place]) -> None:
    found = sorted(places)
    if found:
        problems.append(f"{len(found)} positions {what}: {found[:_SHOWN]}")
