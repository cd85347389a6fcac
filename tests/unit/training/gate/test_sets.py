from pathlib import Path

import pytest

from schemas.errors import CorpusError, SettingsError
from schemas.records import Span
from schemas.tasks import TASKS
from tests.support.corpora import write_corpus
from training.corpora.catalogue import Split
from training.evaluation.predict import Context
from training.gate.sets import EvaluationSet, read_sets

HEADS = (TASKS["ncbi-disease"], TASKS["bc5cdr"], TASKS["bc2gm"])
PUBTATOR = (
    "1|t|Breast cancer\n1|a|It is rare.\n1\t0\t13\tBreast cancer\tSpecificDisease\tD1\n\n"
    "2|t|Nothing here\n2|a|At all.\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "NCBI-disease-IOBES", "Disease", "cancer", sentences=10)
    write_corpus(tmp_path / "BC2GM-IOBES", "GENE", "protein", sentences=10)
    write_corpus(tmp_path / "JNLPBA", "DNA", "gene", sentences=10)
    (tmp_path / "gold.PubTator").write_text(PUBTATOR, "utf-8")
    return tmp_path


def read(
    root: Path,
    *,
    corpora: tuple[str, ...] = (),
    documents: tuple[str, ...] = (),
    split: Split = Split.DEVEL,
    context: Context = Context.WINDOW,
) -> tuple[EvaluationSet, ...]:
    return read_sets(
        HEADS, root=root, corpora=corpora, split=split, context=context, documents=documents
    )


def test_by_default_the_heads_corpora_that_are_there(root: Path) -> None:
    assert {one.head for one in read(root)} == {"ncbi-disease", "bc2gm"}


def test_a_corpus_is_read_in_windows_and_its_gold_stays_by_sentence(root: Path) -> None:
    (windows,) = read(root, corpora=("bc2gm",))
    (single,) = read(root, corpora=("bc2gm",), context=Context.SENTENCE)
    assert windows.gold == single.gold
    assert len(windows.gold) == len(single.readings) == 10
    assert len(windows.readings) < 10
    assert single.gold[0] == (Span(4, 11, "GENE"),)
    assert (single.name, single.unit) == ("bc2gm, devel", "sentences")


def test_documents_alone_are_scored_alone_under_the_head_that_is_named(root: Path) -> None:
    (one,) = read(root, documents=(f"bc5cdr={root / 'gold.PubTator'}",))
    assert (one.head, one.unit, one.name) == ("bc5cdr", "documents", "gold.PubTator")
    assert one.gold == ((Span(0, 13, "Disease"),), ())
    assert [reading.text for reading in one.readings] == [
        "Breast cancer\nIt is rare.",
        "Nothing here\nAt all.",
    ]


def test_without_a_name_the_one_head_with_just_those_labels(root: Path) -> None:
    (one,) = read(root, documents=(str(root / "gold.PubTator"),))
    assert one.head == "ncbi-disease"


@pytest.mark.parametrize("split", list(Split))
def test_only_test_splits_are_refused(root: Path, split: Split) -> None:
    if split == Split.TEST:
        with pytest.raises(SettingsError, match="must not use test splits"):
            read(root, split=split)
    else:
        assert read(root, split=split)


def test_a_corpus_without_a_head_is_refused(root: Path) -> None:
    write_corpus(root / "mine", "Disease", "cancer")
    with pytest.raises(SettingsError, match="neither checkpoint has the head 'mine'"):
        read(root, corpora=("mine",))


def test_documents_without_a_head_are_refused(root: Path) -> None:
    with pytest.raises(SettingsError, match="'other'"):
        read(root, documents=(f"other={root / 'gold.PubTator'}",))


def test_labels_that_no_head_has_are_refused(root: Path) -> None:
    with pytest.raises(CorpusError, match=r"labels Disease, which no head 'bc2gm' has"):
        read(root, documents=(f"bc2gm={root / 'gold.PubTator'}",))


def test_a_set_without_gold_tells_nothing(root: Path) -> None:
    (root / "BC2GM-IOBES" / "devel.tsv").write_text("the\tO\n\n", "utf-8")
    with pytest.raises(CorpusError, match="holds no gold mention"):
        read(root, corpora=("bc2gm",))
