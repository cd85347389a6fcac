"""The dictionary's runtime: longest match, offsets, broken checkpoints, sets with encoders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import CheckpointError, RecordError
from schemas.tasks import TASKS
from tests.support.checkpoints import sign_again, tiny_checkpoint
from tests.support.dictionaries import Known, head_content, write_dictionary
from worker.checkpoint.folder import DICTIONARY, read_manifest, set_id
from worker.dictionary.normalisation import Normaliser, Rules, letter_case
from worker.dictionary.tagger import DictionaryTagger, Head, load_dictionary, make_table
from worker.tagger import Tagger, load_tagger

ENTRIES: Known = {
    "Chemical": {"IL": 0.5, "cisplatin": 0.9, "lead": [0.8, 0.8, 0.0, 0.0]},
    "Disease": {
        "cancer": 0.7,
        "breast cancer": 0.95,
        "breast cancer type 2": 0.6,
        "WAS": [0.0, 0.0, 0.9, 0.0],
        "IL-2 deficiency": 0.8,
        "lead": [0.1, 0.9, 0.9, 0.0],
        "Sjögren's syndrome": 0.8,
        "C5 deficiency": 0.0,
    },
}
PATTERNS: Known = {"Disease": {"c#deficiency": 0.6}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dictionary(
        tmp_path_factory.mktemp("dictionary"), {"bc5cdr": head_content(ENTRIES, PATTERNS)}
    )


@pytest.fixture(scope="module")
def tagger(folder: Path) -> Tagger:
    return load_tagger([folder])


def found(tagger: Tagger, text: str) -> list[tuple[str, str]]:
    (annotation,) = tagger.annotate([text])
    return [(text[m.start : m.end], m.label) for m in annotation.mentions]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Breast cancers and cancer", [("Breast cancers", "Disease"), ("cancer", "Disease")]),
        ("breast-cancer type 2", [("breast-cancer type 2", "Disease")]),
        ("breast cancer type 3", [("breast cancer", "Disease")]),
        ("IL2 deficiency", [("IL2 deficiency", "Disease")]),
        ("IL-2 deficiencies", [("IL-2 deficiencies", "Disease")]),
        ("IL-2", [("IL", "Chemical")]),
        ("it was WAS", [("WAS", "Disease")]),
        ("lead Lead LEAD", [("lead", "Chemical"), ("Lead", "Disease"), ("LEAD", "Disease")]),
        ("Sjögren\u2019s syndrome (cancer)", [("Sjögren\u2019s syndrome", "Disease"),
                                              ("cancer", "Disease")]),
        ("C7 deficiency, C5 deficiency", [("C7 deficiency", "Disease")]),
        ("breast\ncancer", [("cancer", "Disease")]),
        ("breast\r\ncancer", [("cancer", "Disease")]),
        ("breast\rcancer", [("cancer", "Disease")]),
        ("breast\x85cancer\u2028type 2", [("cancer", "Disease")]),
        ("breast ----- cancer", [("cancer", "Disease")]),
        ("cancerous, precancer", []),
        ("", []),
    ],
)  # fmt: skip
def test_the_longest_entry_is_taken_from_left_to_right(
    tagger: Tagger, text: str, expected: list[tuple[str, str]]
) -> None:
    assert found(tagger, text) == expected


def test_a_mention_is_as_an_encoders_and_scores_what_was_learned(tagger: Tagger) -> None:
    text = "𝛼-β \u0301é: cisplatin–induced breast\u2010cancer"
    (annotation,) = tagger.annotate([text])
    first, second = annotation.mentions
    assert text[first.start : first.end] == "cisplatin"
    assert text[second.start : second.end] == "breast\u2010cancer"
    assert (first.task, first.label, first.entity_type) == ("bc5cdr", "Chemical", "Chemical")
    assert (first.score, second.score) == (0.9, 0.95)
    assert {m.checkpoint_id for m in annotation.mentions} == {tagger.id}
    assert all(m.preferred for m in annotation.mentions)
    assert annotation.word_pieces > 0


def test_a_dictionary_reads_with_the_table_of_its_manifest(tmp_path: Path) -> None:
    heads = {"bc5cdr": head_content({"Disease": {"breast cancer": 0.9}, "Chemical": {}})}
    text = "bre\u200bast ｃａｎｃｅｒ\u0301 of breast\u2028cancer"
    plain = load_tagger([write_dictionary(tmp_path / "plain", heads)])
    assert found(plain, text) == []
    reading = load_tagger([write_dictionary(tmp_path / "reading", heads, reading="1")])
    assert found(reading, text) == [("bre\u200bast ｃａｎｃｅｒ\u0301", "Disease")]
    write_dictionary(tmp_path / "unknown", heads, reading="2")
    with pytest.raises(CheckpointError, match="the table '2'"):
        load_tagger([tmp_path / "unknown"])


def test_whole_words_leaves_parts_of_joined_words(tmp_path: Path) -> None:
    content = head_content({"GENE": {"IL-2": 0.9, "p53": 0.8}}, whole_words=True)
    tagger = load_tagger([write_dictionary(tmp_path, {"bc2gm": content})])
    text = "IL-2-dependent, anti-IL-2, p53/IL-2 or p53 - IL-2: (p53)"
    assert [word for word, _ in found(tagger, text)] == ["p53", "IL-2", "p53"]
    assert next(m.start for m in tagger.annotate([text])[0].mentions) == text.index("p53 - ")


WORDS = ("a", "b", "A", "ab", "1", "2", "-", "'", "s", "as", "\n", "β", "(")
KEYS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
VALUES = st.sampled_from([0.0, 0.25, 0.5, 1.0])


def brute_force(
    text: str, entries: dict[str, list[float]], patterns: dict[str, list[float]]
) -> list[tuple[int, int, float]]:
    """Longest match as it is told: try every span at every pre-token, the longest first."""
    normaliser = Normaliser(Rules())
    tokens = normaliser.read(text)
    forms, marked = tokens.forms, tokens.with_patterns().forms
    out, first = [], 0
    while first < len(forms):
        step = 1
        for last in range(len(forms) - 1, first - 1, -1):
            inner = "".join("x" if form else "-" for form in forms[first : last + 1])
            if not forms[first] or not forms[last] or "----" in inner:
                continue
            values = entries.get(normaliser.join(forms[first : last + 1]))
            if values is None:
                values = patterns.get(normaliser.join(marked[first : last + 1]))
            start, end = tokens.starts[first], tokens.ends[last]
            score = values[letter_case(text[start:end])] if values else 0.0
            if score:
                out.append((start, end, score))
                step = last + 1 - first
                break
        first += step
    return out


@given(
    st.dictionaries(KEYS, st.lists(VALUES, min_size=4, max_size=4), max_size=8),
    st.dictionaries(KEYS, st.lists(VALUES, min_size=4, max_size=4), max_size=3),
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(["", " "])), max_size=14),
)
def test_longest_match_is_that_of_brute_force(
    mentions: dict[str, list[float]],
    more: dict[str, list[float]],
    parts: list[tuple[str, str]],
) -> None:
    normaliser = Normaliser(Rules())
    known = {normaliser.key(m): v for m, v in mentions.items()}
    entries = {key: values for key, values in known.items() if key and "\n" not in key}
    marked = {normaliser.join(normaliser.read(m).with_patterns().forms): v for m, v in more.items()}
    patterns = {key: values for key, values in marked.items() if "#" in key and "\n" not in key}
    task, text = TASKS["bc2gm"], "".join(word + space for word, space in parts)
    head = Head(
        task,
        make_table(task, {"GENE": entries}, normaliser),
        make_table(task, {"GENE": patterns}, normaliser),
        whole_words=False,
    )
    (read,) = DictionaryTagger("x", normaliser, [head]).read([text])
    expected = brute_force(text, entries, patterns)
    assert [(m.start, m.end, m.score) for m in read.mentions] == expected


def test_time_is_linear_in_runs_of_what_tells_nothing(tagger: Tagger) -> None:
    text = "breast " + "-" * 200_000 + " breast" * 50_000 + " cancer" * 50_000
    assert len(found(tagger, text)) == 50_000


def test_a_lone_surrogate_is_the_records_fault(tagger: Tagger) -> None:
    with pytest.raises(RecordError, match="surrogate"):
        tagger.annotate(["cancer", "cancer \udfff"])


def test_a_dictionary_and_an_encoder_make_a_set(folder: Path, tmp_path: Path) -> None:
    encoder = tiny_checkpoint(tmp_path / "encoder", tasks=("bc2gm",))
    both = load_tagger([folder, encoder], device="cpu", threads=1)
    ids = [read_manifest(path).id for path in (folder, encoder)]
    assert both.id == set_id(ids)
    assert [task.name for task in both.tasks] == ["bc5cdr", "bc2gm"]
    (annotation,) = both.annotate(["breast cancer gene BRCA1 with cisplatin " * 5])
    assert {m.checkpoint_id for m in annotation.mentions} == set(ids)
    rival = tiny_checkpoint(tmp_path / "rival", tasks=("bc5cdr",))
    with pytest.raises(CheckpointError, match="the head 'bc5cdr'"):
        load_tagger([folder, rival], device="cpu", threads=1)


def put(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("format_version", value=2), "not a valid dictionary: format_version"),
        (put("surprise", value=1), "not a valid dictionary: surprise"),
        (put("rules", "case", value="perhaps"), "not a valid dictionary: rules.case"),
        (put("heads", "bc2gm", value={}), "not a valid dictionary: heads.bc2gm"),
        (put("heads", "bc5cdr", "entries", "Disease", "x", value=[2.0, 0, 0, 0]), "less than"),
        (put("heads", "bc5cdr", "entries", "Disease", "x", value=[0.5]), "Field required"),
        (put("heads", "bc5cdr", "entries", "Disease", "", value=[0, 0, 0, 0]), "at least 1"),
        (put("heads", "bc5cdr", "entries", "Disease", "a\nb", value=[0, 0, 0, 0]), "pattern"),
        (put("heads", "bc5cdr", "entries", "GENE", value={}), "has entries of the heads"),
        (put("heads", "bc5cdr", "patterns", value={}), "has patterns of the heads"),
        (put("heads", value={}), "the manifest says"),
    ],
)
def test_a_broken_dictionary_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    path = write_dictionary(tmp_path, {"bc5cdr": head_content(ENTRIES)})
    content = json.loads((path / DICTIONARY).read_text())
    change(content)
    (path / DICTIONARY).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="differs from the manifest"):
        load_tagger([path])
    sign_again(path)
    with pytest.raises(CheckpointError, match=says) as error:
        load_tagger([path])
    assert len(str(error.value).splitlines()) == 1


def test_files_that_are_missing_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = write_dictionary(tmp_path / "one", {"bc5cdr": head_content(ENTRIES)})
    (path / DICTIONARY).write_bytes(b"\xff no JSON")
    sign_again(path)
    with pytest.raises(CheckpointError, match="not a valid dictionary: the file"):
        load_tagger([path])
    (path / DICTIONARY).unlink()
    with pytest.raises(CheckpointError, match=r"dictionary\.json cannot be read"):
        load_tagger([path])
    encoder = tiny_checkpoint(tmp_path / "encoder")
    with pytest.raises(CheckpointError, match="is of kind 'encoder'"):
        load_dictionary(encoder)
    sign_again(encoder, kind="dictionary")
    with pytest.raises(CheckpointError, match=r"lists no dictionary\.json"):
        load_tagger([encoder])
