"""The gate run: fetch both checkpoints, measure, judge, store the report, update the pointer."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from schemas.errors import CheckpointError, GateRefusedError, RegistryError
from schemas.manifest import CheckpointManifest
from training.evaluation.documents import read_gold_file, split_word
from training.gate.canary import common_labels, compare_canary
from training.gate.judging import HeadChanges, Measured, head_changes, judge
from training.gate.measuring import compare_on, measure_speed, speed_texts
from training.gate.options import GateSettings
from training.gate.page import render_page
from training.gate.readers import ACTIVE, CANDIDATE, Reader, Side, UnusableError, blaming
from training.gate.report import GateReport, manifest_differences, report_json
from training.gate.sample import CanarySample, read_sample
from training.gate.sets import EvaluationSet, read_sets, refuse_test
from worker.checkpoint.folder import read_manifest
from worker.registry.cache import default_cache
from worker.registry.pointer import Change, Pointer
from worker.registry.registry import Registry

Watch = Callable[[str, int], Callable[[int], None]]
"""Called with a task and its number of texts; returns a callback for the number read."""

_SEED = 0


@dataclass(frozen=True, slots=True)
class Candidacy:
    """A promotion request: the registry, the pointer that was read, the candidate's id, the reason.

    `corpora` are those to score on, `root` their folder. `force` is the reason to promote the
    candidate even if the gate refuses it.
    """

    registry: Registry
    pointer: Pointer
    candidate: str
    who: str
    why: str
    when: datetime
    root: Path
    corpora: tuple[str, ...] = ()
    force: str | None = None


def run_gate(
    request: Candidacy,
    settings: GateSettings,
    *,
    clock: Callable[[], float],
    watch: Watch = lambda *_: lambda _: None,
) -> GateReport:
    """Measure the candidate against the active checkpoint, and judge it; nothing is changed.

    Both first annotate the trial texts, as in every worker. A checkpoint that fails on these or on
    a later text causes a breach: a final one for the candidate; if it is the active one, the
    candidate is measured alone.

    :param clock: returns seconds; used to measure the speed
    :raises CheckpointError: if the candidate does not match its manifest.
    :raises RegistryError: if it is not published.
    """
    registry, change = request.registry, request.pointer.active
    cache = settings.checkpoint_cache or default_cache()
    folder = registry.fetch(request.candidate, cache)
    manifest = read_manifest(folder)
    active_folder: Path | None = None
    active_manifest: CheckpointManifest | None = None
    problem = ""
    if change is not None:
        try:
            active_folder = registry.fetch(change.id, cache)
            active_manifest = read_manifest(active_folder)
        except (CheckpointError, RegistryError) as error:
            active_folder, problem = None, str(error)
    material = _read_material(request, settings, active_manifest, manifest)
    common = () if active_manifest is None else _common_heads(active_manifest, manifest)
    measured = Measured(
        first=change is None,
        heads=HeadChanges()
        if active_manifest is None
        else head_changes(active_manifest.task_records(), manifest.task_records()),
    )
    try:
        candidate = _ready(CANDIDATE, folder, settings)
        try:
            if active_folder is not None:
                active = _ready(ACTIVE, active_folder, settings)
                found = _measure(material, candidate, active, clock=clock, watch=watch)
                measured = replace(found, heads=measured.heads, common=common)
        except UnusableError as error:
            if error.side == CANDIDATE:
                raise
            active_folder, problem = None, error.reason
        if active_folder is None:
            found = _measure(material, candidate, None, clock=clock, watch=watch)
            measured = replace(
                found, first=measured.first, heads=measured.heads, active_problem=problem
            )
    except UnusableError as error:
        measured = replace(measured, candidate_problem=error.reason)
    limits = settings.limits()
    return GateReport(
        registry=registry.root,
        candidate=request.candidate,
        active=None if change is None else change.id,
        who=request.who,
        when=request.when,
        why=request.why,
        force=request.force,
        settings={
            "split": str(settings.split),
            "context": str(settings.context),
            "device": settings.device,
        },
        limits=limits,
        measured=measured,
        breaches=judge(measured, limits),
        differences=manifest_differences(active_manifest, manifest),
    )


@dataclass(frozen=True, slots=True)
class _Material:
    """The evaluation sets and the canary sample."""

    sets: tuple[EvaluationSet, ...]
    sample: CanarySample


def _read_material(
    request: Candidacy,
    settings: GateSettings,
    active: CheckpointManifest | None,
    candidate: CheckpointManifest,
) -> _Material:
    active_tasks = () if active is None else active.task_records()
    sets = read_sets(
        (*active_tasks, *candidate.task_records()),
        root=request.root,
        corpora=request.corpora,
        split=settings.split,
        context=settings.context,
        documents=settings.documents,
    )
    return _Material(sets, read_sample(settings.canary, settings.canary_limit))


def _common_heads(active: CheckpointManifest, candidate: CheckpointManifest) -> tuple[str, ...]:
    """Return the names of the heads with a common label."""
    labels = common_labels(active.task_records(), candidate.task_records())
    return tuple(name for name, both in labels.items() if both)


def _measure(
    material: _Material,
    candidate: Reader,
    active: Reader | None,
    *,
    clock: Callable[[], float],
    watch: Watch,
) -> Measured:
    """Measure the candidate against the active checkpoint, or alone.

    :raises UnusableError: if one of them fails on a text.
    """
    sets, sample = material.sets, material.sample
    sides = 1 if active is None else 2
    rng = np.random.default_rng(_SEED)
    comparisons = tuple(
        compare_on(one, candidate, active, rng, watch(one.name, sides * len(one.readings)))
        for one in sets
        if active is not None or one.head in {task.name for task in candidate.tasks}
    )
    canary = None
    if sample.citations:
        progress = watch("canary", len(sample.citations))
        canary = compare_canary(sample, candidate, active, progress)
    speed = None
    texts, what = [one.text for one in sample.citations], "citations of the canary"
    if not texts:
        texts = [reading.text for one in sets for reading in one.readings]
        what = "texts of the evaluation sets"
    if active is not None and texts:
        watch("speed", 1)
        speed = measure_speed(candidate, active, speed_texts(texts), what=what, clock=clock)
    return Measured(sets=comparisons, speed=speed, canary=canary)


def require_inputs(settings: GateSettings) -> None:
    """Check that the gate's inputs can be read, before any expensive work.

    :raises PubnerError: if it cannot.
    """
    refuse_test(settings.split)
    read_sample(settings.canary, settings.canary_limit)
    for word in settings.documents:
        read_gold_file(split_word(word)[1])


def _ready(side: Side, folder: Path, settings: GateSettings) -> Reader:
    """Load a checkpoint and annotate the trial texts.

    :raises UnusableError: if it cannot.
    """
    from worker.registry.trial import try_tagger
    from worker.tagger import load_tagger

    with blaming(side, CheckpointError):
        tagger = load_tagger([folder], device=settings.device, threads=settings.threads)
    with blaming(side, Exception):
        try_tagger(tagger)
    return Reader(side, tagger)


def keep_report(registry: Registry, report: GateReport) -> str:
    """Store the report with the candidate, as JSON and HTML; return the path of the JSON.

    The page has the same name with the suffix `.html`.
    """
    name = f"{report.when:%Y%m%dT%H%M%S%fZ}"
    content = json.dumps(report_json(report), indent=2, ensure_ascii=False) + "\n"
    registry.put_report(report.candidate, f"{name}.html", render_page(report).encode())
    return registry.put_report(report.candidate, f"{name}.json", content.encode())


def require_passed(report: GateReport, where: str) -> None:
    """Raise if the gate refused the candidate.

    :param where: a sentence with the location of the report
    :raises GateRefusedError: with all broken tolerances, unless the request was forced and force
        overrules them.
    """
    if report.verdict == "refused":
        broken = "; ".join(f"{breach.subject} {breach.words}" for breach in report.breaches)
        way_out = (
            "--force does not overrule that: train or export it again, and publish it"
            if report.is_final
            else "To promote it anyway, give a reason: --force REASON"
        )
        raise GateRefusedError(
            f"checkpoint {report.candidate} is refused: {broken}. {where} {way_out}"
        )


def go_live(request: Candidacy, place: str, *, forced: bool, now: Callable[[], datetime]) -> Change:
    """Make the candidate active, unless the pointer changed while the gate measured.

    :param place: the path of the report in the registry
    :param forced: whether the gate had refused it
    :raises RegistryError: if it changed; the other promotion stands.
    """
    return request.registry.move(
        request.pointer,
        request.candidate,
        action="promote",
        who=request.who,
        when=now(),
        why=f"{request.why} (forced: {request.force})" if forced else request.why,
        forced=forced,
        report=place,
    )
