"""The tagger: every head in one pass, nothing cut off, offsets into the text as given."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ElectraConfig

from schemas.errors import CheckpointError, RecordError, SettingsError
from schemas.manifest import CheckpointManifest
from schemas.records import Mention
from tests.support.checkpoints import sign_again, tiny_checkpoint, tiny_config
from worker import tagger as tagger_module
from worker.checkpoint.folder import WEIGHTS, read_manifest, set_id
from worker.decoding.cpu import head_layout
from worker.decoding.gpu import device_layout
from worker.network.encoder import choose_device, choose_precision, load_encoder
from worker.tagger import BatchLimits, CheckpointTagger, Tagger, load_tagger
from worker.text.packing import PackedBatch

WORDS = ["BRCA1", "IL-2", "mutations", "cause", "breast", "cancer", "with", "HeLa", "β-catenin"]


def text(words: int, seed: int = 0) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words).tolist())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tagger(checkpoint: Path) -> Tagger:
    return load_tagger([checkpoint], device="cpu", threads=1, precision="fp32")


def placed(mentions: tuple[Mention, ...]) -> list[tuple[str, str, int, int]]:
    return [(m.task, m.label, m.start, m.end) for m in mentions]


def test_mentions_stand_on_words_of_the_text(tagger: Tagger) -> None:
    given = text(60) + "\n" + text(40, 1)
    (annotation,) = tagger.annotate([given])
    assert annotation.mentions
    assert {m.task for m in annotation.mentions} == {"ncbi-disease", "bc2gm"}
    for mention in annotation.mentions:
        found = given[mention.start : mention.end]
        assert found.strip() == found != ""
        assert 0.0 <= mention.score <= 1.0
        assert mention.checkpoint_id == tagger.id


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\x85", "\u2028"])
@pytest.mark.parametrize("on_device", [False, True])
def test_no_mention_holds_a_line_break(checkpoint: Path, on_device: bool, line_break: str) -> None:
    encoder = load_encoder(checkpoint, device="cpu", threads=1, precision="fp32")
    single = CheckpointTagger(encoder, BatchLimits(overlap_pieces=32))
    if on_device:
        single._tables = device_layout(head_layout(encoder.tasks), encoder.device)
    words = text(900).split()
    joined = [m for a in single.read([" ".join(words)]) for m in a.mentions]
    given = line_break.join(words)
    mentions = [m for a in single.read([given]) for m in a.mentions]
    assert any(" " in " ".join(words)[m.start : m.end] for m in joined), "some would cross"
    assert mentions
    assert not [m for m in mentions if len(given[m.start : m.end].splitlines()) > 1]


def test_a_bert_is_loaded_without_the_models_of_transformers(checkpoint: Path) -> None:
    """They take seconds of every start."""
    code = (
        "import sys; from pathlib import Path; from worker.tagger import load_tagger; "
        f"load_tagger([Path({str(checkpoint)!r})], device='cpu').annotate(['BRCA1']); "
        "sys.exit('transformers.modeling_utils' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_encoder_that_is_no_bert_annotates_too(tmp_path: Path) -> None:
    config = ElectraConfig(
        **{name: getattr(tiny_config(), name) for name in ("vocab_size", "hidden_size")},
        embedding_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        type_vocab_size=4,
    )
    folder = tiny_checkpoint(tmp_path, config=config)
    electra = load_tagger([folder], device="cpu", threads=1, precision="fp32")
    texts = [text(n, n) for n in (3, 250, 40)]
    together = [placed(a.mentions) for a in electra.annotate(texts)]
    assert all(together)
    assert together == [placed(electra.annotate([t])[0].mentions) for t in texts]
    shapes: list[int] = []
    model: Any = electra._models[0]
    network = model.encoder._network
    network._model.register_forward_pre_hook(lambda _, given: shapes.append(given[0].numel()))
    electra.annotate([text(120), *[text(2, n) for n in range(800)]])
    assert max(shapes) <= 2048, "padding to the longest counts too"
    weights = load_file(folder / WEIGHTS)
    del weights["encoder.encoder.layer.1.output.dense.bias"]
    save_file(weights, folder / WEIGHTS)
    sign_again(folder)
    with pytest.raises(CheckpointError, match=r"weights do not fit config\.json"):
        load_tagger([folder])


def test_texts_without_word_pieces_have_no_mentions(tagger: Tagger) -> None:
    assert [a.mentions for a in tagger.annotate(["", " \n\t", "\u0000"])] == [(), (), ()]
    assert tagger.annotate([]) == []


def test_order_and_company_do_not_matter_in_fp32(tagger: Tagger) -> None:
    texts = [text(n, n) for n in (3, 250, 40, 1, 90)]
    together = tagger.annotate(texts)
    assert [placed(a.mentions) for a in together] == [
        placed(tagger.annotate([t])[0].mentions) for t in texts
    ]
    assert tagger.annotate(texts) == together


def test_a_text_longer_than_the_encoder_reads_is_read_to_its_end(checkpoint: Path) -> None:
    encoder = load_encoder(checkpoint, device="cpu", threads=1, precision="fp32")
    tagger = CheckpointTagger(encoder, BatchLimits(max_batch_pieces=1024, overlap_pieces=32))
    given = text(900)
    (pieces,) = encoder.tokeniser.encode([given])
    assert len(pieces) > 5 * encoder.max_pieces
    (found,) = tagger.read([given])
    mentions = found.mentions
    assert found.word_pieces == len(pieces)
    assert min(m.start for m in mentions) < 200
    assert max(m.end for m in mentions) > len(given) - 200
    for head in ("ncbi-disease", "bc2gm"):
        spans = [(m.start, m.end) for m in mentions if m.task == head]
        assert spans == sorted(spans)
        assert all(a[1] <= b[0] for a, b in pairwise(spans)), "seams resolved"


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_threads_compute_whoever_asks(
    checkpoint: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    encoder = load_encoder(checkpoint, device="cpu", threads=threads, precision="fp32")
    assert torch.get_num_threads() == before
    score, seen = encoder._score, set()

    def noting(batch: PackedBatch) -> torch.Tensor:
        seen.add((threading.get_ident(), torch.get_num_threads()))
        return score(batch)

    monkeypatch.setattr(encoder, "_score", noting)
    single = CheckpointTagger(encoder, BatchLimits(max_batch_pieces=256))
    with ThreadPoolExecutor(4) as several:
        found = list(several.map(single.read, [[text(90, n)] * 3 for n in range(8)]))
    assert 1 <= len(seen) <= threads
    assert {used for _, used in seen} == {1}
    assert found == [single.read([text(90, n)] * 3) for n in range(8)]


def test_the_batch_budget_bounds_what_the_encoder_is_given(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(checkpoint, device="cpu", threads=1, precision="fp32")
    sizes: list[int] = []
    score = encoder._score

    def noting(batch: PackedBatch) -> torch.Tensor:
        sizes.append(len(batch.ids))
        return score(batch)

    monkeypatch.setattr(encoder, "_score", noting)
    CheckpointTagger(encoder, BatchLimits(max_batch_pieces=256)).read(
        [text(n, n) for n in range(1, 60)]
    )
    assert len(sizes) > 10
    assert max(sizes) <= 256


@pytest.mark.parametrize("part", [1, 4, 100])
def test_scores_decoded_on_the_device_give_the_same_mentions(
    checkpoint: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does after its encoder, here with a CPU for the device."""
    monkeypatch.setattr(tagger_module, "_GPU_PART", part)
    encoder = load_encoder(checkpoint, device="cpu", threads=1, precision="fp32")
    on_host = CheckpointTagger(encoder, BatchLimits())
    on_device = CheckpointTagger(encoder, BatchLimits())
    on_device._tables = device_layout(head_layout(encoder.tasks), encoder.device)
    texts = [text(n, n) for n in (3, 250, 40, 0, 1, 90)]
    pairs = list(zip(on_host.read(texts), on_device.read(texts), strict=True))
    assert on_device.read([]) == []
    assert sum(len(one.mentions) for one, _ in pairs) > 20
    for one, other in pairs:
        assert one.word_pieces == other.word_pieces
        assert one.unknown_pieces == other.unknown_pieces
        assert placed(one.mentions) == placed(other.mentions)
        scores = [m.score for m in other.mentions]
        assert [m.score for m in one.mentions] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("on_device", [False, True])
def test_scores_that_are_no_numbers_are_the_records_fault(
    checkpoint: Path, on_device: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(checkpoint, device="cpu", threads=1, precision="fp32")
    single = CheckpointTagger(encoder, BatchLimits())
    if on_device:
        single._tables = device_layout(head_layout(encoder.tasks), encoder.device)
    score = encoder._score

    def spoiled(batch: PackedBatch) -> torch.Tensor:
        found = score(batch).clone()
        found[3, 2] = torch.nan
        return found

    monkeypatch.setattr(encoder, "_score", spoiled)
    with pytest.raises(RecordError, match="not finite"):
        single.read([text(30), text(20, 1)])


def test_a_set_of_checkpoints_annotates_with_every_head(checkpoint: Path, tmp_path: Path) -> None:
    other = tiny_checkpoint(tmp_path / "other", tasks=("jnlpba",), seed=4)
    single = [load_tagger([p], device="cpu", precision="fp32") for p in (checkpoint, other)]
    both = load_tagger([checkpoint, other], device="cpu", precision="fp32")
    assert both.id == set_id([other_tagger.id for other_tagger in reversed(single)])
    assert both.id not in {t.id for t in single}
    given = [text(50)]
    expected = [m for t in single for m in placed(t.annotate(given)[0].mentions)]
    assert placed(both.annotate(given)[0].mentions) == expected
    assert {m.checkpoint_id for m in both.annotate(given)[0].mentions} == {t.id for t in single}


def test_two_checkpoints_with_the_same_head_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    other = tiny_checkpoint(tmp_path / "other", tasks=("bc2gm",), seed=4)
    with pytest.raises(CheckpointError, match="the head 'bc2gm'"):
        load_tagger([checkpoint, other])
    with pytest.raises(CheckpointError, match="at least one"):
        load_tagger([])


def test_a_lone_surrogate_is_the_records_fault(tagger: Tagger) -> None:
    with pytest.raises(RecordError, match="surrogate"):
        tagger.annotate(["ok", "\udfff"])


def test_bf16_finds_nearly_the_same(checkpoint: Path, tagger: Tagger) -> None:
    half = load_tagger([checkpoint], device="cpu", threads=1, precision="bf16")
    given = [text(100, n) for n in range(5)]
    left = {m for a in tagger.annotate(given) for m in placed(a.mentions)}
    right = {m for a in half.annotate(given) for m in placed(a.mentions)}
    assert len(left & right) > 0.7 * len(left | right)


def test_devices_and_precisions_that_are_not_there_are_refused() -> None:
    with pytest.raises(SettingsError, match="no device 'abacus'"):
        choose_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="no usable GPU"):
            choose_device("cuda")
        assert choose_device("auto").type == "cpu"
    with pytest.raises(SettingsError, match="no precision 'int3'"):
        choose_precision("int3", torch.device("cpu"))
    assert choose_precision("fp32", torch.device("cpu")) == torch.float32


def test_a_manifest_is_read_once_where_a_checkpoint_is_loaded(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path, *, verify: bool = True) -> CheckpointManifest:
        read.append(path)
        return read_manifest(path, verify=verify)

    for module in ("worker.tagger", "worker.network.encoder"):
        monkeypatch.setattr(f"{module}.read_manifest", counted)
    load_tagger([checkpoint], device="cpu", threads=1)
    assert read == [checkpoint]
