"""The verdict: which tolerances a candidate breaks; pure functions of figures and limits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from schemas.entity_types import EntityType
from schemas.tasks import Task
from training.gate.canary import CanaryReport
from training.gate.limits import Limits
from training.gate.measuring import SetComparison, SpeedComparison

LEAST_CALIBRATED = 150
"""The minimum number of predicted mentions to judge calibration: fifteen bins of ten."""
LEAST_MENTIONS = 50
"""The minimum number of mentions of an entity type to judge the fraction that changes."""
LEAST_CITATIONS = 100
"""The minimum number of citations of a canary to judge the fraction that changes."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken tolerance: the option that sets it, its subject, the figure and the limit.

    `words` describes it in one clause. Figure and limit are None for breaches without a number. A
    `final` breach is not overruled by --force, and has no option.
    """

    option: str
    subject: str
    words: str
    figure: float | None = None
    limit: float | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class HeadChanges:
    """Lost and gained heads, or labels as `HEAD: LABEL`."""

    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """All measurements of a candidate.

    `first` is True if no checkpoint is active, so that there is nothing to compare with.
    `active_problem` is the reason why the active checkpoint could not be used (else empty); the
    candidate was then measured alone. `candidate_problem` is the same for the candidate, of which
    nothing was measured then. `common` holds the names of the heads that both have.
    """

    first: bool = False
    active_problem: str = ""
    candidate_problem: str = ""
    heads: HeadChanges = HeadChanges()
    common: tuple[str, ...] = ()
    sets: tuple[SetComparison, ...] = ()
    speed: SpeedComparison | None = None
    canary: CanaryReport | None = None


def head_changes(active: Sequence[Task], candidate: Sequence[Task]) -> HeadChanges:
    """Return the lost and gained heads and labels; a changed entity type makes a new label."""
    return HeadChanges(tuple(_without(active, candidate)), tuple(_without(candidate, active)))


def _without(these: Sequence[Task], those: Sequence[Task]) -> Iterator[str]:
    """Yield the heads and labels of `these` that `those` lack."""
    others = {task.name: task for task in those}
    for task in these:
        if task.name not in others:
            yield task.name
            continue
        known = set(others[task.name].labels)
        yield from (f"{task.name}: {label.name}" for label in task.labels if label not in known)


def judge(measured: Measured, limits: Limits) -> tuple[Breach, ...]:
    """Return the tolerances that the candidate breaks; a figure equal to its limit passes.

    An unusable candidate is refused for that alone, and finally. Otherwise a first promotion breaks
    no tolerance, since there is nothing to compare with. Any other promotion without an evaluation
    set that scores a common head is refused, since a canary cannot show which checkpoint is better;
    with `canary_only` a canary with at least one mention suffices.
    """
    if measured.candidate_problem:
        words = f"cannot be used: {measured.candidate_problem}"
        return (Breach("", "the candidate", words, final=True),)
    if measured.first:
        return ()
    breaches = [*_comparability(measured, limits), *_heads(measured, limits)]
    for one in measured.sets:
        breaches += _set_breaches(one, limits)
    breaches += _speed(measured.speed, limits)
    breaches += _canary(measured.canary, limits)
    return tuple(breaches)


def notes_of(measured: Measured) -> tuple[str, ...]:
    """Return notes for the person who decides, in addition to the breaches."""
    notes = []
    if measured.candidate_problem:
        return ("nothing was measured",)
    if measured.first:
        notes.append(
            "no checkpoint was active, so there is nothing to compare with: the candidate was "
            "verified, loaded and run on a few texts"
            + (", and evaluated alone" if measured.sets or measured.canary else ", no more")
        )
    for one in measured.sets:
        if not one.labels:
            notes.append(f"{one.name}: the heads {one.head!r} have no label in common")
        elif one.candidate is not None and one.active is None and _compares(measured):
            notes.append(f"{one.name}: the head {one.head!r} is new and was scored alone")
        elif one.bootstrap is not None and not _tells_calibration(one):
            notes.append(
                f"{one.name}: fewer than {LEAST_CALIBRATED} mentions were found, so calibration "
                "was not judged"
            )
    if not measured.sets:
        notes.append("there was no evaluation set: no head was scored")
    scored = {one.head for one in measured.sets if _tells_scores(one)}
    notes += [
        f"the head {name!r} was not scored on any evaluation set: whether it is worse is unknown"
        for name in measured.common
        if name not in scored
    ]
    if measured.canary is None:
        notes.append("there was no canary: the changes in recent citations are unknown")
    else:
        notes += _canary_notes(measured.canary)
    return tuple(notes)


def _compares(measured: Measured) -> bool:
    return not measured.first and not measured.active_problem


def _tells_scores(one: SetComparison) -> bool:
    """Whether both checkpoints were scored on the gold mentions of a set."""
    return one.bootstrap is not None and one.mentions > 0


def _canary_notes(canary: CanaryReport) -> Iterator[str]:
    if canary.sample.left_out:
        yield f"{canary.sample.left_out:,} records of the canary's files could not be read"
    if not canary.compared:
        return
    if canary.citations < LEAST_CITATIONS:
        yield (
            f"the canary has {canary.citations:,} citations, fewer than {LEAST_CITATIONS}: "
            "the fraction that changes is not reliable"
        )
    few = [str(kind.entity_type) for kind in canary.types if kind.mentions < LEAST_MENTIONS]
    if few:
        yield (
            f"the canary has fewer than {LEAST_MENTIONS} mentions of {', '.join(few)}, so the "
            "fraction that changes was not judged"
        )


def _comparability(measured: Measured, limits: Limits) -> Iterator[Breach]:
    if measured.active_problem:
        yield Breach(
            "--force", "the active checkpoint", f"cannot be compared: {measured.active_problem}"
        )
    elif any(map(_tells_scores, measured.sets)):
        return
    elif measured.canary is None or not measured.canary.mentions:
        yield Breach(
            "--force",
            "the gate",
            "has no basis for a verdict: name an evaluation set (--corpus, --data, --documents)",
        )
    elif not limits.canary_only:
        yield Breach(
            "--canary-only",
            "the gate",
            "scored no common head, and a canary alone cannot show which checkpoint is better: "
            "name an evaluation set (--corpus, --data, --documents), or give --canary-only",
        )


def _heads(measured: Measured, limits: Limits) -> Iterator[Breach]:
    if limits.allow_lost_heads:
        return
    for name in measured.heads.lost:
        kind = "label" if ":" in name else "head"
        yield Breach("--allow-lost-heads", name, f"is a {kind} that the candidate lacks")


def _set_breaches(one: SetComparison, limits: Limits) -> Iterator[Breach]:
    if one.bootstrap is None or one.active is None or one.candidate is None:
        return
    place = f"{one.head} ({one.name})"
    drop = -100 * one.bootstrap.difference
    if drop > limits.max_f1_drop + _ROUNDING:
        yield Breach(
            "--max-f1-drop",
            place,
            f"strict F1 falls by {drop:.2f} points (limit {limits.max_f1_drop:g}; 95 % interval "
            f"{100 * one.bootstrap.low:+.2f} to {100 * one.bootstrap.high:+.2f}, "
            f"p {one.bootstrap.p_value:.2g})",
            drop,
            limits.max_f1_drop,
        )
    rise = one.candidate.ece - one.active.ece
    if _tells_calibration(one) and rise > limits.max_ece_rise + _ROUNDING:
        yield Breach(
            "--max-ece-rise",
            place,
            f"the calibration error rises by {rise:.3f} (limit {limits.max_ece_rise:g})",
            rise,
            limits.max_ece_rise,
        )


def _tells_calibration(one: SetComparison) -> bool:
    return all(
        side is not None and side.found >= LEAST_CALIBRATED for side in (one.active, one.candidate)
    )


def _speed(speed: SpeedComparison | None, limits: Limits) -> Iterator[Breach]:
    if speed is not None and speed.ratio < limits.min_speed - _ROUNDING:
        yield Breach(
            "--min-speed",
            "speed",
            f"is {speed.ratio:.2f} of the active checkpoint's (limit {limits.min_speed:g})",
            speed.ratio,
            limits.min_speed,
        )


def _canary(canary: CanaryReport | None, limits: Limits) -> Iterator[Breach]:
    if canary is None or not canary.compared:
        return
    yield from _types(
        "--max-changed-share",
        f"mentions change in {{}} of {canary.citations:,} citations",
        {kind.entity_type: canary.changed_share_of(kind) for kind in canary.types},
        limits.max_changed_share,
    )
    yield from _types(
        "--max-changed-mentions",
        "{} of the mentions change",
        {
            kind.entity_type: kind.changed_mentions_share
            for kind in canary.types
            if kind.mentions >= LEAST_MENTIONS
        },
        limits.max_changed_mentions,
    )


def _types(
    option: str, what: str, shares: Mapping[EntityType, float], limit: float
) -> Iterator[Breach]:
    """Yield one breach that names every entity type whose fraction exceeds the limit."""
    beyond = {kind: share for kind, share in shares.items() if share > limit + _ROUNDING}
    if beyond:
        listed = ", ".join(f"{100 * share:.1f} % ({kind})" for kind, share in beyond.items())
        yield Breach(
            option,
            "canary:",
            f"{what.format(listed)} (limit {100 * limit:g} %)",
            max(beyond.values()),
            limit,
        )
