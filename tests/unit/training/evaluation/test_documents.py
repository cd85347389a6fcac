from pathlib import Path

import pytest

from schemas.errors import CorpusError, InputError, SettingsError
from schemas.records import Span
from schemas.tasks import TASKS, Task
from tests.unit.training.evaluation.test_predict import Lexicon
from training.evaluation.documents import (
    evaluate_documents,
    head_for,
    overlapping_count,
    read_gold_file,
)

NCBI = """1|t|Breast and ovarian cancer
1|a|BRCA1 in ovarian cancer.
1\t0\t25\tBreast and ovarian cancer\tCompositeMention\tD1
1\t11\t25\tovarian cancer\tSpecificDisease\tD2
1\t11\t25\tovarian cancer\tModifier\tD2
1\t35\t49\tovarian cancer\tSpecificDisease\tD2
1\t36\t49\tovarian cancer\tSpecificDisease\tD2
"""


def put(folder: Path, content: str) -> Path:
    path = folder / "gold.PubTator"
    path.write_text(content, encoding="utf-8")
    return path


def test_types_become_labels_and_equal_mentions_count_once(tmp_path: Path) -> None:
    gold = read_gold_file(put(tmp_path, NCBI))
    (document,) = gold.texts
    assert document.text == "Breast and ovarian cancer\nBRCA1 in ovarian cancer."
    assert document.spans == (
        Span(0, 25, "Disease"),
        Span(11, 25, "Disease"),
        Span(35, 49, "Disease"),
    )
    assert overlapping_count(document.spans) == 2
    (problem,) = gold.problems
    assert "36-49" in problem


def test_scores_by_character_offsets(tmp_path: Path) -> None:
    content = (
        "7|t|p53 and IL-2\n7|a|p53\n7\t0\t3\tp53\tGENE\n7\t8\t12\tIL-2\tGENE\n\n8|t|p53\n8|a|\n"
    )
    gold = read_gold_file(put(tmp_path, content))
    report = evaluate_documents(Lexicon("p53"), TASKS["bc2gm"], gold)
    assert (report.documents, report.mentions, report.overlapping) == (2, 2, 0)
    assert report.strict.overall.precision == pytest.approx(1 / 3)
    assert report.strict.overall.recall == pytest.approx(1 / 2)


def test_labels_that_the_file_never_uses_are_left_out(tmp_path: Path) -> None:
    gold = read_gold_file(put(tmp_path, "7|t|IFN gene\n7|a|\n7\t0\t8\tIFN gene\tDNA\n"))
    report = evaluate_documents(Lexicon("p53"), TASKS["jnlpba"], gold)
    assert list(report.strict.by_type) == ["DNA"]


@pytest.mark.parametrize(
    ("names", "head", "expected"),
    [
        (["bc5cdr", "ncbi-disease", "bc2gm"], None, "ncbi-disease"),
        (["bc5cdr", "ncbi-disease"], "bc5cdr", "bc5cdr"),
    ],
)
def test_the_head_is_the_one_with_the_labels_of_the_file(
    tmp_path: Path, names: list[str], head: str | None, expected: str
) -> None:
    gold = read_gold_file(put(tmp_path, NCBI))
    assert head_for(gold, [TASKS[name] for name in names], head).name == expected


@pytest.mark.parametrize(
    ("tasks", "head", "message"),
    [
        ([TASKS["bc2gm"]], None, "none of the heads has just the labels Disease"),
        (
            [TASKS["ncbi-disease"], Task("mine", TASKS["ncbi-disease"].labels)],
            None,
            "ncbi-disease or mine has just the labels Disease; name the head to score with HEAD=",
        ),
        ([TASKS["bc2gm"]], "bc2gm", "the checkpoint has no head 'bc2gm' with the labels Disease"),
        ([TASKS["bc2gm"]], "bc5cdr", "the checkpoint has no head 'bc5cdr'"),
    ],
)
def test_a_file_that_no_head_or_several_fit_is_refused(
    tmp_path: Path, tasks: list[Task], head: str | None, message: str
) -> None:
    gold = read_gold_file(put(tmp_path, NCBI))
    with pytest.raises(SettingsError, match=message):
        head_for(gold, tasks, head)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_gold_file(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="holds no gold mention in 1 documents"):
        read_gold_file(put(tmp_path, "1|t|A title\n1|a|\n"))
    with pytest.raises(CorpusError, match=r"gold\.PubTator: document 1"):
        read_gold_file(put(tmp_path, "nonsense\n"))
