from pathlib import Path

import pytest

from schemas.errors import CorpusError
from schemas.tasks import TASKS
from training.corpora.catalogue import Split, catalogue, find_entry, known_entry
from training.corpora.corpus import (
    corpora_root,
    mention_count,
    open_corpus,
    present_corpora,
)
from training.corpora.schemes import Scheme
from training.corpora.tsv import Sentence


def put(root: Path, folder: str, split: str, content: str) -> None:
    (root / folder).mkdir(exist_ok=True)
    (root / folder / f"{split}.tsv").write_text(content, encoding="utf-8")


def test_every_head_has_a_corpus_with_the_same_labels() -> None:
    for name, task in TASKS.items():
        assert catalogue()[name].labels == task.label_names


def test_a_corpus_is_found_by_name_or_folder() -> None:
    assert find_entry("NCBI-disease-IOBES") is catalogue()["ncbi-disease"]
    assert find_entry("BC5CDR") is catalogue()["bc5cdr"]
    assert find_entry("bc5") is None
    with pytest.raises(CorpusError, match=r"no corpus 'bc5' is known; known are ncbi-disease, "):
        known_entry("bc5")


def test_the_root_is_the_option_then_the_environment_then_the_cache(tmp_path: Path) -> None:
    environ = {
        "PUBNER_CORPORA": str(tmp_path / "a"),
        "PUBNER_DATA": str(tmp_path / "b"),
        "XDG_CACHE_HOME": str(tmp_path / "c"),
    }
    assert corpora_root(tmp_path / "o", environ) == tmp_path / "o"
    assert corpora_root(None, environ) == tmp_path / "a"
    assert corpora_root(tmp_path / "b", environ) == tmp_path / "b"
    del environ["PUBNER_CORPORA"]
    (tmp_path / "b" / "corpora").mkdir(parents=True)
    assert corpora_root(None, environ) == tmp_path / "b" / "corpora"
    environ["PUBNER_DATA"] = " "
    assert corpora_root(None, environ) == tmp_path / "c" / "pubner" / "corpora"
    assert corpora_root(None, {}) == Path.home() / ".cache" / "pubner" / "corpora"


def test_loads_a_catalogue_corpus_as_iobes(tmp_path: Path) -> None:
    put(tmp_path, "JNLPBA", "devel", "-DOCSTART-\tO\n\nIL-2\tB-DNA\ngene\tI-DNA\n.\tO\n")
    assert open_corpus(tmp_path, "jnlpba").sentences(Split.DEVEL) == (
        Sentence(("IL-2", "gene", "."), ("B-DNA", "E-DNA", "O"), 3, starts_document=True),
    )
    assert present_corpora(tmp_path, Split.DEVEL) == ("jnlpba",)
    assert present_corpora(tmp_path, Split.TEST) == ()


def test_a_missing_corpus_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="pubner corpora fetch --corpus bc2gm"):
        open_corpus(tmp_path, "bc2gm").sentences(Split.TEST)


def test_the_broken_folder_is_never_read(tmp_path: Path) -> None:
    put(tmp_path, "JNLPBA-IOBES", "train", "sound\tO\n")
    with pytest.raises(CorpusError, match=r"its sentence breaks drift .* use jnlpba instead"):
        open_corpus(tmp_path, "jnlpba-iobes").sentences(Split.TRAIN)
    assert present_corpora(tmp_path, Split.TRAIN) == ()


def test_a_corpus_of_the_users_own_tells_its_scheme_and_labels(tmp_path: Path) -> None:
    put(tmp_path, "mine", "devel", "a\tO\n")
    put(tmp_path, "mine", "train", "b\tI-Drug\nc\tB-Drug\n")
    corpus = open_corpus(tmp_path, "mine")
    assert (corpus.name, corpus.scheme, corpus.labels) == ("mine", Scheme.IOB1, None)
    (sentence,) = corpus.sentences(Split.TRAIN)
    assert sentence.tags == ("S-Drug", "S-Drug")
    assert mention_count(sentence) == 2
    assert open_corpus(Path("/nowhere"), str(tmp_path / "mine")) == corpus
    with pytest.raises(CorpusError, match=r"expected the file .*test.tsv"):
        corpus.sentences(Split.TEST)


def test_an_unknown_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no corpus 'nonsense': expected one of ncbi-disease"):
        open_corpus(tmp_path, "nonsense")


def test_the_scheme_is_told_without_the_test_split_unless_it_is_alone(tmp_path: Path) -> None:
    put(tmp_path, "mine", "test", "p53\tS-GENE\n")
    assert open_corpus(tmp_path, "mine").scheme == Scheme.IOBES
    put(tmp_path, "mine", "devel", "p53\tB-GENE\ngene\tI-GENE\n")
    put(tmp_path, "mine", "train", "p53\tB-GENE\n")
    assert open_corpus(tmp_path, "mine").scheme == Scheme.IOB2
    (tmp_path / "mine" / "test.tsv").write_bytes(b"\xff\xfe no corpus at all")
    corpus = open_corpus(tmp_path, "mine")
    assert corpus.scheme == Scheme.IOB2
    assert len(corpus.sentences(Split.TRAIN)) == len(corpus.sentences(Split.DEVEL)) == 1
    put(tmp_path, "mine", "devel", "p53\tS-GENE\n")
    assert open_corpus(tmp_path, "mine").scheme == Scheme.IOBES, "one that tells is enough"
