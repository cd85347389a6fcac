from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.records import Annotation, Mention
from schemas.tasks import TASKS, EntityType, Label, Task
from training.evaluation.errors import Outcome
from training.gate.canary import EXAMPLES_PER_TYPE, TypeChange, compare_canary
from training.gate.page import snippets
from training.gate.sample import CanaryCitation, CanarySample

TEXT = "BRCA1 in breast cancer\nIt binds p53 and BRCA1."

Found = tuple[str, str, int, int]


@dataclass(frozen=True)
class Scripted:
    """Finds what it is told to in each text."""

    tasks: tuple[Task, ...]
    script: Mapping[str, Sequence[Found]]

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        return [Annotation(tuple(map(self._mention, self.script.get(x, ())))) for x in texts]

    def _mention(self, found: Found) -> Mention:
        head, label, start, end = found
        task = next(task for task in self.tasks if task.name == head)
        return Mention(head, label, task.entity_type(label), start, end, 0.5, True, "x")


def scripted(*found: Found, text: str = TEXT, tasks: Sequence[str] = ("bc2gm",)) -> Scripted:
    return Scripted(tuple(TASKS[name] for name in tasks), {text: found})


def sample(*texts: str) -> CanarySample:
    return CanarySample(
        tuple(CanaryCitation(number, "a.xml", text) for number, text in enumerate(texts, 1)),
        ("a.xml",),
    )


GENE: Found = ("bc2gm", "GENE", 0, 5)


def test_equal_mentions_change_nothing() -> None:
    report = compare_canary(sample(TEXT, "Other\n"), scripted(GENE), scripted(GENE))
    assert (report.changed_share, report.changed_mentions_share) == (0.0, 0.0)
    assert report.types == (TypeChange(EntityType.GENE, 1, 0, 1, 1, 1, 0, 0, 0),)
    assert report.examples == ()


def test_lost_gained_and_altered_mentions_are_told_apart() -> None:
    active = scripted(GENE, ("bc2gm", "GENE", 32, 35), ("bc2gm", "GENE", 40, 45))
    candidate = scripted(GENE, ("bc2gm", "GENE", 26, 35), ("bc2gm", "GENE", 9, 15))
    report = compare_canary(sample(TEXT, "Other\n", "One\n", "Two\n"), candidate, active)
    assert report.types == (TypeChange(EntityType.GENE, 1, 1, 3, 3, 4, 1, 1, 1),)
    assert report.changed_share == 0.25
    assert report.changed_share_of(report.types[0]) == 0.25
    assert report.changed_mentions_share == 0.75
    (example,) = report.examples
    assert (example.pmid, example.head) == (1, "bc2gm")
    assert [one.outcome for one in example.changes] == [
        Outcome.SPURIOUS,
        Outcome.BOUNDARY,
        Outcome.MISS,
    ]


def test_another_label_counts_for_both_entity_types() -> None:
    active = scripted(("jnlpba", "protein", 0, 5), tasks=["jnlpba"])
    candidate = scripted(("jnlpba", "DNA", 0, 5), tasks=["jnlpba"])
    report = compare_canary(sample(TEXT), candidate, active)
    assert {kind.entity_type: (kind.before, kind.after, kind.altered) for kind in report.types} == {
        EntityType.PROTEIN: (1, 0, 1),
        EntityType.DNA: (0, 1, 1),
    }
    assert (report.mentions, report.changed_mentions) == (1, 1)


def test_types_that_no_table_knows_are_compared_after_the_known_ones() -> None:
    labels = (
        Label("b", EntityType("Zebra")),
        Label("a", EntityType("Ant")),
        *TASKS["bc2gm"].labels,
    )
    task = Task("own", labels)
    active = Scripted((task,), {TEXT: [("own", "b", 0, 5), ("own", "GENE", 40, 45)]})
    candidate = Scripted((task,), {TEXT: [("own", "a", 0, 5), ("own", "GENE", 40, 45)]})
    report = compare_canary(sample(TEXT), candidate, active)
    assert [(kind.entity_type, kind.altered) for kind in report.types] == [
        ("Gene", 0),
        ("Ant", 1),
        ("Zebra", 1),
    ]
    assert [one.entity_type for one in report.examples] == ["Ant", "Zebra"]


def test_an_example_tells_the_changes_of_its_own_type() -> None:
    active = scripted(("jnlpba", "protein", 0, 5), tasks=["jnlpba"])
    candidate = scripted(("jnlpba", "DNA", 32, 35), tasks=["jnlpba"])
    report = compare_canary(sample(TEXT), candidate, active)
    assert {
        one.entity_type: [change.outcome for change in one.changes] for one in report.examples
    } == {EntityType.PROTEIN: [Outcome.MISS], EntityType.DNA: [Outcome.SPURIOUS]}
    assert all(len(one.comparisons) == 2 for one in report.examples)


def test_heads_that_only_one_has_are_not_compared() -> None:
    active = scripted(GENE, ("ncbi-disease", "Disease", 9, 22), tasks=["bc2gm", "ncbi-disease"])
    candidate = scripted(GENE, ("jnlpba", "DNA", 0, 5), tasks=["bc2gm", "jnlpba"])
    report = compare_canary(sample(TEXT), candidate, active)
    assert (report.mentions, report.changed) == (1, 0)


def test_alone_a_candidate_is_counted_and_nothing_compared() -> None:
    report = compare_canary(sample(TEXT), scripted(GENE), None)
    assert not report.compared
    assert [(kind.entity_type, kind.after) for kind in report.types] == [(EntityType.GENE, 1)]


def test_examples_are_few_and_spread_over_the_sample() -> None:
    texts = [f"BRCA{number}\n" for number in range(100, 200)]
    told: list[int] = []
    report = compare_canary(
        sample(*texts),
        Scripted((TASKS["bc2gm"],), {text: [("bc2gm", "GENE", 0, 7)] for text in texts}),
        Scripted((TASKS["bc2gm"],), {}),
        told.append,
    )
    assert report.changed == 100
    assert len(report.examples) == EXAMPLES_PER_TYPE
    assert report.examples[-1].pmid > 80
    assert sum(told) == 100


def test_a_snippet_shows_both_sides_and_reads_as_the_text() -> None:
    active = scripted(GENE, ("bc2gm", "GENE", 32, 35))
    report = compare_canary(sample(TEXT), scripted(GENE, ("bc2gm", "GENE", 26, 35)), active)
    (snippet,) = snippets(report.examples[0])
    for side in (snippet.active, snippet.candidate):
        assert "".join(piece.text for piece in side) == TEXT
    assert [(p.text, p.change) for p in snippet.active if p.change] == [
        ("BRCA1", "same"),
        ("p53", "altered"),
    ]
    assert [(p.text, p.change) for p in snippet.candidate if p.change] == [
        ("BRCA1", "same"),
        ("binds p53", "altered"),
    ]
    assert not snippet.cut_before
    assert not snippet.cut_after


def test_a_snippet_of_a_long_text_is_cut_between_words() -> None:
    text = f"{'word ' * 100}p53 {'more ' * 100}"
    report = compare_canary(
        sample(text), scripted(("bc2gm", "GENE", 500, 503), text=text), scripted(text=text)
    )
    (snippet,) = snippets(report.examples[0])
    shown = "".join(piece.text for piece in snippet.candidate)
    assert snippet.cut_before
    assert snippet.cut_after
    assert set(shown.split()) == {"word", "p53", "more"}
    assert len(shown) < 200
