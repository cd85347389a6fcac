"""Soft labels: the mean of checkpoints head by head, and the file that keeps them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import load_file, save_file

from schemas.errors import TrainingError
from schemas.tasks import TASKS
from tests.support.checkpoints import sign_again, tiny_checkpoint, tiny_tokenizer
from training.corpora.spans import sentence_text
from training.corpora.tsv import Sentence
from training.data.examples import label_sentences
from training.data.sampling import Material
from training.encoders.loading import load_encoder
from training.finetune.teachers import Teachers, add_soft_labels, tokenise_texts
from training.recipes.recipe import Recipe
from worker.decoding.cpu import head_layout
from worker.network.encoder import load_encoder as load_trained
from worker.tagger import BatchLimits, CheckpointTagger
from worker.text.tokenisation import WordPieceTokeniser

NCBI, BC2GM = TASKS["ncbi-disease"], TASKS["bc2gm"]
LAYOUT = head_layout((BC2GM, NCBI))
TOKENISER = WordPieceTokeniser(tiny_tokenizer())
RECIPE = Recipe("tiny", letter_case=True, max_pieces=128)
TEXTS = ("The cancer gene, in cell.", "Protein", "was of the BRCA1-like disease (for the gene)")


def member(folder: Path) -> CheckpointTagger:
    return CheckpointTagger(load_trained(folder, device="cpu", precision="fp32"), BatchLimits())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of both heads, in another order than asked for, and of one head alone."""
    root = tmp_path_factory.mktemp("teachers")
    return {
        "both": tiny_checkpoint(root / "both", tasks=("ncbi-disease", "bc2gm"), seed=1),
        "again": tiny_checkpoint(root / "again", tasks=("ncbi-disease", "bc2gm"), seed=2),
        "ncbi": tiny_checkpoint(root / "ncbi", tasks=("ncbi-disease",), seed=3),
    }


@pytest.fixture(scope="module")
def load(folders: dict[str, Path]) -> Callable[..., Teachers]:
    models = {name: member(folder) for name, folder in folders.items()}
    return lambda *names: Teachers(tuple(models[name] for name in names), LAYOUT)


def plain_tags(folder: Path, text: str, task: str) -> npt.NDArray[np.float64]:
    """One head's tag probabilities of one text, by transformers' own network in fp32."""
    start = load_encoder(str(folder), RECIPE, (TASKS[task],))
    (pieces,) = start.tokeniser.encode([text])
    ids = [start.tokeniser.start_id, *pieces.ids.tolist(), start.tokeniser.end_id]
    case = [0, *pieces.case.tolist(), 0]
    with torch.inference_mode():
        logits = start.model.eval()(
            torch.tensor([ids]),
            torch.ones((1, len(ids)), dtype=torch.bool),
            torch.tensor([case]),
            torch.tensor([[False, *pieces.first.tolist(), False]]),
        )
    found: npt.NDArray[np.float64] = logits.double().softmax(dim=1).numpy()
    return found


def test_each_heads_tags_are_the_mean_of_the_teachers_that_have_it(
    folders: dict[str, Path], load: Callable[..., Teachers]
) -> None:
    told: list[int] = []
    read = list(load("both", "ncbi", "again").read(TEXTS, told.append))
    assert sum(told) == len(TEXTS)
    for text, rows in zip(TEXTS, read, strict=True):
        for task, part in zip(LAYOUT.tasks, LAYOUT.slices, strict=True):
            names = ["both", "again"] + ["ncbi"] * (task == NCBI)
            expected = np.mean([plain_tags(folders[n], text, task.name) for n in names], axis=0)
            assert rows[:, part] == pytest.approx(expected, abs=2e-3)
            assert rows[:, part].sum(axis=1) == pytest.approx(1.0, abs=4e-3)


def test_teachers_read_as_what_learns_from_them_reads(load: Callable[..., Teachers]) -> None:
    written, plain = load("both").read(["TNF−α in ﬁve ｃｅｌｌｓ", "TNF-alpha in five cells"])
    assert np.array_equal(written, plain)


def test_a_head_that_no_teacher_has_is_refused(load: Callable[..., Teachers]) -> None:
    with pytest.raises(TrainingError, match=r"no teacher has the head 'bc2gm' .* --teacher"):
        load("ncbi")


def test_teachers_that_split_words_differently_do_not_teach_together(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    other = tiny_checkpoint(tmp_path / "other", seed=4)
    values = json.loads((other / "tokenizer.json").read_text("utf-8"))
    values["normalizer"]["strip_accents"] = False
    (other / "tokenizer.json").write_text(json.dumps(values), "utf-8")
    sign_again(other)
    with pytest.raises(TrainingError, match="have different tokenisers"):
        Teachers((member(folders["both"]), member(other)), LAYOUT)


def sentence(words: str, line: int, *, starts: bool = False) -> Sentence:
    split = tuple(words.split())
    return Sentence(split, ("O",) * len(split), line, starts_document=starts)


DISEASES = (
    sentence("the cancer was in cell", 1, starts=True),
    sentence("of disease", 7),
    sentence("with cancer", 10, starts=True),
)
GENES = (sentence("the gene for protein", 1), sentence("was protein", 6))
CORPORA = (GENES, DISEASES)


def material(corpora: Sequence[Sequence[Sentence]] = CORPORA) -> Material:
    data = zip(LAYOUT.tasks, corpora, strict=True)
    return Material(
        tuple(label_sentences(task, corpus, TOKENISER) for task, corpus in data),
        tokenise_texts(TEXTS, TOKENISER),
    )


def soft_of(taught: Material) -> list[npt.NDArray[np.float16]]:
    pieces = [one.pieces for data in taught.corpora for one in data.sentences]
    found = [one.soft for one in [*pieces, *taught.texts]]
    assert all(soft is not None for soft in found)
    return [soft for soft in found if soft is not None]


def test_each_sentence_and_text_gets_what_its_teachers_say_of_its_own_words(
    load: Callable[..., Teachers], tmp_path: Path
) -> None:
    teachers = load("both")
    steps: list[tuple[int, int]] = []
    taught = add_soft_labels(
        teachers, material(), CORPORA, TEXTS, tmp_path / "a" / "soft.safetensors",
        lambda done, of: steps.append((done, of)),
    )  # fmt: skip
    genes, first, second, *texts = teachers.read(
        [
            " ".join(sentence_text(s.words)[0] for s in part)
            for part in (GENES, DISEASES[:2], DISEASES[2:])
        ]
        + list(TEXTS)
    )
    expected = [genes[:4], genes[4:], first[:5], first[5:], second, *texts]
    for found, rows in zip(soft_of(taught), expected, strict=True):
        np.testing.assert_allclose(found, rows, atol=2e-3)
    assert steps[-1] == (6, 6), "windows end with their documents"


def test_what_was_said_once_is_taken_from_the_file(
    load: Callable[..., Teachers], tmp_path: Path
) -> None:
    cache = tmp_path / "soft.safetensors"
    first = soft_of(add_soft_labels(load("both"), material(), CORPORA, TEXTS, cache))
    kept = load_file(cache)["soft"]
    assert np.array_equal(np.concatenate(first), kept)
    save_file({"soft": np.flip(kept, axis=0).copy()}, cache)
    steps: list[tuple[int, int]] = []
    again = soft_of(
        add_soft_labels(
            load("again"), material(), CORPORA, TEXTS, cache, lambda *step: steps.append(step)
        )
    )
    assert np.array_equal(np.concatenate(again), kept[::-1])
    assert not steps, "nobody read anything"


def test_a_file_of_other_data_or_one_that_is_broken_is_refused(
    load: Callable[..., Teachers], tmp_path: Path
) -> None:
    cache = tmp_path / "soft.safetensors"
    add_soft_labels(load("both"), material(), CORPORA, TEXTS, cache)
    fewer = (GENES, DISEASES[:2])
    with pytest.raises(TrainingError, match=r"soft labels of \d+ pre-tokens, expected \d+"):
        add_soft_labels(load("both"), material(fewer), fewer, TEXTS, cache)
    for content in (b"", b"\0" * 40):
        cache.write_bytes(content)
        with pytest.raises(TrainingError, match=r"cannot be read .* --restart"):
            add_soft_labels(load("both"), material(), CORPORA, TEXTS, cache)
    save_file({"hard": np.zeros((2, 2), np.float16)}, cache)
    with pytest.raises(TrainingError, match="cannot be read"):
        add_soft_labels(load("both"), material(), CORPORA, TEXTS, cache)
