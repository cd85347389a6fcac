"""Each layout: the same two documents read from it, and what is wrong in a file is named."""

import gzip
import json
from pathlib import Path

import pytest

from schemas.errors import CorpusError
from training.corpora.layouts.bioc import read_bioc
from training.corpora.layouts.protocol import Oddity, Reading
from training.corpora.layouts.table import LAYOUTS, LayoutName
from training.corpora.schemes import Scheme
from training.corpora.spans import sentence_text, spans_of
from training.corpora.tsv import Problem, Sentence

TITLE, ABSTRACT = "𝒳 and BRCA1 in cancer", "It causes breast cancer."
TEXT = f"{TITLE}\n{ABSTRACT}"
GENE, DISEASE = (6, 11), (32, 45)

PUBTATOR = f"""1|t|{TITLE}
1|a|{ABSTRACT}
1\t6\t11\tBRCA1\tGene\t672
1\t32\t45\tbreast cancer\tDisease
1\tCID\tD1\tD2

2|t|p53
2|a|
2\t0\t3\tp53\tGene
"""
JSONL = "\n".join(
    json.dumps(one)
    for one in (
        {
            "id": "1",
            "text": TEXT,
            "entities": [
                {"start": 6, "end": 11, "text": "BRCA1", "type": "Gene", "id": "672"},
                {"start": 32, "end": 45, "type": "Disease"},
            ],
        },
        {"id": 2, "text": "p53", "entities": [{"start": 0, "end": 3, "type": "Gene"}]},
    )
)


def xml_annotation(kind: str, start: int, text: str) -> str:
    return (
        f'<annotation id="1"><infon key="other">x</infon><infon key="type">{kind}</infon>'
        f'<location offset="{start}" length="{len(text)}"/><text>{text}</text></annotation>'
    )


BIOC_XML = f"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE collection SYSTEM "BioC.dtd">
<collection><source/><document><id>1</id>
<passage><infon key="type">title</infon><offset>100</offset><text>{TITLE}</text>
{xml_annotation("Gene", 106, "BRCA1")}</passage>
<passage><offset>500</offset><sentence><offset>500</offset><text>{ABSTRACT}</text>
{xml_annotation("Disease", 510, "breast cancer")}</sentence></passage></document>
<document><id>2</id><passage><offset>0</offset><text>p53</text>
{xml_annotation("Gene", 0, "p53")}</passage></document></collection>"""


def json_annotation(kind: str, start: int, text: str) -> dict[str, object]:
    return {
        "infons": {"type": kind},
        "text": text,
        "locations": [{"offset": start, "length": len(text)}],
    }


BIOC_JSON = {
    "documents": [
        {
            "id": "1",
            "passages": [
                {
                    "offset": 100,
                    "text": TITLE,
                    "annotations": [json_annotation("Gene", 106, "BRCA1")],
                },
                {
                    "offset": 500,
                    "sentences": [{"offset": 500, "text": ABSTRACT}],
                    "annotations": [json_annotation("Disease", 510, "breast cancer")],
                },
            ],
        },
        {
            "id": "2",
            "passages": [
                {"offset": 0, "text": "p53", "annotations": [json_annotation("Gene", 0, "p53")]}
            ],
        },
    ]
}


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def put_brat(folder: Path) -> Path:
    put(folder / "1.txt", TEXT)
    put(
        folder / "1.ann",
        "T1\tGene 6 11\tBRCA1\n#1\tNote T1\tx\n"
        "T2\tDisease 32 38;39 45\tbreast cancer\r\nR1\tx T1 T2\n",
    )
    put(folder / "2.txt", "p53")
    put(folder / "2.ann", "T1\tGene 0 3\tp53")
    return folder


def read(name: LayoutName, path: Path) -> tuple[list[Sentence], list[str], list[str]]:
    found = list(LAYOUTS[name].scan(path, Reading(Scheme.IOBES, None)))
    return (
        [one for one in found if isinstance(one, Sentence)],
        [str(one) for one in found if isinstance(one, Problem)],
        [str(one.problem) for one in found if isinstance(one, Oddity)],
    )


def mentions(sentences: list[Sentence]) -> list[tuple[str, str, str]]:
    return [
        (one.document, sentence_text(one.words)[0][span.start : span.end], span.label)
        for one in sentences
        for span in spans_of(one)
    ]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("layout", "content"),
    [
        (LayoutName.PUBTATOR, PUBTATOR),
        (LayoutName.JSONL, JSONL),
        (LayoutName.BIOC, BIOC_XML),
        (LayoutName.BIOC, json.dumps(BIOC_JSON)),
        (LayoutName.BIOC, "\n".join(map(json.dumps, BIOC_JSON["documents"]))),
        (LayoutName.BIOC, json.dumps({"PubTator3": BIOC_JSON["documents"]})),
        (LayoutName.BRAT, None),
    ],
)
def test_the_same_documents_in_each_layout(
    tmp_path: Path, layout: LayoutName, content: str | None, compressed: bool
) -> None:
    if content is None:
        path = put_brat(tmp_path / "train")
    else:
        path = put(tmp_path / "a", gzip.compress(content.encode()) if compressed else content)
    sentences, problems, oddities = read(layout, path)
    assert (problems, oddities) == ([], [])
    assert mentions(sentences) == [
        ("1", "BRCA1", "Gene"),
        ("1", "breast cancer", "Disease"),
        ("2", "p53", "Gene"),
    ]
    assert [one.starts_document for one in sentences] == [True, False, True]


def test_the_line_of_a_document_is_told(tmp_path: Path) -> None:
    sentences, _, _ = read(LayoutName.PUBTATOR, put(tmp_path / "a", PUBTATOR))
    assert [one.line for one in sentences] == [1, 1, 7]
    sentences, _, _ = read(LayoutName.JSONL, put(tmp_path / "a", JSONL))
    assert [one.line for one in sentences] == [1, 1, 2]


@pytest.mark.parametrize("unit", ["utf-8", "utf-16-le"])
def test_offsets_in_other_units_are_counted_and_the_rest_is_kept(tmp_path: Path, unit: str) -> None:
    def at(start: int) -> int:
        return len(TITLE[:start].encode(unit)) // (2 if unit == "utf-16-le" else 1)

    content = BIOC_XML.replace('offset="106"', f'offset="{100 + at(6)}"')
    assert content != BIOC_XML
    sentences, problems, oddities = read(LayoutName.BIOC, put(tmp_path / "a", content))
    assert problems == []
    assert [name for _, name, _ in mentions(sentences)] == ["breast cancer", "p53"]
    (oddity,) = oddities
    assert "1 mention left out: another text at the offsets, in code points; the first in" in oddity
    assert "document 1: 'BRCA1' has the offsets" in oddity


def test_a_mention_outside_its_passage_is_left_out(tmp_path: Path) -> None:
    content = BIOC_XML.replace('offset="510"', 'offset="106"')
    _, problems, oddities = read(LayoutName.BIOC, put(tmp_path / "a", content))
    assert problems == []
    assert "'breast cancer' lies outside its passage at 500" in oddities[0]


def test_a_mention_with_several_locations_is_discontinuous(tmp_path: Path) -> None:
    place = '<location offset="510" length="13"/><text>breast cancer'
    two = '<location offset="500" length="2"/><location offset="510" length="6"/><text>It breast'
    assert place in BIOC_XML
    _, problems, oddities = read(LayoutName.BIOC, put(tmp_path / "a", BIOC_XML.replace(place, two)))
    assert problems == []
    assert "1 mention left out: discontinuous" in oddities[0]


BOMB = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(12))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            'SYSTEM "BioC.dtd"',
            '[<!ENTITY x SYSTEM "file:///etc/passwd">]',
            "document 2: it refers to the entity &x;, which is not expanded",
        ),
        (
            'SYSTEM "BioC.dtd"',
            f'[<!ENTITY a0 "ha">{BOMB}<!ENTITY x "&a12;">]',
            "not BioC: Maximum entity amplification",
        ),
        ("</collection>", "", "not BioC: "),
        ("<offset>0<", "<offset>-1<", "document 2: '-1' is no offset"),
        ('length="3"', 'length="x"', "document 2: 'x' is no offset"),
        ('length="3"', "", "document 2: None is no offset"),
        (
            '<infon key="type">Gene</infon><location offset="0"',
            '<location offset="0"',
            "document 2: the infon 'type' of an annotation is None",
        ),
        ("<collection>", "<collections>", "not BioC: "),
    ],
)  # fmt: skip
def test_bad_and_hostile_bioc_is_named(tmp_path: Path, before: str, after: str, says: str) -> None:
    assert before in BIOC_XML
    content = BIOC_XML.replace(before, after, 1)
    if "ENTITY" in after:
        content = content.replace("<text>p53</text>", "<text>p&x;53</text>", 1)
    sentences, problems, _ = read(LayoutName.BIOC, put(tmp_path / "a", content))
    assert says in problems[0]
    assert "root:" not in str(sentences)


def test_deep_and_odd_json_is_named(tmp_path: Path) -> None:
    for content in ("[" * 100_000, "{}", "[1]", '{"documents": [1]}', "", '{"documents": {}}'):
        path = put(tmp_path / "a", content)
        found = list(read_bioc(path))
        assert content == "" or any(isinstance(one, Problem) for one in found), content


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[", "not a document with entities: "),
        ("[" * 100_000, "not a document with entities: "),
        ("1", "1 is no JSON object"),
        ('{"id": "1"}', "text is None; a string was expected"),
        ('{"text": "\\ud800"}', "half of a surrogate pair"),
        ('{"text": "a", "id": []}', "id is []"),
        ('{"text": "a", "entities": {}}', "entities is no list"),
        ('{"text": "a", "entities": [1]}', "the entity 1 is no JSON object"),
        (
            '{"text": "a", "entities": [{"start": true, "end": 1, "type": "x"}]}',
            "True is no offset",
        ),
        ('{"text": "a", "entities": [{"start": -1, "end": 1, "type": "x"}]}', "-1 is no offset"),
        ('{"text": "a", "entities": [{"start": 0.0, "end": 1, "type": "x"}]}', "0.0 is no offset"),
        ('{"text": "a", "entities": [{"start": 0, "end": 1}]}', "type is None"),
        ('{"text": "a", "entities": [{"spans": [[0]], "type": "x"}]}', "spans is no list of pairs"),
        (f'{{"text": "a", "id": {"9" * 5000}}}', "not a document with entities: "),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path: Path, line: str, says: str) -> None:
    sentences, problems, _ = read(LayoutName.JSONL, put(tmp_path / "a", f"\n{line}\n{JSONL}"))
    assert len(problems) == 1
    assert problems[0].startswith(f"{tmp_path / 'a'}, line 2: ")
    assert says in problems[0]
    assert len(mentions(sentences)) == 3


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("T1\tGene 0\tp53", "line 1: '' is no offset"),
        ("T1\tGene 0 x\tp53", "line 1: 'x' is no offset"),
        ("T1 Gene 0 3 p53", "line 1: 'T1 Gene 0 3 p53' is no annotation such as"),
        ("T1\tGene\tp53", "line 1: 'T1\\tGene\\tp53' is no annotation such as"),
    ],
)
def test_a_bad_brat_annotation_is_named(tmp_path: Path, row: str, says: str) -> None:
    folder = put_brat(tmp_path / "train")
    put(folder / "2.ann", row)
    sentences, problems, _ = read(LayoutName.BRAT, folder)
    assert len(problems) == 1
    assert says in problems[0]
    assert {one.document for one in sentences} == {"1"}


def test_a_brat_text_without_annotations_or_not_in_utf8_is_named(tmp_path: Path) -> None:
    folder = put_brat(tmp_path / "train")
    (folder / "2.ann").unlink()
    put(folder / "1.txt", b"\xff")
    _, problems, _ = read(LayoutName.BRAT, folder)
    assert ["1.txt is not UTF-8" in problems[0], "no 2.ann beside it" in problems[1]] == [True] * 2


def test_a_pubtator_file_that_cannot_be_read_further_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "a", PUBTATOR.replace("2|a|", "3|a|"))
    sentences, problems, _ = read(LayoutName.PUBTATOR, path)
    assert "document 2: the document of '2' holds a line of '3'" in problems[0]
    assert {one.document for one in sentences} == {"1"}


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    for name, content in ((LayoutName.PUBTATOR, PUBTATOR), (LayoutName.BIOC, BIOC_XML)):
        path = put(tmp_path / "a.gz", gzip.compress(content.encode())[:-20])
        with pytest.raises(CorpusError, match=r"a\.gz: cannot be read: "):
            read(name, path)
    path = put(tmp_path / "a.gz", gzip.compress(JSONL.encode())[:-20])
    _, problems, _ = read(LayoutName.JSONL, path)
    assert any("the file is truncated" in problem for problem in problems)
    for name in (LayoutName.JSONL, LayoutName.PUBTATOR, LayoutName.BIOC):
        with pytest.raises(CorpusError, match="cannot be read"):
            read(name, tmp_path / "missing")
