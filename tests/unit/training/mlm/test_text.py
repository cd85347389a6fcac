"""Text for masked-language-model training: what is read, what is joined, how it is cut."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import CorpusError, InputError, TrainingError
from tests.support.checkpoints import tiny_tokenizer
from tests.support.corpora import write_corpus
from training.mlm.text import (
    Passage,
    Pieces,
    hold_out,
    pack_windows,
    read_corpus,
    read_texts,
    tokenise_passages,
)
from worker.checkpoint.folder import file_digest
from worker.text.tokenisation import WordPieceTokeniser

TOKENISER = WordPieceTokeniser(tiny_tokenizer())


def write_lines(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", "utf-8", errors="surrogatepass")
    return path


def test_lines_give_text_and_bad_ones_are_counted(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "texts.jsonl",
        json.dumps({"pmid": 1, "title": "A gene", "abstract": "of the cell."}),
        "",
        "no json",
        json.dumps({"title": "A title alone", "abstract": ""}),
        json.dumps({"title": None, "abstract": [{"label": "AIM", "text": "In"}, {"text": "two."}]}),
        json.dumps(["no", "object"]),
        json.dumps({"title": 7}),
        json.dumps({"pmid": 2}),
        json.dumps({"title": "\ud800"}),
        json.dumps({"abstract": ["no object"]}),
    )
    passages, source = read_texts(path)
    assert [passage.text for passage in passages] == [
        "A gene of the cell.",
        "A title alone",
        "In two.",
    ]
    assert all(passage.opens_document for passage in passages)
    assert (source.name, source.texts, source.bad_lines) == ("texts.jsonl", 3, 6)
    assert source.first_problem.startswith("line 3: no JSON")
    assert source.sha256 == file_digest(path)


def test_a_gzip_file_is_read_and_a_cut_one_gives_what_is_there(tmp_path: Path) -> None:
    lines = [json.dumps({"title": f"title {number}", "abstract": ""}) for number in range(2000)]
    whole = gzip.compress("\n".join(lines).encode())
    (tmp_path / "whole.jsonl.gz").write_bytes(whole)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    passages, source = read_texts(tmp_path / "whole.jsonl.gz")
    assert (len(passages), source.bad_lines) == (2000, 0)
    passages, source = read_texts(tmp_path / "cut.jsonl.gz")
    assert 0 < len(passages) < 2000
    assert source.bad_lines == 1
    assert "the file is truncated" in source.first_problem


def test_a_file_that_is_missing_or_gives_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_texts(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match=r"holds no text \(line 1: no JSON"):
        read_texts(write_lines(tmp_path / "bad.jsonl", "x"))
    with pytest.raises(InputError, match="it is empty"):
        read_texts(write_lines(tmp_path / "empty.jsonl"))


def test_a_corpus_gives_its_training_split_and_no_other(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "BC2GM-IOBES", "GENE", "protein", sentences=10)
    for split in ("devel", "test"):
        # Neither could be read: opening one would raise.
        (folder / f"{split}.tsv").unlink()
        (folder / f"{split}.tsv").mkdir()
    passages, source = read_corpus(tmp_path, "bc2gm")
    assert len(passages) == 10
    assert passages[0] == Passage("the protein of", opens_document=True)
    assert not any(passage.opens_document for passage in passages[1:])
    assert (source.name, source.texts) == ("bc2gm", 10)
    assert source.sha256 == file_digest(folder / "train.tsv")
    (folder / "train.tsv").unlink()
    with pytest.raises(CorpusError, match=r"train\.tsv"):
        read_corpus(tmp_path, "bc2gm")


def test_sentences_join_up_to_a_window_and_not_across_a_document() -> None:
    passages = [
        Passage("the of", True),
        Passage("and in", False),
        Passage("with was", False),
        Passage("", True),
        Passage("the cell", True),
        Passage("was the gene", False),
        Passage("the of and in", True),  # is the first document again
    ]
    pieces = tokenise_passages(passages, TOKENISER, max_pieces=7)
    assert pieces.bounds.tolist() == [0, 4, 6, 11]
    expected = TOKENISER.encode(["the of and in", "with was", "the cell was the gene"])
    assert pieces.ids.tolist() == [number for text in expected for number in text.ids]
    assert pieces.first.all()
    with pytest.raises(TrainingError, match="there is no text"):
        tokenise_passages([Passage(" ")], TOKENISER, 16)


def test_case_and_word_starts_are_those_of_the_tokeniser() -> None:
    text = "IL-2 Receptor humans MCF7 was"
    pieces = tokenise_passages([Passage(text)], TOKENISER, 256)
    (expected,) = TOKENISER.encode([text])
    assert np.array_equal(pieces.ids, expected.ids)
    assert np.array_equal(pieces.case, expected.case)
    assert np.array_equal(pieces.first, expected.first)


def flat(lengths: list[int], first: list[bool] | None = None) -> Pieces:
    """Return documents of `lengths` pieces, numbered through; every piece a word, or as given."""
    total = sum(lengths)
    starts = np.ones(total, dtype=np.bool_) if first is None else np.array(first, dtype=np.bool_)
    return Pieces(
        np.arange(total, dtype=np.int32),
        np.zeros(total, dtype=np.uint8),
        starts,
        np.cumsum([0, *lengths]),
    )


def test_held_out_documents_are_drawn_by_the_seed_and_are_no_training_documents() -> None:
    pieces = flat([number % 7 + 1 for number in range(300)])
    train, held = hold_out(pieces, 0.01, 5)
    assert (train.documents, held.documents) == (297, 3)
    assert sorted([*train.ids, *held.ids]) == list(range(len(pieces)))
    again = hold_out(pieces, 0.01, 5)
    assert np.array_equal(again[1].ids, held.ids)
    assert not np.array_equal(hold_out(pieces, 0.01, 6)[1].ids, held.ids)
    known = {tuple(range(a, b)) for a, b in zip(pieces.bounds, pieces.bounds[1:], strict=False)}
    for part in (train, held):
        for a, b in zip(part.bounds, part.bounds[1:], strict=False):
            assert tuple(part.ids[a:b].tolist()) in known, "a whole document"
    with pytest.raises(TrainingError, match="expected 2 or more"):
        hold_out(flat([9]), 0.5, 1)
    assert hold_out(flat([1, 1]), 0.99, 1)[0].documents == 1


@given(data=st.data(), max_pieces=st.integers(16, 40))
def test_windows_cover_every_piece_once_and_break_no_word_that_fits(
    data: st.DataObject, max_pieces: int
) -> None:
    room = max_pieces - 2
    lengths = data.draw(st.lists(st.integers(1, 3 * max_pieces), min_size=1, max_size=12))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    first = rng.random(sum(lengths)) < data.draw(st.sampled_from([0.05, 0.5, 1.0]))
    pieces = flat(lengths, first.tolist())
    pieces.first[pieces.bounds[:-1]] = True
    windows = pack_windows(pieces, max_pieces)
    assert windows[0, 0] == 0
    assert windows[-1, 1] == len(pieces)
    assert np.array_equal(windows[1:, 0], windows[:-1, 1])
    sizes = windows[:, 1] - windows[:, 0]
    assert (sizes > 0).all()
    assert (sizes <= room).all()
    starts = np.flatnonzero(pieces.first).tolist()
    for begin, end in windows.tolist():
        if not pieces.first[begin]:
            word = max(start for start in starts if start < begin)
            after = min([start for start in starts if start > begin] + [len(pieces)])
            # Only the rest of a word that reaches beyond the middle of its window's part is cut.
            assert after - word > room // 2
        inside = [d for d in range(len(lengths)) if pieces.bounds[d] < end <= pieces.bounds[d + 1]]
        document = inside[0]
        if begin > pieces.bounds[document]:
            assert lengths[document] > room, "a document that fits is never cut"


def test_short_documents_share_a_window() -> None:
    windows = pack_windows(flat([5, 5, 5, 30, 4, 4]), 16)
    assert windows.tolist() == [[0, 10], [10, 15], [15, 25], [25, 35], [35, 45], [45, 53]]


def test_real_abstracts_are_read_without_a_bad_line(data: Path) -> None:
    passages, source = read_texts(data / "abstracts" / "abstracts.jsonl.gz")
    assert (len(passages), source.bad_lines) == (9289, 0)
