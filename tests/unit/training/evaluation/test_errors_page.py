import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html

from schemas.errors import CorpusError, OutputError, SettingsError
from schemas.records import Span
from schemas.tasks import TASKS
from tests.support.checkpoints import tiny_checkpoint
from training.commands.evaluate import run
from training.corpora.tsv import Sentence
from training.evaluation.errors import Outcome, compare_spans
from training.evaluation.errors_analysis import analyse_errors, training_mentions
from training.evaluation.errors_markup import marked_pieces
from training.evaluation.errors_page import ErrorsPage, render_page, write_page
from training.evaluation.errors_words import findings, summary
from training.reports.pages import require_writable

NASTY = "<script>alert(1)</script>"
JNLPBA = Sentence(
    (NASTY, "binds", "the", "GATA-1", "site", "&", "p53"),
    ("S-protein", "O", "O", "B-DNA", "E-DNA", "O", "S-protein"),
    17,
)
FOUND = (Span(0, 25, "protein"), Span(36, 42, "protein"), Span(48, 49, "RNA"))


def page(*sentences: Sentence, found: Sequence[Sequence[Span]], split: str = "devel") -> ErrorsPage:
    head = analyse_errors(
        TASKS["jnlpba"], sentences, found, training=training_mentions(sentences[:1])
    )
    return ErrorsPage("<id>", split, "sentence", {"jnlpba": head})


def parsed(text: str) -> html.HtmlElement:
    return html.document_fromstring(text.encode())


def test_the_page_shows_what_was_found_and_escapes_it() -> None:
    rendered = render_page(page(JNLPBA, found=[FOUND]))
    assert NASTY not in rendered
    tree = parsed(rendered)
    assert tree.xpath("//script | //link | //img | //@src | //@onload") == []
    shown = " ".join(tree.text_content().split())
    assert NASTY in shown
    assert "The model found 1 of 3 protein, DNA, RNA, cell type and cell line mentions" in shown
    (worst,) = tree.xpath("//h3[.='The worst sentences']/following-sibling::ol[1]/li")
    assert "3 errors · 3 gold mentions · line 17" in worst.text_content()
    marks = {
        (mark.text, mark.get("class")) for mark in worst.xpath(".//span[contains(@class, 'm ')]")
    }
    assert marks == {
        (NASTY, "m g g-correct f f-correct"),
        ("GATA-1", "m g g-boundary-and-type f f-boundary-and-type"),
        (" site", "m g g-boundary-and-type"),
        ("&", "m f f-spurious"),
        ("p53", "m g g-miss"),
    }
    notes = [note.text for note in worst.xpath(".//small")]
    assert notes == ["protein", "DNA → protein", "RNA", "protein"]


def test_links_lead_to_places_in_the_page_and_every_id_is_there_once() -> None:
    one = page(JNLPBA, found=[FOUND]).heads["jnlpba"]
    tree = parsed(render_page(ErrorsPage("x", "devel", "window", {"jnlpba": one, "own": one})))
    ids = tree.xpath("//@id")
    assert len(set(ids)) == len(ids)
    inner = [link[1:] for link in tree.xpath("//a/@href") if link.startswith("#")]
    assert set(inner) <= set(ids)
    assert [row.text_content() for row in tree.xpath("//nav//tbody//a")] == ["jnlpba", "own"]
    assert len(tree.xpath("//article")) == 2


def test_a_page_of_the_test_split_says_so() -> None:
    warning = "nothing may be chosen or changed because of it"
    assert warning in render_page(page(JNLPBA, found=[FOUND], split="test"))
    assert warning not in render_page(page(JNLPBA, found=[FOUND]))


@pytest.mark.parametrize(
    ("sentence", "found", "words"),
    [
        (JNLPBA, (), "It marked nothing at all."),
        (Sentence(("a",), ("O",), 1), (), "and the model marked none."),
        (Sentence(("a",), ("O",), 1), (Span(0, 1, "DNA"),), "the model marked 1."),
    ],
)
def test_little_to_tell_is_told(sentence: Sentence, found: tuple[Span, ...], words: str) -> None:
    one = page(sentence, found=[found])
    assert words in " ".join(summary(one.heads["jnlpba"]))
    assert findings(one.heads["jnlpba"]) == []
    assert words in render_page(one)


def test_what_stands_out_is_said_where_there_is_enough_of_it() -> None:
    known = Sentence(("gout",), ("S-Disease",), 1)
    new = Sentence(
        ("odd", "rare", "long", "pain"), ("B-Disease", *["I-Disease"] * 2, "E-Disease"), 3
    )
    head = analyse_errors(
        TASKS["ncbi-disease"],
        [known] * 40 + [new] * 40,
        [[Span(0, 4, "Disease")]] * 40 + [[Span(4, 18, "Disease")]] * 40,
        training=training_mentions([known]),
    )
    said = " ".join(findings(head))
    assert "Of 40 errors, 100.0% are mentions found with wrong edges" in said
    assert (
        "found exactly in 100.0% of cases, new ones in 0.0%; 50.0% of the mentions are new" in said
    )
    assert "Of mentions of one word 100.0% are found exactly, of those of four" in said
    assert "marked too little 40 times and too much 0 times" in said
    assert "40 were found with wrong edges." in " ".join(summary(head))


spans = st.lists(
    st.builds(
        lambda start, length, label: Span(start, start + length, label),
        st.integers(0, 9),
        st.integers(1, 6),
        st.sampled_from(("DNA", "RNA")),
    ),
    max_size=4,
)


@settings(deadline=None)
@given(gold=spans, found=spans)
def test_pieces_joined_are_the_sentence_and_each_mention_has_one_sign(
    gold: list[Span], found: list[Span]
) -> None:
    text = "abcde fghi"
    gold = [span for span in gold if span.end <= len(text)]
    comparisons = compare_spans(gold, found)
    pieces = marked_pieces(text, comparisons, labelled=True)
    beyond = any(span.end > len(text) for span in found)
    assert "".join(piece.text for piece in pieces) == text + " …" * beyond
    assert all(piece.text for piece in pieces)
    begins = [outcome for piece in pieces for outcome in piece.begins]
    assert sorted(begins) == sorted(one.outcome for one in comparisons)
    assert sum(len(piece.notes) for piece in pieces) == len(comparisons)
    marked = "".join("x" * len(p.text) if p.gold else "." * len(p.text) for p in pieces)
    assert marked[: len(text)] == "".join(
        "x" if any(span.start <= place < span.end for span in gold) else "."
        for place in range(len(text))
    )


def test_a_span_beyond_the_sentence_reaches_to_an_ellipsis() -> None:
    (piece,) = marked_pieces("p53", compare_spans([], [Span(0, 9, "DNA")]), labelled=False)
    assert (piece.text, piece.found, piece.notes) == ("p53 …", Outcome.SPURIOUS, ())


def test_the_page_is_written_whole_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_page(page(JNLPBA, found=[FOUND]), path)
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [one.name for one in path.parent.iterdir()] == ["page.html"]
    assert path.stat().st_mode & stat.S_IRUSR


def test_a_path_that_cannot_be_written_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in ((tmp_path, "it is a folder"), (tmp_path / "file" / "x.html", "file")):
        with pytest.raises(OutputError, match=reason):
            require_writable(path)
    with pytest.raises(OutputError, match="cannot write"):
        write_page(page(JNLPBA, found=[FOUND]), tmp_path / "file" / "x.html")
    require_writable(tmp_path / "a" / "b" / "page.html")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


TSV = "Breast\tB-Disease\ncancer\tE-Disease\n.\tO\n\nIt\tO\nis\tO\ngout\tS-Disease\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint"))


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    for folder, label in (("NCBI-disease-IOBES", "Disease"), ("BC2GM-IOBES", "GENE")):
        (tmp_path / folder).mkdir()
        for split in ("train", "devel", "test"):
            path = tmp_path / folder / f"{split}.tsv"
            path.write_text(TSV.replace("Disease", label), encoding="utf-8")
    return tmp_path


def words(checkpoint: str, corpora: Path, *more: str) -> list[str]:
    return [checkpoint, "--data", str(corpora), "--device", "cpu", "--threads", "1", *more]


@pytest.mark.parametrize("context", ["sentence", "window"])
def test_the_command_writes_a_page_with_a_section_a_head(
    checkpoint: str, corpora: Path, context: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = corpora / "out" / "errors.html"
    assert run(words(checkpoint, corpora, "--errors", str(path), "--context", context)) == 0
    tree = parsed(path.read_text(encoding="utf-8"))
    assert [one.text for one in tree.xpath("//nav//tbody//a")] == ["ncbi-disease", "bc2gm"]
    shown = tree.text_content()
    assert "disease mentions" in shown
    assert "gene mentions" in shown
    assert "How often the mention occurs in the training data" in shown
    assert "How sure the model was" in shown
    printed = capsys.readouterr().out
    assert f"The errors are described in {path}" in printed
    assert "test split" not in printed


def test_the_command_says_that_the_test_split_is_not_to_choose_on(
    checkpoint: str, corpora: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = corpora / "errors.html"
    more = ["--errors", str(path), "--split", "test", "--corpus", "bc2gm", "--json", "-"]
    assert run(words(checkpoint, corpora, *more)) == 0
    assert "use it for reporting only" in " ".join(capsys.readouterr().err.split())
    assert "This page was made from the test split" in path.read_text(encoding="utf-8")


def test_without_a_training_split_that_part_is_left_out(checkpoint: str, corpora: Path) -> None:
    (corpora / "BC2GM-IOBES" / "train.tsv").unlink()
    path = corpora / "errors.html"
    assert run(words(checkpoint, corpora, "--errors", str(path), "--corpus", "bc2gm")) == 0
    assert "in the training data" not in path.read_text(encoding="utf-8")


def test_what_cannot_be_done_is_refused_before_anything_is_read(
    checkpoint: str, corpora: Path
) -> None:
    nowhere = str(corpora / "no checkpoint")  # it would be refused, if it came to that
    with pytest.raises(OutputError, match="it is a folder"):
        run(words(nowhere, corpora, "--errors", str(corpora)))
    with pytest.raises(SettingsError, match=r"--documents alone .* name one with --corpus"):
        run(words(nowhere, corpora, "--errors", "x.html", "--documents", "gold.txt"))
    (corpora / "BC2GM-IOBES" / "train.tsv").write_text("gout\tS-Gene\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"train\.tsv, line 1: unknown label 'Gene'"):
        run(words(checkpoint, corpora, "--errors", str(corpora / "x.html")))
    assert not (corpora / "x.html").exists()
