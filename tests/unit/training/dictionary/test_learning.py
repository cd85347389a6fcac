"""What a dictionary learns from training mentions, and how its bounds are chosen on devel."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.manifest import CorpusEntry
from schemas.tasks import TASKS, Task
from training.corpora.catalogue import Split
from training.corpora.corpus import open_corpus
from training.corpora.tsv import Sentence
from training.dictionary.export import learn_head
from training.dictionary.learning import Entry, Learned, learn, read_sentences
from training.dictionary.stop_list import Choice, choose, kept
from training.finetune.run import LoadedCorpus
from training.finetune.scoring import DevelSet
from worker.dictionary.normalisation import Normaliser, Rules
from worker.dictionary.tagger import DictionaryTagger, Head, make_table

NORMALISER = Normaliser(Rules())
DISEASE = TASKS["ncbi-disease"]


def sentence(text: str, label: str = "Disease") -> Sentence:
    """Return a sentence from words of which each mention stands in square brackets."""
    words, tags, inside = [], [], False
    for word in text.split():
        opens, closes = word.startswith("["), word.endswith("]")
        name = "[]" if word in ("[", "]") else word.strip("[]")
        words.append(name)
        if opens or inside:
            tags.append(("S" if closes else "B") if opens else "E" if closes else "I")
        else:
            tags.append("O")
        inside = (inside or opens) and not closes
    named = [tag if tag == "O" else f"{tag}-{label}" for tag in tags]
    return Sentence(tuple(words), tuple(named), 1)


def learned(*texts: str, rules: Rules = Rules()) -> Learned:  # noqa: B008 - frozen
    normaliser = Normaliser(rules)
    sentences = read_sentences([sentence(text) for text in texts], normaliser)
    return learn(sentences, DISEASE, normaliser)


def entry(found: Learned, key: str) -> Entry:
    return found.entries["Disease"][key]


def test_occurrences_in_and_out_of_mentions_make_the_probability() -> None:
    found = learned(*["[ataxia] here"] * 6, *["no ataxia"] * 2, *["[fever] fever fever"] * 4)
    often, seldom = entry(found, "ataxia"), entry(found, "fever")
    assert (often.count, seldom.count) == (6, 4)
    assert 6 / 9 <= often.probabilities[0] <= 7 / 9
    assert 4 / 13 <= seldom.probabilities[0] <= 5 / 13


def test_letter_case_tells_a_disease_from_a_word() -> None:
    found = entry(learned(*["[WAS] gene"] * 8, *["it was so"] * 20), "was")
    lower, _, upper, _ = found.probabilities
    assert upper > 0.8
    assert lower < 0.1


def test_a_part_of_a_known_mention_tells_nothing_and_of_an_unknown_one_against_it() -> None:
    alone = ["[cancer] grows"] * 4
    known = entry(learned(*alone, *["[breast cancer] too"] * 6), "cancer")
    unknown = [f"[{word} cancer] too" for word in ("ovarian", "lung", "skin", "bone", "a", "b")]
    once = entry(learned(*alone, *unknown), "cancer")
    assert known.probabilities[0] > 0.85
    assert once.probabilities[0] < 0.5


def test_patterns_stand_for_numbers_that_were_not_seen() -> None:
    texts = [f"[C{number} deficiency] and page {number}" for number in range(20)]
    found = learned(*texts).patterns["Disease"]
    assert set(found) == {"c#deficiency"}
    assert found["c#deficiency"].count == 20
    assert found["c#deficiency"].probabilities[3] > 0.8
    assert learned(*texts, rules=Rules(numbers=False)).patterns == {}


def test_a_mention_that_is_or_ends_in_a_hyphen_gives_no_entry() -> None:
    assert learned("[-] x", "[lung -] x", "[fever]").entries["Disease"].keys() == {"fever"}


def bounds(threshold: float, *, min_count: int = 1) -> Choice:
    return Choice({"Disease": threshold}, min_count, whole_words=False, devel_f1=0.0)


def test_the_stop_list_leaves_out_by_case_by_probability_and_by_count() -> None:
    known = {
        "was": Entry((0.1, 0.2, 0.9, 0.5), 9),
        "rare": Entry((0.9, 0.9, 0.9, 0.9), 1),
        "c5": Entry((0.1, 0.1, 0.1, 0.1), 9),
        "word": Entry((0.1, 0.1, 0.1, 0.1), 9),
    }
    found = Learned({"Disease": known}, {"Disease": {"c#": Entry((0.6, 0.1, 0.1, 0.1), 9)}})
    entries, patterns = kept(DISEASE, found, bounds(0.5, min_count=2))
    # What a pattern would match stays in the file, as stopped.
    assert entries == {"Disease": {"was": (0.0, 0.0, 0.9, 0.5), "c5": (0.0, 0.0, 0.0, 0.0)}}
    assert patterns == {"Disease": {"c#": (0.6, 0.0, 0.0, 0.0)}}


def test_devel_decides_what_is_ambiguous() -> None:
    train = [sentence("[ataxia] and [fall] or fall or fall")] * 10
    for text, stopped in (("[ataxia] did fall", True), ("[ataxia] and [fall]", False)):
        devel = read_sentences([sentence(text)] * 5, NORMALISER)
        found = learn(read_sentences(train, NORMALISER), DISEASE, NORMALISER)
        choice = choose(devel, DISEASE, found, NORMALISER)
        assert choice.devel_f1 == 1.0
        assert ("fall" not in kept(DISEASE, found, choice)[0]["Disease"]) == stopped


def test_devel_decides_whether_words_are_taken_apart() -> None:
    train = read_sentences([sentence("[IL-2] is")] * 3, NORMALISER)
    found = learn(train, DISEASE, NORMALISER)
    for text, whole in (("[IL-2] and IL-2-dependent", True), ("[IL-2] is", False)):
        devel = read_sentences([sentence(text)], NORMALISER)
        assert choose(devel, DISEASE, found, NORMALISER).whole_words == whole


TEXT = st.lists(
    st.tuples(st.sampled_from(["a b", "b", "A 1", "a 2", "c-a", "c", "'s"]), st.booleans()),
    min_size=1,
    max_size=6,
).map(lambda parts: sentence(" ".join(f"[{word}]" if gold else word for word, gold in parts)))


@settings(max_examples=60)
@given(st.lists(TEXT, min_size=1, max_size=6), st.lists(TEXT, min_size=1, max_size=4))
def test_what_is_chosen_for_is_what_the_runtime_gives(
    train: list[Sentence], devel: list[Sentence]
) -> None:
    """The choice matches devel by a way of its own, for all bounds at once."""
    read = read_sentences(devel, NORMALISER)
    found = learn(read_sentences(train, NORMALISER), DISEASE, NORMALISER)
    choice = choose(read, DISEASE, found, NORMALISER)
    entries, patterns = kept(DISEASE, found, choice)
    head = Head(
        DISEASE,
        make_table(DISEASE, entries, NORMALISER),
        make_table(DISEASE, patterns, NORMALISER),
        choice.whole_words,
    )
    tagger = DictionaryTagger("x", NORMALISER, [head])
    given = tagger.read([" ".join(one.words) for one in devel])
    spans = [{(m.start, m.end, m.label) for m in one.mentions} for one in given]
    right = sum(len(a & b.spans) for a, b in zip(spans, read, strict=True))
    total = sum(map(len, spans)) + sum(len(one.spans) for one in read)
    assert choice.devel_f1 == pytest.approx(2 * right / max(1, total))


def corpus(task: Task, train: Sequence[Sentence], devel: Sequence[Sentence]) -> LoadedCorpus:
    entry = CorpusEntry(name=task.name, split="train", sha256="0", sentences=1, mentions=1)
    return LoadedCorpus(task, tuple(train), DevelSet(task, tuple(devel)), entry)


@pytest.mark.parametrize("name", ["ncbi-disease", "jnlpba"])
def test_a_real_corpus_gives_a_real_baseline(data: Path, name: str) -> None:
    """On a part of it; one corpus of spaced words, and one of several labels and joined words."""
    task = TASKS[name]
    train = open_corpus(data / "corpora", name).sentences(Split.TRAIN)[:2000]
    devel = open_corpus(data / "corpora", name).sentences(Split.DEVEL)[:500]
    head = learn_head(corpus(task, train, devel), Rules())
    assert head.devel_f1 == pytest.approx(head.choice.devel_f1, abs=1e-9)
    assert head.devel_f1 > 0.4
    assert head.choice.whole_words == (name == "jnlpba")
    plain = learn_head(
        corpus(task, train, devel),
        Rules(case=False, hyphens=False, plurals=False, greek=False, numbers=False),
    )
    assert plain.devel_f1 < head.devel_f1
