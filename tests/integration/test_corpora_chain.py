"""Gold tags to spans to word-piece tags to spans to gold tags is the identity, for any words."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.checkpoints import tiny_tokenizer
from tests.support.spans import recover_spans
from tests.unit.training.corpora.test_schemes import Layout, layouts
from training.corpora.schemes import tags_from_spans
from training.corpora.spans import sentence_text, spans_of, tags_of
from training.corpora.tsv import Sentence
from worker.text.alignment import project_spans
from worker.text.tokenisation import WordPieceTokeniser

LABELS = ("Disease", "Chemical")
TOKENISER = WordPieceTokeniser(tiny_tokenizer())

# Letters, digits, punctuation and symbols: what BERT's normaliser leaves in place. Words made only
# of combining or control characters have no word piece at all.
VISIBLE = st.text(
    st.characters(categories=("Lu", "Ll", "Lo", "Nd", "Pd", "Ps", "Pe", "Po", "Sm")), min_size=1
)


@given(layouts(), st.data())
def test_gold_survives_the_way_to_word_pieces_and_back(layout: Layout, data: st.DataObject) -> None:
    length, spans = layout
    words = tuple(data.draw(st.lists(VISIBLE, min_size=length, max_size=length)))
    sentence = Sentence(words, tags_from_spans(length, spans), 1)
    text, offsets = sentence_text(words)
    (pieces,) = TOKENISER.encode([text])
    projected = project_spans(pieces, spans_of(sentence), LABELS)
    assert projected.unreachable == ()
    recovered = recover_spans(pieces, projected.tags, LABELS)
    assert tags_of(offsets, recovered).tags == sentence.tags
