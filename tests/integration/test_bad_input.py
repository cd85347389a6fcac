"""Bad records and files: the good ones still come out, the bad ones are dead letters."""

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.annotating import annotate, article, articles, check_output, pubmed_xml

GOOD = articles(3)


def letters_of(found: dict[str, list[Any]]) -> list[tuple[int, str]]:
    return [(row["offset"], row["stage"]) for row in found["dead_letters"]]


def pmids_of(found: dict[str, list[Any]]) -> list[int]:
    return [row["pmid"] for row in found["citations"]]


def run(path: Path, checkpoint: Path, *more: Path) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    out = path.parent / "out"
    summary = annotate([path, *more], out, checkpoint)
    found = check_output(out)
    assert summary["dead_letters"] == len(found["dead_letters"])
    assert summary["citations"] == len(found["citations"])
    for row in found["dead_letters"]:
        assert row["error"]
        assert row["error_type"]
    return summary, found


def test_truncated_gzip(tmp_path: Path, checkpoint: Path) -> None:
    plain = pubmed_xml(tmp_path / "a.xml", articles(300))
    packed = gzip.compress(plain.read_bytes())
    path = tmp_path / "b.xml.gz"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    _, found = run(path, checkpoint)
    good = pmids_of(found)
    assert 20 < len(good) < 280
    assert good == list(range(1, len(good) + 1))
    [dead_letter] = found["dead_letters"]
    assert (dead_letter["offset"], dead_letter["stage"]) == (len(good), "read")
    assert "truncated" in dead_letter["error"]
    assert dead_letter["payload"].startswith(b"<PubmedArticle>")


def test_corrupt_gzip(tmp_path: Path, checkpoint: Path) -> None:
    plain = pubmed_xml(tmp_path / "a.xml", articles(300))
    packed = bytearray(gzip.compress(plain.read_bytes()))
    middle = len(packed) // 2
    packed[middle : middle + 40] = b"\xff" * 40
    path = tmp_path / "b.xml.gz"
    path.write_bytes(packed)
    _, found = run(path, checkpoint)
    assert len(pmids_of(found)) > 20
    assert letters_of(found)[-1][1] == "read"
    assert "corrupt" in found["dead_letters"][-1]["error"]


def test_xml_cut_in_the_middle(tmp_path: Path, checkpoint: Path) -> None:
    path = pubmed_xml(tmp_path / "a.xml", articles(8))
    text = path.read_text()
    cut = text.index("patient 7")
    path.write_text(text[:cut])
    _, found = run(path, checkpoint)
    assert pmids_of(found) == [1, 2, 3, 4, 5, 6]
    assert letters_of(found) == [(6, "read")]
    begin = text.rindex("<PubmedArticle>", 0, cut)
    assert found["dead_letters"][0]["payload"] == text[begin:cut].encode()


def test_entity_expansion(tmp_path: Path, checkpoint: Path) -> None:
    entities = '<!ENTITY a0 "lol">' + "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)
    )
    path = pubmed_xml(tmp_path / "a.xml", [GOOD[0], article(9, "&a11;"), GOOD[1]])
    path.write_text(
        path.read_text().replace("<Pubmed", f"<!DOCTYPE PubmedArticleSet [{entities}]>\n<Pubmed", 1)
    )
    _, found = run(path, checkpoint)
    assert [row["offset"] for row in found["citations"]][:1] == [0]
    assert set(pmids_of(found)) >= {1, 2}
    assert all(len(row["text"]) < 1000 for row in found["citations"])


def test_external_entities_are_not_fetched(tmp_path: Path, checkpoint: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("TOPSECRET")
    doctype = f'<!DOCTYPE PubmedArticleSet [<!ENTITY x SYSTEM "file://{secret}">]>\n<Pubmed'
    path = pubmed_xml(tmp_path / "a.xml", [GOOD[0], article(9, "&x;")])
    path.write_text(path.read_text().replace("<Pubmed", doctype, 1))
    _, found = run(path, checkpoint)
    assert 1 in pmids_of(found)
    assert not any("TOPSECRET" in (row["text"] or "") for row in found["citations"])


def test_invalid_utf8(tmp_path: Path, checkpoint: Path) -> None:
    path = pubmed_xml(tmp_path / "a.xml", [GOOD[0], article(9, "bad @ byte"), GOOD[1]])
    path.write_bytes(path.read_bytes().replace(b"bad @ byte", b"bad \xff byte"))
    _, found = run(path, checkpoint)
    assert pmids_of(found) == [1, 2]
    assert letters_of(found) == [(1, "parse")]
    assert b"bad \xff byte" in found["dead_letters"][0]["payload"]


def test_a_very_long_abstract(tmp_path: Path, checkpoint: Path) -> None:
    body = "interleukin of cell and disease " * (5_000_000 // 32)
    path = pubmed_xml(tmp_path / "a.xml", [GOOD[0], article(9, "Long", body), GOOD[1]])
    out = tmp_path / "out"
    annotate([path], out, checkpoint, "--max-text-chars=20000")
    found = check_output(out)
    assert pmids_of(found) == [1, 9, 2]
    long = found["citations"][1]
    assert long["text"] == f"Long\n{body.strip()}" or long["text"] == f"Long\n{body}"
    assert [row["truncated"] for row in found["citations"]] == [False, True, False]


def test_empty_text_and_control_characters(tmp_path: Path, checkpoint: Path) -> None:
    empty = article(8, "", "").replace("</Article>", "<Abstract/></Article>")
    path = pubmed_xml(
        tmp_path / "a.xml", [empty, article(9, "bad \x01 here"), article(10, "tab\there&#133;")]
    )
    _, found = run(path, checkpoint)
    assert [(row["pmid"], row["status"]) for row in found["citations"]] == [
        (8, "no_text"),
        (10, "annotated"),
    ]
    assert letters_of(found) == [(1, "parse")]
    assert b"bad \x01 here" in found["dead_letters"][0]["payload"]


def test_no_pmid_and_pmids_that_come_twice(tmp_path: Path, checkpoint: Path) -> None:
    nameless = article(1).replace('<PMID Version="1">1</PMID>', "")
    path = pubmed_xml(
        tmp_path / "a.xml",
        [nameless, article("12x"), article(5), article(5), article(5, "Second", version=2)],
    )
    _, found = run(path, checkpoint)
    assert letters_of(found) == [(0, "parse"), (1, "parse")]
    assert found["dead_letters"][0]["payload"] == nameless.encode()
    versions = [(row["pmid"], row["pmid_version"], row["offset"]) for row in found["citations"]]
    assert versions == [(5, 1, 2), (5, 1, 3), (5, 2, 4)]


def test_unreadable_files_among_good_ones(tmp_path: Path, checkpoint: Path) -> None:
    good = pubmed_xml(tmp_path / "b.xml", GOOD)
    (tmp_path / "a.xml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "c.xml").mkdir()
    bad = pubmed_xml(tmp_path / "d.xml", GOOD)
    (tmp_path / "d.xml.md5").write_text(f"MD5(d.xml)= {hashlib.md5(b'').hexdigest()}\n")
    out = tmp_path / "out"
    summary = annotate([tmp_path / "?.xml"], out, checkpoint)
    found = check_output(out)
    assert {row["source"] for row in found["citations"]} == {good.name}
    dead_letters = {row["source"]: row for row in found["dead_letters"]}
    assert {name: (row["offset"], row["stage"]) for name, row in dead_letters.items()} == {
        "a.xml": (0, "read"),
        "c.xml": (0, "read"),
        bad.name: (0, "read"),
    }
    assert dead_letters["a.xml"]["error_type"] == "FileNotFoundError"
    assert dead_letters["c.xml"]["error_type"] == "IsADirectoryError"
    assert summary["dead_letters_by_stage"] == {"read": 3}


def test_dead_letters_are_shown_in_plain_sight(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(pubmed_xml(tmp_path / "a.xml", [article("x"), *GOOD]), checkpoint)
    [line] = [line for line in capsys.readouterr().out.splitlines() if "dead letters" in line]
    assert line.split() == ["dead", "letters", "1", "1", "parse"]


def test_a_file_that_is_no_xml_or_empty(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "a.xml").write_bytes(b"\x00\x01 no xml at all")
    (tmp_path / "b.xml").write_bytes(b"")
    good = pubmed_xml(tmp_path / "c.xml", GOOD)
    _, found = run(good, checkpoint, tmp_path / "a.xml", tmp_path / "b.xml")
    assert pmids_of(found) == [1, 2, 3]
    assert {row["source"] for row in found["dead_letters"]} >= {"a.xml"}
