"""The canary: compares the mentions of two checkpoints in the same recent citations."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from schemas.entity_types import KNOWN_TYPES, EntityType
from schemas.records import Mention, Span
from schemas.tasks import Task
from training.evaluation.errors import Comparison, Outcome, compare_spans
from training.evaluation.predict import Annotator
from training.gate.sample import CanaryCitation, CanarySample, evenly
from worker.system.batching import in_groups

EXAMPLES_PER_TYPE = 6
_TEXTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class TypeChange:
    """The changes of the mentions of one entity type.

    `citations` counts those with such a mention by either checkpoint, `changed` those in which any
    differs. `before` and `after` count the mentions of the active checkpoint and the candidate,
    `mentions` those of either, equal and overlapping ones once. `lost` and `gained` ones overlap no
    mention of the other checkpoint, `altered` ones overlap one with another start, end or label.
    """

    entity_type: EntityType
    citations: int
    changed: int
    before: int
    after: int
    mentions: int
    lost: int
    gained: int
    altered: int

    @property
    def changed_mentions_share(self) -> float:
        """The fraction of mentions that change."""
        return (self.lost + self.gained + self.altered) / self.mentions


@dataclass(frozen=True, slots=True)
class Example:
    """A citation in which a head's mentions of an entity type change.

    `changes` are the changed mentions of that type, `comparisons` all of the head's mentions,
    including equal ones, in order; in each, `gold` is the active checkpoint's mention and `found`
    the candidate's.
    """

    entity_type: EntityType
    pmid: int
    source: str
    head: str
    text: str
    changes: tuple[Comparison, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """The comparison of two checkpoints on the same citations; `compared` is False with only one.

    `changed` counts the citations with any mention that differs, of the heads and labels that both
    have. `mentions` counts those of either, equal and paired ones once, `changed_mentions` those of
    them that differ.
    """

    sample: CanarySample
    compared: bool
    changed: int
    mentions: int
    changed_mentions: int
    types: tuple[TypeChange, ...]
    examples: tuple[Example, ...]

    @property
    def citations(self) -> int:
        """The number of citations."""
        return len(self.sample.citations)

    @property
    def changed_share(self) -> float:
        """The fraction of citations in which any mention changes."""
        return self.changed / self.citations if self.citations else 0.0

    def changed_share_of(self, kind: TypeChange) -> float:
        """Return the fraction of all citations in which mentions of an entity type change."""
        return kind.changed / self.citations

    @property
    def changed_mentions_share(self) -> float:
        """The fraction of mentions that change."""
        return self.changed_mentions / self.mentions if self.mentions else 0.0


def common_labels(active: Sequence[Task], candidate: Sequence[Task]) -> dict[str, tuple[str, ...]]:
    """Return the common labels of heads with the same name, by head, in the active order."""
    others = {task.name: set(task.label_names) for task in candidate}
    return {
        task.name: tuple(label for label in task.label_names if label in others[task.name])
        for task in active
        if task.name in others
    }


def compare_canary(
    sample: CanarySample,
    candidate: Annotator,
    active: Annotator | None,
    progress: Callable[[int], None] = lambda _: None,
) -> CanaryReport:
    """Annotate the sample with both checkpoints, and compare their mentions head by head.

    :param progress: called with the number of citations read
    """
    tasks = {task.name: task for task in candidate.tasks}
    if active is None:
        labels = {name: task.label_names for name, task in tasks.items()}
    else:
        labels = common_labels(active.tasks, candidate.tasks)
    counts = _Counts(tasks, compared=active is not None)
    for group in in_groups(sample.citations, _TEXTS_AT_ONCE):
        texts = [one.text for one in group]
        after = candidate.annotate(texts)
        before = after if active is None else active.annotate(texts)
        for one, old, new in zip(group, before, after, strict=True):
            olds, news = _spans(old.mentions, labels), _spans(new.mentions, labels)
            counts.add(one, {name: compare_spans(olds[name], news[name]) for name in labels})
        progress(len(group))
    return counts.report(sample)


def _spans(
    mentions: Iterable[Mention], labels: Mapping[str, Sequence[str]]
) -> dict[str, list[Span]]:
    out: dict[str, list[Span]] = {name: [] for name in labels}
    for mention in mentions:
        if mention.label in labels.get(mention.task, ()):
            out[mention.task].append(Span(mention.start, mention.end, mention.label))
    return out


class _Counts:
    """Counts the changes over citations."""

    def __init__(self, tasks: Mapping[str, Task], *, compared: bool) -> None:
        self._tasks = tasks
        self._compared = compared
        self._changed = self._mentions = self._changed_mentions = 0
        self._counts: dict[EntityType, Counter[str]] = defaultdict(Counter)
        self._candidates: dict[EntityType, list[Example]] = defaultdict(list)

    def add(self, citation: CanaryCitation, heads: Mapping[str, Sequence[Comparison]]) -> None:
        present: set[EntityType] = set()
        differ: set[EntityType] = set()
        for name, comparisons in heads.items():
            here: dict[EntityType, list[Comparison]] = {}
            for one in comparisons:
                self._mentions += 1
                kinds = self._kinds(name, one)
                present |= kinds
                self._count(name, one)
                if one.outcome != Outcome.CORRECT:
                    self._changed_mentions += 1
                    for kind in kinds:
                        here.setdefault(kind, []).append(one)
            for kind, changes in here.items():
                self._candidates[kind].append(
                    Example(
                        kind,
                        citation.pmid,
                        citation.source,
                        name,
                        citation.text,
                        tuple(changes),
                        tuple(comparisons),
                    )
                )
            differ |= set(here)
        self._changed += bool(differ)
        for kind in present:
            self._counts[kind]["citations"] += 1
            self._counts[kind]["changed"] += kind in differ

    def _kinds(self, head: str, one: Comparison) -> set[EntityType]:
        task = self._tasks[head]
        return {task.entity_type(span.label) for span in (one.gold, one.found) if span is not None}

    def _count(self, head: str, one: Comparison) -> None:
        task = self._tasks[head]
        for span, column in ((one.gold, "before"), (one.found, "after")):
            if span is not None:
                self._counts[task.entity_type(span.label)][column] += 1
        column = {Outcome.MISS: "lost", Outcome.SPURIOUS: "gained"}.get(one.outcome, "altered")
        for kind in self._kinds(head, one):
            self._counts[kind]["mentions"] += 1
            self._counts[kind][column] += one.outcome != Outcome.CORRECT

    def report(self, sample: CanarySample) -> CanaryReport:
        kinds = sorted(self._counts, key=_report_order)
        return CanaryReport(
            sample=sample,
            compared=self._compared,
            changed=self._changed,
            mentions=self._mentions,
            changed_mentions=self._changed_mentions,
            types=tuple(
                TypeChange(
                    kind,
                    **{one.name: self._counts[kind][one.name] for one in fields(TypeChange)[1:]},
                )
                for kind in kinds
            ),
            examples=tuple(
                one
                for kind in kinds
                if (found := self._candidates[kind])
                for one in evenly(found, min(EXAMPLES_PER_TYPE, len(found)))
            ),
        )


def _report_order(kind: EntityType) -> tuple[int, str]:
    """Sort known types as in their table, and then the others by name."""
    known = tuple(KNOWN_TYPES)
    return (known.index(kind) if kind in KNOWN_TYPES else len(known), kind)
