"""Augmented sentences: legal, of the same mentions, made of training material alone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tags import iobes_tags, may_end, may_follow, may_start
from schemas.tasks import TASKS
from tests.support.checkpoints import tiny_tokenizer
from training.augmentation import (
    MENTION_SHARE,
    SEGMENT_SHARE,
    TOKEN_SHARE,
    Lexicon,
    augment,
    augment_sentences,
    build_lexicon,
)
from training.corpora.catalogue import Split
from training.corpora.corpus import load_corpus
from training.corpora.schemes import Scheme, WordSpan, tags_from_spans, word_spans
from training.corpora.tsv import Sentence
from training.encoders import MINILM, encoder_folder
from training.examples import (
    IGNORED,
    UNLABELLED,
    HeadData,
    LabelledPieces,
    LabelledSentence,
    draw_windows,
    label_sentences,
)
from training.recipe import Recipe
from worker.tokenisation import WordPieceTokeniser, load_tokeniser

NONE = Recipe("test")
MENTIONS = replace(NONE, mention_replacement=1.0)
TOKENS = replace(NONE, token_replacement=1.0)
SHUFFLE = replace(NONE, segment_shuffle=1.0)
ALL = replace(NONE, mention_replacement=1.0, token_replacement=1.0, segment_shuffle=1.0)
TASK = TASKS["bc5cdr"]
LABELS = TASK.label_names
TAGS = iobes_tags(LABELS)
TOKENIZER = tiny_tokenizer()
TOKENISER = WordPieceTokeniser(TOKENIZER)

Segment = tuple[str, str]
"""A label, or "O", and the words of the segment with spaces between."""

PreToken = tuple[tuple[int, ...], tuple[int, ...], int]
"""The ids, letter-case classes and tag of a pre-token."""


def head_data(*sentences: Sequence[Segment], starts: frozenset[int] = frozenset()) -> HeadData:
    """Return the sentences that segments make, as labelled pieces."""
    out = []
    for number, segments in enumerate(sentences):
        words: list[str] = []
        spans = []
        for label, text in segments:
            begin = len(words)
            words += text.split()
            if label != "O":
                spans.append(WordSpan(begin, len(words), label))
        tags = tags_from_spans(len(words), spans)
        out.append(Sentence(tuple(words), tags, 1, number in starts))
    return label_sentences(TASK, out, TOKENISER)


def pre_tokens(pieces: LabelledPieces) -> list[PreToken]:
    begins = [*np.flatnonzero(pieces.tags != IGNORED).tolist(), len(pieces)]
    return [
        (
            tuple(pieces.ids[begin:stop].tolist()),
            tuple(pieces.case[begin:stop].tolist()),
            int(pieces.tags[begin]),
        )
        for begin, stop in pairwise(begins)
    ]


def read(pieces: LabelledPieces) -> list[Segment]:
    """Return labelled pieces as segments again; checks that their tags are legal."""
    tokens = pre_tokens(pieces)
    names = [TAGS[tag] for _, _, tag in tokens]
    check_legal(names)
    words = [TOKENIZER.decode(list(ids)).replace(" ", "") for ids, _, _ in tokens]
    out: list[Segment] = []
    done = 0
    for span in word_spans(names, Scheme.IOBES):
        if done < span.start:
            out.append(("O", " ".join(words[done : span.start])))
        out.append((span.label, " ".join(words[span.start : span.end])))
        done = span.end
    if done < len(words):
        out.append(("O", " ".join(words[done:])))
    return out


def check_legal(tags: Sequence[str]) -> None:
    assert not tags or (may_start(tags[0]) and may_end(tags[-1])), tags
    for before, after in pairwise(tags):
        assert may_follow(before, after), tags


def many(data: HeadData, recipe: Recipe, times: int, number: int = 0) -> list[list[Segment]]:
    """Return what `times` generators make of one sentence of `data`."""
    lexicon = build_lexicon(data)
    pieces = data.sentences[number].pieces
    return [
        read(augment(pieces, lexicon, recipe, np.random.default_rng(seed))) for seed in range(times)
    ]


def texts(data: Iterable[LabelledSentence]) -> list[list[Segment]]:
    return [read(sentence.pieces) for sentence in data]


def test_a_mention_is_replaced_whole_by_one_of_its_label() -> None:
    data = head_data(
        [("O", "patients with"), ("Disease", "lung cancer"), ("O", "and"), ("Chemical", "aspirin")],
        [("Disease", "sarcoma"), ("O", "was found")],
        [("Chemical", "ferric carboxymaltose"), ("O", "in blood")],
    )
    made = many(data, MENTIONS, 60)
    assert {tuple(dict(sentence)) for sentence in made} == {("O", "Disease", "Chemical")}
    assert {sentence[1] for sentence in made} == {
        ("Disease", "lung cancer"),
        ("Disease", "sarcoma"),
    }
    assert {sentence[3] for sentence in made} == {
        ("Chemical", "aspirin"),
        ("Chemical", "ferric carboxymaltose"),
    }
    for sentence in made:
        assert (sentence[0], sentence[2]) == (("O", "patients with"), ("O", "and"))


def test_a_replaced_mention_brings_its_pieces_case_and_tags() -> None:
    data = head_data(
        [("O", "in"), ("Disease", "gout"), ("O", "cell")], [("Disease", "Ewing SARCOMA IIb type")]
    )
    lexicon = build_lexicon(data)
    old, other = (sentence.pieces for sentence in data.sentences)
    assert (other.tags == IGNORED).sum() >= 4, "mentions of several pieces a pre-token"
    made = [augment(old, lexicon, MENTIONS, np.random.default_rng(seed)) for seed in range(20)]
    grown = next(pieces for pieces in made if len(pieces) > len(old))
    middle = slice(1, 1 + len(other))
    assert grown.ids[middle].tolist() == other.ids.tolist()
    assert grown.case[middle].tolist() == other.case.tolist()
    assert grown.tags[middle].tolist() == other.tags.tolist()
    assert [TAGS[tag] for tag in grown.tags if tag != IGNORED] == [
        "O",
        "B-Disease",
        "I-Disease",
        "I-Disease",
        "E-Disease",
        "O",
    ]
    assert [grown.ids[0], grown.ids[-1]] == [old.ids[0], old.ids[-1]]


def test_adjacent_mentions_stay_apart() -> None:
    data = head_data(
        [
            ("Disease", "lung cancer"),
            ("Disease", "renal failure"),
            ("Chemical", "aspirin"),
            ("Chemical", "zinc"),
        ],
        [("Disease", "gout"), ("Disease", "acute liver failure"), ("Chemical", "nitric oxide")],
    )
    for recipe in (MENTIONS, TOKENS, SHUFFLE, ALL):
        for sentence in many(data, recipe, 80):
            assert [label for label, _ in sentence] == [
                "Disease",
                "Disease",
                "Chemical",
                "Chemical",
            ]
    sizes = {
        tuple(len(text.split()) for _, text in sentence) for sentence in many(data, MENTIONS, 80)
    }
    assert {(2, 2, 1, 1), (1, 2, 1, 1), (2, 3, 1, 1), (2, 2, 2, 1), (2, 2, 1, 2)} <= sizes


def test_a_pretoken_is_replaced_by_one_of_its_tag() -> None:
    data = head_data(
        [("O", "the"), ("Disease", "lung cancer"), ("O", "of")],
        [("Disease", "renal failure"), ("Disease", "gout"), ("Chemical", "zinc")],
    )
    made = many(data, TOKENS, 200)
    assert {tuple(label for label, _ in sentence) for sentence in made} == {("O", "Disease", "O")}
    assert {sentence[1][1] for sentence in made} == {
        "lung cancer",
        "lung failure",
        "renal cancer",
        "renal failure",
    }
    assert {sentence[0][1] for sentence in made} == {"the", "of"}


def test_pretokens_change_places_within_their_segment_only() -> None:
    data = head_data(
        [
            ("O", "was in the"),
            ("Disease", "acute liver failure"),
            ("Disease", "gout"),
            ("O", "of"),
            ("Chemical", "nitric oxide"),
        ]
    )
    made = many(data, SHUFFLE, 200)
    assert {sentence[4][1] for sentence in made} == {"nitric oxide", "oxide nitric"}
    orders = Counter(sentence[0][1] for sentence in made)
    assert len(orders) == 6, "every order occurs"
    assert len({sentence[1][1] for sentence in made}) == 6
    for sentence in made:
        assert [label for label, _ in sentence] == ["O", "Disease", "Disease", "O", "Chemical"]
        assert sorted(sentence[0][1].split()) == ["in", "the", "was"]
        assert sorted(sentence[1][1].split()) == ["acute", "failure", "liver"]
        assert sentence[2:4] == [("Disease", "gout"), ("O", "of")]


def test_replacements_are_drawn_by_frequency_and_as_often_as_documented() -> None:
    frequent: list[list[Segment]] = [[("Disease", "gout"), ("O", "the")]] * 3
    target: list[list[Segment]] = [[("Chemical", "zinc"), ("Disease", "sarcoma"), ("O", "of")]]
    data = head_data(*target, *frequent, [("Disease", "sarcoma cell")])
    lexicon = build_lexicon(data)
    copies = [data.sentences[0]] * 4000

    def share(recipe: Recipe, place: int, value: str) -> float:
        made = augment_sentences(copies, lexicon, recipe, np.random.default_rng(5))
        return sum(read(s.pieces)[place][1] == value for s in made) / len(made)

    # 3 of 5 mentions are gout, 1 of 5 is what is there already; 3 of 4 outside pre-tokens are "the"
    assert share(MENTIONS, 1, "gout") == pytest.approx(MENTION_SHARE * 0.6, abs=0.03)
    assert share(MENTIONS, 1, "sarcoma cell") == pytest.approx(MENTION_SHARE * 0.2, abs=0.03)
    assert share(TOKENS, 2, "the") == pytest.approx(TOKEN_SHARE * 0.75, abs=0.03)
    assert share(TOKENS, 1, "gout") == pytest.approx(TOKEN_SHARE * 0.75, abs=0.03)
    half = replace(MENTIONS, mention_replacement=0.5)
    assert share(half, 1, "gout") == pytest.approx(MENTION_SHARE * 0.3, abs=0.03)
    assert share(MENTIONS, 0, "zinc") == 1.0, "there is no other chemical"


def test_segments_are_shuffled_as_often_as_documented() -> None:
    data = head_data([("O", "a b c d e f g h")])
    made = augment_sentences(
        data.sentences * 2000, build_lexicon(data), SHUFFLE, np.random.default_rng(2)
    )
    touched = sum(sentence is not data.sentences[0] for sentence in made)
    assert touched / 2000 == pytest.approx(SEGMENT_SHARE, abs=0.04)


words = st.sampled_from(
    ["the", "IL-2", "Cancer", "p53", "of", "gene", "α-keto", "(", "NaCl", "x", "mosing", "中文"]
)
segment = st.tuples(
    st.sampled_from(["O", *LABELS]), st.lists(words, min_size=1, max_size=5).map(" ".join)
)
corpora = st.lists(st.lists(segment, max_size=7), min_size=1, max_size=8).map(
    lambda sentences: head_data(*sentences, starts=frozenset(range(0, 8, 3)))
)
chances = st.sampled_from([0.0, 0.5, 1.0])
recipes = st.builds(
    lambda mentions, tokens, shuffle: replace(
        NONE, mention_replacement=mentions, token_replacement=tokens, segment_shuffle=shuffle
    ),
    chances,
    chances,
    chances,
)
seeds = st.integers(0, 2**32)


def bags(sentence: LabelledSentence) -> list[tuple[str, Counter[str]]]:
    return [(label, Counter(text.split())) for label, text in read(sentence.pieces)]


@settings(max_examples=200, deadline=None)
@given(data=corpora, recipe=recipes, seed=seeds)
def test_what_is_made_is_legal_and_keeps_what_it_must(
    data: HeadData, recipe: Recipe, seed: int
) -> None:
    before = [pre_tokens(sentence.pieces) for sentence in data.sentences]
    known = {token for tokens in before for token in tokens}
    lexicon = build_lexicon(data)
    made = augment_sentences(data.sentences, lexicon, recipe, np.random.default_rng(seed))
    assert [pre_tokens(sentence.pieces) for sentence in data.sentences] == before, "not written to"
    assert len(made) == len(data.sentences)
    mentions = {part for sentence in texts(data.sentences) for part in sentence if part[0] != "O"}
    for old, new in zip(data.sentences, made, strict=True):
        assert new.starts_document == old.starts_document
        old_parts, new_parts = read(old.pieces), read(new.pieces)
        assert [label for label, _ in new_parts] == [label for label, _ in old_parts]
        outside = [len(text.split()) for label, text in old_parts if label == "O"]
        assert [len(text.split()) for label, text in new_parts if label == "O"] == outside
        pieces = new.pieces
        assert pieces.ids.dtype == np.int32
        assert pieces.case.dtype == np.uint8
        assert pieces.tags.dtype == np.int64
        assert len(pieces.ids) == len(pieces.case) == len(pieces.tags)
        made_tokens = pre_tokens(pieces)
        forms = {(ids, case) for ids, case, _ in known}
        assert {(ids, case) for ids, case, _ in made_tokens} <= forms
        if not recipe.segment_shuffle:
            assert set(made_tokens) <= known, "of its tag"
        if not recipe.mention_replacement:
            assert [tag for _, _, tag in made_tokens] == [t for _, _, t in pre_tokens(old.pieces)]
            if not recipe.token_replacement:
                assert bags(new) == bags(old)
        elif not recipe.token_replacement and not recipe.segment_shuffle:
            assert {part for part in new_parts if part[0] != "O"} <= mentions
            assert [p for p in new_parts if p[0] == "O"] == [p for p in old_parts if p[0] == "O"]


@settings(max_examples=60, deadline=None)
@given(data=corpora, recipe=recipes, seed=seeds)
def test_the_same_generator_makes_the_same(data: HeadData, recipe: Recipe, seed: int) -> None:
    def made(lexicon: Lexicon) -> list[list[PreToken]]:
        out = augment_sentences(data.sentences, lexicon, recipe, np.random.default_rng(seed))
        return [pre_tokens(sentence.pieces) for sentence in out]

    assert made(build_lexicon(data)) == made(build_lexicon(data))
    alone = data.sentences[0].pieces
    one = augment(alone, build_lexicon(data), recipe, np.random.default_rng(seed))
    (listed,) = augment_sentences(
        data.sentences[:1], build_lexicon(data), recipe, np.random.default_rng(seed)
    )
    assert pre_tokens(one) == pre_tokens(listed.pieces)


def test_different_generators_differ() -> None:
    data = head_data(*[[("O", "a b c d e f"), ("Disease", f"x{n} y")] for n in range(20)])
    lexicon = build_lexicon(data)
    first, second = (
        texts(augment_sentences(data.sentences, lexicon, ALL, np.random.default_rng([13, epoch])))
        for epoch in (0, 1)
    )
    assert first != second


def test_with_no_probability_nothing_is_made_and_nothing_drawn() -> None:
    data = head_data([("O", "the"), ("Disease", "gout")])
    lexicon = build_lexicon(data)
    rng = np.random.default_rng(1)
    assert augment_sentences(data.sentences, lexicon, NONE, rng) is data.sentences
    assert augment(data.sentences[0].pieces, lexicon, NONE, rng) is data.sentences[0].pieces
    assert rng.random() == np.random.default_rng(1).random()


def test_sentences_not_touched_are_the_same_objects() -> None:
    data = head_data(*[[("O", "the cell of"), ("Disease", "gout")], []] * 50)
    rare = replace(ALL, mention_replacement=0.1, token_replacement=0.1, segment_shuffle=0.1)
    made = augment_sentences(data.sentences, build_lexicon(data), rare, np.random.default_rng(3))
    same = sum(new is old for new, old in zip(made, data.sentences, strict=True))
    assert 60 < same < 100
    outside = head_data([("O", "the cell")] * 2)
    kept = augment_sentences(
        outside.sentences, build_lexicon(outside), MENTIONS, np.random.default_rng(3)
    )
    assert all(new is old for new, old in zip(kept, outside.sentences, strict=True))


def test_an_empty_corpus_and_an_empty_sentence_stay_empty() -> None:
    empty = head_data([])
    lexicon = build_lexicon(empty)
    rng = np.random.default_rng(0)
    assert len(augment(empty.sentences[0].pieces, lexicon, ALL, rng)) == 0
    assert augment_sentences((), build_lexicon(head_data()), ALL, rng) == ()
    full = head_data([("O", "the"), ("Disease", "gout")])
    (kept,) = augment_sentences(full.sentences, lexicon, MENTIONS, rng)
    assert kept is full.sentences[0], "an empty lexicon has no replacement"


def test_what_has_no_gold_tag_is_left_alone() -> None:
    data = head_data([("O", "the cell of"), ("Disease", "acute liver oma"), ("O", "in the gene")])
    lexicon = build_lexicon(data)
    whole = data.sentences[0].pieces
    unlabelled = replace(whole, tags=np.where(whole.tags != IGNORED, UNLABELLED, IGNORED))
    cut_begin = replace(whole, tags=whole.tags.copy())
    begin = int(np.flatnonzero(whole.tags == TAGS.index("B-Disease"))[0])
    cut_begin.tags[: begin + 1] = IGNORED
    for seed in range(30):
        rng = np.random.default_rng(seed)
        assert augment(unlabelled, lexicon, ALL, rng) is unlabelled
        made = augment(cut_begin, lexicon, ALL, rng)
        assert made.ids[: begin + 1].tolist() == whole.ids[: begin + 1].tolist()
        assert (made.tags[: begin + 1] == IGNORED).all()
        names = [TAGS[tag] for tag in made.tags if tag != IGNORED]
        assert names == ["I-Disease", "E-Disease", "O", "O", "O"], "part of a mention stays"
        shuffled = augment(cut_begin, lexicon, SHUFFLE, np.random.default_rng(seed))
        assert pre_tokens(shuffled)[:2] == pre_tokens(cut_begin)[:2]


def test_soft_tags_stay_where_their_pretoken_stays() -> None:
    data = head_data(
        [("O", "the cell of"), ("Disease", "mosing oma"), ("O", "in a gene")],
        [("Disease", "gout"), ("O", "with")],
        [("Disease", "acute liver failure")],
    )
    lexicon = build_lexicon(data)
    old = data.sentences[0].pieces
    count = int((old.tags != IGNORED).sum())
    soft = np.arange(count * 3, dtype=np.float16).reshape(count, 3)
    taught = replace(old, soft=soft)
    seen = Counter[bool]()
    for recipe in (MENTIONS, TOKENS, SHUFFLE, ALL):
        for seed in range(40):
            # the second sentence has no soft tags, and gets none where the first has some
            made, other = augment_sentences(
                [LabelledSentence(taught, True), data.sentences[1]],
                lexicon,
                recipe,
                np.random.default_rng(seed),
            )
            if made.pieces is taught:
                continue
            new = made.pieces.soft
            assert new is not None
            assert new.shape == ((made.pieces.tags != IGNORED).sum(), 3)
            assert other.pieces.soft is None or np.isnan(other.pieces.soft).all()
            by_row = {
                tuple(row.tolist()): form for row, form in zip(soft, pre_tokens(old), strict=True)
            }
            for row, form in zip(new, pre_tokens(made.pieces), strict=True):
                there = not np.isnan(row).any()
                seen[there] += 1
                if there:
                    assert by_row[tuple(row.tolist())] == form, "the same pre-token, unmoved"
            if recipe is MENTIONS:
                outside = new[[tag == 0 for _, _, tag in pre_tokens(made.pieces)]]
                assert not np.isnan(outside).any(), "what is not replaced keeps its own"
            kept = [float(row[0]) for row in new if not np.isnan(row[0])]
            assert kept == sorted(kept), "in the order of the text"
    assert seen[True] > 100
    assert seen[False] > 100


def test_windows_of_augmented_sentences_keep_to_their_limit() -> None:
    long = " ".join(f"x{n}" for n in range(24))
    few = [("Disease", "a"), ("O", "b")] * 4
    data = head_data(*[[("Disease", long)], few] * 10)
    recipe = replace(MENTIONS, max_pieces=64)
    rng = np.random.default_rng(4)
    made = augment_sentences(data.sentences, build_lexicon(data), recipe, rng)
    assert max(len(sentence.pieces) for sentence in made) > 62
    windows = draw_windows(0, replace(data, sentences=tuple(made)), recipe, rng)
    assert max(window.length for window in windows) <= 64


@pytest.mark.parametrize("name", ["ncbi-disease", "jnlpba"])
def test_every_augmented_sentence_of_a_real_corpus_is_legal(name: str, data: Path) -> None:
    folder = encoder_folder(MINILM)
    assert folder is not None
    tokeniser = load_tokeniser(folder / "tokenizer.json")
    task = TASKS[name]
    sentences = load_corpus(data / "corpora", name, Split.TRAIN)
    head = label_sentences(task, sentences, tokeniser)
    lexicon = build_lexicon(head)
    names = iobes_tags(task.label_names)
    follows = np.array([[may_follow(before, after) for after in names] for before in names])
    labels = (np.arange(len(names)) - 1) // 4
    begins = np.array([tag[0] in "BS" for tag in names])
    known = {form for sentence in head.sentences for form in pre_tokens(sentence.pieces)}

    def gold(sentences: Sequence[LabelledSentence]) -> npt.NDArray[np.int64]:
        """Return the tags of all sentences, each between `IGNORED` marks."""
        end = np.array([IGNORED])
        parts = [sentence.pieces.tags[sentence.pieces.tags != IGNORED] for sentence in sentences]
        return np.concatenate([end, *(array for part in parts for array in (part, end))])

    def mentions(tags: npt.NDArray[np.int64]) -> list[int]:
        """Return the label of each mention, and the marks between sentences."""
        kept = tags[(tags == IGNORED) | begins[np.maximum(tags, 0)]]
        found: list[int] = np.where(kept == IGNORED, IGNORED, labels[kept.clip(0)]).tolist()
        return found

    before = gold(head.sentences)
    for recipe in (MENTIONS, TOKENS, SHUFFLE, ALL):
        made = augment_sentences(head.sentences, lexicon, recipe, np.random.default_rng([13, 0]))
        touched = [new for new, old in zip(made, head.sentences, strict=True) if new is not old]
        assert len(touched) > 1000
        assert all(sentence.pieces.tags[0] != IGNORED for sentence in touched)
        after = gold(made)
        padded = np.maximum(after, 0)
        assert follows[padded[:-1], padded[1:]].all(), "legal, as if O stood around each sentence"
        assert mentions(after) == mentions(before)
        assert np.count_nonzero(after == 0) == np.count_nonzero(before == 0)
        if not recipe.segment_shuffle:
            assert known.issuperset(f for new in touched[::20] for f in pre_tokens(new.pieces))
