"""The steps of a retraining round, each recorded when done."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import CorpusError, GateRefusedError, SettingsError, TrainingError
from schemas.manifest import CheckpointManifest
from training.corpora.catalogue import Split
from training.corpora.check import CorpusReport, check_corpora
from training.corpora.corpus import corpora_root, open_corpus
from training.encoders.names import MINILM
from training.evaluation.evaluate import evaluate_heads
from training.evaluation.report import EvaluationReport, print_report, report_json
from training.gate.running import (
    Candidacy,
    go_live,
    keep_report,
    require_inputs,
    require_passed,
    run_gate,
)
from training.gate.sample import read_sample
from training.gate.tables import print_gate
from training.jobs.train import train
from training.recipes.recipe import Recipe, changes_of, check_values, find_recipe
from training.reports.progress import Work, show_work
from training.retraining.record import Round
from training.settings.retrain import ACTIVE, RetrainSettings
from training.settings.train import STATE, TrainSettings
from worker.checkpoint.folder import MANIFEST, read_manifest
from worker.checkpoint.reference import write_reference
from worker.cli.command import write_json
from worker.drift.tally import reference_of
from worker.registry.cache import default_cache
from worker.registry.registry import Registry
from worker.registry.who import default_who

if TYPE_CHECKING:
    from rich.console import Console

_FIRST_RECIPE = "compact"


@dataclass(frozen=True, slots=True)
class Job:
    """The context of a round's steps: `now` returns the time, `clock` seconds."""

    round: Round
    registry: Registry
    settings: RetrainSettings
    console: "Console"
    now: Callable[[], datetime]
    clock: Callable[[], float]

    def log(self, line: str) -> None:
        """Print a line for the user."""
        self.console.print(line, soft_wrap=True)

    @contextmanager
    def stage(self, what: str) -> Iterator[Work]:
        """Show the stage `what` while the block runs."""
        with show_work(self.console) as work, work.stage(what):
            yield work

    @property
    def root(self) -> Path:
        """The folder of the corpora."""
        return corpora_root(self.settings.data, os.environ)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a call: its exit status, and the result of the round, if known.

    `refusal` is set if the gate refused the checkpoint.
    """

    code: int
    result: dict[str, Any] | None = None
    refusal: GateRefusedError | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The fixed inputs of a round, as names for training; `active` is a checkpoint's id."""

    active: str | None
    corpora: tuple[str, ...]
    encoder: str
    teachers: tuple[str, ...]


def run_round(job: Job) -> Outcome:
    """Run the steps that are not done yet, in order.

    A signal during training saves its state and ends the call; the next call resumes there.

    :raises CorpusError: if a corpus is broken; names file, line and reason.
    :raises TrainingError: if a corpus changed since the round started, or training fails.
    :raises RegistryError: if another checkpoint was promoted while the gate measured.
    """
    with job.stage("reading what the gate is given"):
        require_inputs(job.settings)
    plan = _plan(job)
    digests = _check(job, plan)
    code, manifest = _train(job, plan, digests)
    if manifest is None:
        return Outcome(code)
    scores = _evaluate(job, plan, manifest, digests)
    manifest = _refer(job, manifest)
    _publish(job, manifest)
    judged, refusal = _judge(job, plan, manifest)
    result = {
        "id": manifest.id,
        "path": str(job.round.checkpoint),
        "active_before": plan.active,
        "evaluation": scores,
        **judged,
    }
    return Outcome(0 if refusal is None else refusal.exit_code, result, refusal)


def _plan(job: Job) -> Plan:
    """Fix the inputs of the round once, since the active checkpoint may change before it ends."""
    begun = job.round.begun()
    if begun is None:
        change = job.registry.pointer().active
        manifest = None if change is None else job.registry.manifest(change.id)
        plan, recipe = resolve_plan(job.settings, manifest)
        write_json(recipe.values(), str(job.round.recipe))
        job.round.begin({**asdict(plan), "recipe": recipe.values()})
        begun = asdict(plan)
    plan = Plan(
        begun["active"], tuple(begun["corpora"]), begun["encoder"], tuple(begun["teachers"])
    )
    job.log(
        f"Round in {job.round.folder}: corpora {', '.join(plan.corpora)}, encoder {plan.encoder}, "
        f"active checkpoint {plan.active or 'none'}."
    )
    return plan


def resolve_plan(
    settings: RetrainSettings, active: CheckpointManifest | None
) -> tuple[Plan, Recipe]:
    """Return the plan of a round, with defaults from the active checkpoint.

    :raises SettingsError: if neither gives a value, or heads would be lost that the gate requires.
    """
    if (
        active is not None
        and active.kind != "encoder"
        and not (settings.recipe and settings.encoder)
    ):
        raise SettingsError(
            f"the active checkpoint {active.id} is a {active.kind}, from which training cannot "
            "continue; name --recipe and --encoder"
        )
    named = ACTIVE in (settings.encoder, *settings.teacher)
    if active is None and (named or not settings.corpus):
        raise SettingsError(
            f"{settings.registry} has no active checkpoint"
            + (
                ", which --encoder or --teacher names"
                if named
                else " whose corpora could be trained on again; name them with --corpus"
            )
        )
    known = () if active is None else tuple(entry.name for entry in active.corpora)
    corpora = settings.corpus or known
    if not corpora:
        raise SettingsError(
            "the active checkpoint's manifest names no corpus; name them with --corpus"
        )
    if active is not None and not settings.allow_lost_heads:
        lost = [
            t.name
            for t in active.tasks
            if t.name not in {Path(name.removesuffix(".toml")).name for name in corpora}
        ]
        if lost:
            raise SettingsError(
                f"the active checkpoint has the heads {', '.join(lost)}, and --corpus names no "
                "corpus of these, so the gate would refuse the new checkpoint; name them too, or "
                "give --allow-lost-heads"
            )
    recipe = _recipe(settings, active)
    teachers = settings.teacher
    if not teachers and active is not None and recipe.learns_from_teachers:
        teachers = (ACTIVE,)
    encoder = settings.encoder or (MINILM if active is None else ACTIVE)
    return Plan(None if active is None else active.id, corpora, encoder, teachers), recipe


def _recipe(settings: RetrainSettings, active: CheckpointManifest | None) -> Recipe:
    if settings.recipe is not None:
        recipe = find_recipe(settings.recipe)
    elif active is None:
        recipe = find_recipe(_FIRST_RECIPE)
    else:
        where = f"the recipe of checkpoint {active.id}"
        recipe = Recipe(**check_values({"name": "unnamed", **active.recipe}, where))
    seed = {} if settings.seed is None else {"seed": settings.seed}
    return replace(recipe, **{**seed, **changes_of(settings.set)})


def _check(job: Job, plan: Plan) -> dict[str, dict[str, str]]:
    """Check the training corpora; return the SHA-256 of their files."""
    corpora = [open_corpus(job.root, name) for name in plan.corpora]
    digests = {
        corpus.name: {
            str(split): corpus.sha256(split)
            for split in (Split.TRAIN, Split.DEVEL)
            if corpus.has(split)
        }
        for corpus in corpora
    }
    known = job.round.given_to("check")
    if known == digests:
        return digests
    if known is not None and job.round.holds_work():
        was = known if isinstance(known, dict) else {}
        changed = [name for name in digests if was.get(name) != digests[name]]
        raise TrainingError(
            f"the corpora {', '.join(changed)} changed since the round in {job.round.folder} "
            "started; start it again with --restart, or another in another folder"
        )
    with job.stage("checking the corpora") as work:
        for report in check_corpora(job.root, plan.corpora, work):
            if not report.trainable:
                raise CorpusError(_broken(report))
    job.log(f"The corpora are sound: {', '.join(digests)}.")
    job.round.end("check", digests, {"sound": True})
    return digests


def _broken(report: CorpusReport) -> str:
    """Return the first problem of a corpus, with file and line if known."""
    wanted = {Split.TRAIN, Split.DEVEL}
    files = [file for file in report.files if file.split in wanted and not file.sound]
    missing = [f"{split}.tsv" for split in wanted if split not in {f.split for f in report.files}]
    if report.note:
        what = report.note
    elif missing:
        what = f"{', '.join(sorted(missing))} is missing in {report.folder}"
    else:
        problems = [str(problem) for file in files for problem in file.problems]
        what = (problems or [f"{files[0].path}: {files[0].difference}"])[0]
        count = sum(file.problem_count for file in files)
        what += f" (the first of {count:,} problems)" if count > 1 else ""
    return f"corpus {report.corpus}: {what}; correct it, or see: pubner corpora check"


def _train(
    job: Job, plan: Plan, digests: Mapping[str, Any]
) -> tuple[int, CheckpointManifest | None]:
    """Train or resume; return the exit status and, if finished, the checkpoint's manifest."""
    folder = job.round.checkpoint
    if not (folder / MANIFEST).is_file():
        settings, cache = job.settings, job.settings.checkpoint_cache or default_cache()

        def place(name: str) -> str:
            if name != ACTIVE or plan.active is None:
                return name
            with job.stage(f"fetching checkpoint {plan.active}"):
                return str(job.registry.fetch(plan.active, cache))

        # Built without the environment, whose options are meant for `pubner train`.
        code = train(
            TrainSettings.model_construct(
                corpus=plan.corpora,
                output=folder,
                data=settings.data,
                recipe=str(job.round.recipe),
                encoder=place(plan.encoder),
                teacher=tuple(map(place, plan.teachers)),
                texts=settings.texts,
                device=settings.device,
                threads=settings.threads,
                save_seconds=settings.save_seconds,
            )
        )
        if code:
            return code, None
    manifest = read_manifest(folder)
    shutil.rmtree(folder / STATE, ignore_errors=True)
    given = {"corpora": digests, "active": plan.active}
    if job.round.done("train", given) is None:
        result = {"id": manifest.id, "metrics": manifest.metrics}
        job.round.end("train", given, json.loads(json.dumps(result)))
    return 0, manifest


def _evaluate(
    job: Job, plan: Plan, manifest: CheckpointManifest, digests: Mapping[str, Any]
) -> dict[str, Any]:
    """Score the new, calibrated checkpoint on devel."""
    context = job.settings.context
    given = {"id": manifest.id, "context": str(context), "corpora": digests}
    found = job.round.done("evaluate", given)
    if found is None:
        from worker.tagger import load_tagger

        job.log("Evaluating on devel.")
        with job.stage("evaluating") as work:
            tagger = load_tagger(
                [job.round.checkpoint], device=job.settings.device, threads=job.settings.threads
            )
            tasks = {task.name: task for task in tagger.tasks}
            opened = [open_corpus(job.root, name) for name in plan.corpora]
            devel = [(tasks[corpus.name], corpus.sentences(Split.DEVEL)) for corpus in opened]
            heads = evaluate_heads(tagger, devel, context, work)
        report = EvaluationReport(manifest.id, str(Split.DEVEL), str(context), heads, {})
        print_report(report, job.console)
        found = report_json(report)
        job.round.end("evaluate", given, found)
    return found


def _refer(job: Job, manifest: CheckpointManifest) -> CheckpointManifest:
    """Add the checkpoint's drift reference, computed on the canary, to its manifest."""
    settings = job.settings
    if not settings.canary or manifest.reference is not None:
        return manifest
    from worker.tagger import load_tagger

    job.log("Reading the canary, as the reference for drift.")
    with job.stage("reading the canary"):
        sample = read_sample(settings.canary, settings.canary_limit)
        tagger = load_tagger(
            [job.round.checkpoint], device=settings.device, threads=settings.threads
        )
        texts = [one.text for one in sample.citations]
        names = ", ".join(Path(name).name for name in sample.files)
        reference = reference_of(tagger, texts, name=names)
    return write_reference(job.round.checkpoint, manifest, reference)


def _publish(job: Job, manifest: CheckpointManifest) -> None:
    given = {"id": manifest.id, "registry": job.registry.root}
    if job.round.done("publish", given) is None:
        with job.stage("publishing"):
            new = job.registry.publish(
                job.round.checkpoint, who=job.settings.who or default_who(), when=job.now()
            )
        job.round.end("publish", given, {"new": new})
        job.log(f"{manifest.id} is published in {job.registry.root}.")


def _judge(
    job: Job, plan: Plan, manifest: CheckpointManifest
) -> tuple[dict[str, Any], GateRefusedError | None]:
    """Run the gate, and promote if requested; return the result, and the refusal if any."""
    settings, registry = job.settings, job.registry
    promoted = job.round.done("promote", {"id": manifest.id})
    if promoted is not None:
        job.log(f"{manifest.id} was promoted in this round before; there is nothing left to do.")
        return promoted, None
    pointer = registry.pointer()
    if pointer.active is not None and pointer.active.id == manifest.id:
        job.log(f"{manifest.id} is active already; there is nothing left to do.")
        return {"verdict": None, "report": None, "promoted": False}, None
    request = Candidacy(
        registry,
        pointer,
        manifest.id,
        who=settings.who or default_who(),
        why=settings.why or f"retrained, round {job.round.folder.absolute().name}",
        when=job.now(),
        root=job.root,
        corpora=plan.corpora,
    )
    given = {
        "id": manifest.id,
        "changes": len(pointer.changes),
        "limits": asdict(settings.limits()),
        "split": str(settings.split),
        "context": str(settings.context),
        "documents": list(settings.documents),
        "canary": [*settings.canary, settings.canary_limit],
    }
    judged = job.round.done("gate", given)
    if judged is None or judged["verdict"] != "passed":
        job.log("Running the gate on both checkpoints.")
        with job.stage("judging") as work, work.sequence("texts") as watch:
            report = run_gate(request, settings, clock=job.clock, watch=watch)
        print_gate(report, job.console)
        place = keep_report(registry, report)
        judged = {"verdict": report.verdict, "report": place}
        job.round.end("gate", given, judged)
        where = f"The report is {registry.root}/{place} and the .html beside it."
        try:
            require_passed(report, where)
        except GateRefusedError as refusal:
            return {**judged, "promoted": False}, refusal
    if not settings.promote:
        job.log(f"{manifest.id} passes the gate. The same command with --promote makes it active.")
        return {**judged, "promoted": False}, None
    change = go_live(request, judged["report"], forced=False, now=job.now)
    job.log(f"{manifest.id} is active; it replaces {change.previous or 'none'}.")
    result = {**judged, "promoted": True}
    job.round.end("promote", {"id": manifest.id}, result)
    return result, None
