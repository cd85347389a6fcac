import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from training.gate.sample import read_sample, share_out


def write(path: Path, pmids: range, *more: str) -> Path:
    lines = [json.dumps({"pmid": pmid, "title": f"Title {pmid}", "abstract": ""}) for pmid in pmids]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, *more]) + "\n", "utf-8")
    return path


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(0, 100))
def test_the_limit_is_shared_out_as_equally_as_sizes_let(sizes: list[int], limit: int) -> None:
    quotas = share_out(sizes, limit)
    assert sum(quotas) == min(limit, sum(sizes))
    assert all(quota <= size for quota, size in zip(quotas, sizes, strict=True))
    # A source that gives less than another by more than one has no more to give.
    most = max(quotas, default=0)
    assert all(
        quota >= most - 1 or quota == size for quota, size in zip(quotas, sizes, strict=True)
    )


def test_citations_are_spread_over_a_file_from_begin_to_end(tmp_path: Path) -> None:
    sample = read_sample([str(write(tmp_path / "a.jsonl", range(1, 1001)))], 10)
    pmids = [one.pmid for one in sample.citations]
    assert len(pmids) == 10
    assert pmids == sorted(pmids)
    steps = [after - before for before, after in pairwise(pmids)]
    assert pmids[0] < 120
    assert pmids[-1] > 850
    assert max(steps) <= 2 * min(steps)


def test_a_small_file_gives_all_and_larger_ones_the_rest(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", range(1, 4))
    write(tmp_path / "b.jsonl", range(100, 200))
    (tmp_path / "notes.txt").write_text("no input")
    sample = read_sample([str(tmp_path)], 20)
    sources = [one.source for one in sample.citations]
    assert (sources.count("a.jsonl"), sources.count("b.jsonl")) == (3, 17)
    assert sample == read_sample([str(tmp_path / "*.jsonl")], 20)


def test_of_a_pmid_that_comes_twice_the_last_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", range(7, 8))
    (tmp_path / "b.jsonl").write_text('{"pmid": 7, "title": "New title", "abstract": ""}\n')
    sample = read_sample([str(tmp_path)], 5)
    assert [one.text for one in sample.citations] == ["New title\n"]


def test_what_cannot_be_read_is_counted_and_left_out(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", range(1, 3), "{", '{"pmid": 9, "title": "\\ud800", "abstract": ""}'
    )
    sample = read_sample([str(path)], 5)
    assert [one.pmid for one in sample.citations] == [1, 2]
    assert sample.left_out == 2


def test_no_words_draw_nothing() -> None:
    assert read_sample([], 5).citations == ()


@pytest.mark.parametrize("word", ["missing.jsonl", "*.jsonl", "."])
def test_a_word_without_a_file_is_refused(tmp_path: Path, word: str) -> None:
    with pytest.raises(InputError, match="names no file"):
        read_sample([str(tmp_path / word)], 5)


def test_files_without_any_citation_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{\n")
    with pytest.raises(InputError, match=r"no citation with text \(1 records"):
        read_sample([str(tmp_path / "a.jsonl")], 5)
