"""The networks over packed rows give what transformers gives over padded ones."""

import gc
import weakref
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertConfig, DistilBertConfig, ElectraConfig, PretrainedConfig

from tests.support.checkpoints import tiny_config
from tests.unit.worker.text.test_packing import pack, pieces_of
from worker.network.bert import BertFamily, BertNetwork
from worker.network.families import build_model
from worker.network.family import NetworkOptions
from worker.network.model import MultiHeadModel
from worker.network.padded import PaddedNetwork
from worker.text.packing import FREE, PackedBatch, RowGrid
from worker.text.windows import PieceWindow

CPU = torch.device("cpu")
LENGTHS = [90, 61, 61, 60, 33, 7, 5, 5, 4, 1]


def batch_of(lengths: list[int], grid: RowGrid) -> PackedBatch:
    random = np.random.default_rng(0)
    texts = [pieces_of(*random.integers(1, 4, length).tolist()) for length in lengths]
    windows = [PieceWindow(n, 0, len(p) // 2, 0, len(p) // 2) for n, p in enumerate(texts)]
    windows = [w if w.stop else PieceWindow(w.text, 0, 1, 0, 1) for w in windows]
    return pack(windows, texts, grid)


def model_of(config: PretrainedConfig) -> MultiHeadModel:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = build_model(config, 9).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # norms and biases that do something
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@torch.no_grad()
def as_transformers_reads(model: MultiHeadModel, batch: PackedBatch, *, case: bool) -> Tensor:
    """Every window alone, without any padding, in fp32."""
    chosen = np.zeros(len(batch.ids), dtype=np.bool_)
    chosen[batch.select] = True
    out = []
    for start, length in zip(batch.starts.tolist(), batch.lengths.tolist(), strict=True):
        rows = slice(start, start + length)
        out.append(
            model(
                torch.from_numpy(batch.ids[rows]).long()[None],
                torch.ones(1, length, dtype=torch.bool),
                torch.from_numpy(batch.case[rows]).long()[None] if case else None,
                torch.from_numpy(chosen[rows])[None],
            )
        )
    return torch.cat(out)


@pytest.mark.parametrize("case", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.15)], ids=["fp32", "bf16"]
)
def test_bert_over_packed_rows(
    case: bool, activation: str, dtype: torch.dtype, tolerance: float
) -> None:
    config = tiny_config()
    config.hidden_act = activation
    model = model_of(config)
    network = BertNetwork(model.state_dict(), config, letter_case=case, device=CPU, dtype=dtype)
    batch = batch_of(LENGTHS, network.grid)
    with torch.inference_mode():
        found = network(batch)
    assert found.dtype is torch.float32
    expected = as_transformers_reads(model, batch, case=case)
    assert expected.std() > 0.5
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
    rounded = found.bfloat16().float()
    assert not torch.equal(found, rounded), "what tags are chosen by is not rounded"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_windows_without_a_first_piece_have_no_scores(dtype: torch.dtype) -> None:
    config = tiny_config()
    network = BertNetwork(
        model_of(config).state_dict(), config, letter_case=True, device=CPU, dtype=dtype
    )
    batch = pack([PieceWindow(0, 1, 4, 1, 4)], [pieces_of(5)], network.grid)
    assert len(batch.select) == 0
    with torch.inference_mode():
        assert network(batch).shape == (0, 9)


@pytest.mark.parametrize("case", [True, False])
def test_other_encoders_run_as_transformers_has_them(case: bool) -> None:
    config = ElectraConfig(
        **{name: getattr(tiny_config(), name) for name in ("vocab_size", "hidden_size")},
        embedding_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        type_vocab_size=4,
    )
    assert not BertFamily().is_supported(config)
    model = model_of(config)
    batch = batch_of(LENGTHS, FREE)
    expected = as_transformers_reads(model, batch, case=case)
    network = PaddedNetwork(model, NetworkOptions(0, case, CPU, torch.float32))
    with torch.inference_mode():
        found = network(batch)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_what_counts_as_a_plain_bert() -> None:
    assert BertFamily().is_supported(BertConfig())
    assert BertFamily().is_supported(BertConfig(hidden_act="gelu_new"))
    assert not BertFamily().is_supported(BertConfig(hidden_act="relu"))
    assert not BertFamily().is_supported(BertConfig(is_decoder=True))
    assert not BertFamily().is_supported(DistilBertConfig())


def test_the_names_and_shapes_of_a_berts_weights() -> None:
    model = model_of(tiny_config())
    found = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert found == BertFamily().weight_shapes(tiny_config(), 9)


def test_the_compiled_path_of_a_gpu_is_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that a GPU compiles, with its kernel replaced by the same attention on a CPU."""
    from worker.network import bert, linear
    from worker.network.attention import Bounds, plan_bounds

    @torch.library.custom_op("pubner_tests::varlen", mutates_args=())
    def varlen(qkv: Tensor, heads: int, rows: Tensor) -> Tensor:
        out = qkv.new_zeros(len(qkv), qkv.shape[1] // 3)
        bounds = rows.tolist()
        for a, b in pairwise(bounds):
            q, k, v = qkv[a:b].view(b - a, 3, heads, -1).permute(1, 2, 0, 3)
            scores = torch.softmax(q @ k.transpose(1, 2), dim=-1)
            out[a:b] = (scores @ v).transpose(0, 1).reshape(b - a, -1)
        return out

    @varlen.register_fake
    def _(qkv: Tensor, heads: int, rows: Tensor) -> Tensor:
        return qkv.new_empty(qkv.shape[0], qkv.shape[1] // 3)

    def attention(qkv: Tensor, heads: int, bounds: Bounds) -> Tensor:
        found: Tensor = varlen(qkv, heads, bounds.rows)
        return found

    monkeypatch.setattr(bert, "varlen_attention", attention)
    monkeypatch.setattr(linear, "_prepack", lambda weight: None)
    config = tiny_config()
    model = model_of(config)
    network = BertNetwork(
        model.state_dict(), config, letter_case=True, device=CPU, dtype=torch.float32
    )
    compiled = torch.compile(network.forward, fullgraph=True, dynamic=True, backend="aot_eager")
    for lengths in (LENGTHS, [50, 20, 3], [8] * 30):
        batch = batch_of(lengths, RowGrid(64))
        ids, positions, case, select = (
            torch.from_numpy(x) for x in (batch.ids, batch.positions, batch.case, batch.select)
        )
        with torch.inference_mode():
            found = compiled(ids, positions, case, select, plan_bounds(batch, CPU, 128))
        expected = as_transformers_reads(model, batch, case=True)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def bert() -> tuple[BertNetwork, PackedBatch, Tensor]:
    config = tiny_config()
    model = model_of(config)
    network = BertNetwork(
        model.state_dict(), config, letter_case=True, device=CPU, dtype=torch.float32
    )
    batch = batch_of(LENGTHS, network.grid)
    return network, batch, as_transformers_reads(model, batch, case=True)


@torch.inference_mode()
def test_without_a_compiler_the_same_code_runs_as_it_stands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network, batch, expected = bert()

    def no_compiler(*_: object) -> Tensor:
        raise RuntimeError("cannot find a C compiler\nand much more")

    network._compiled = no_compiler
    for _ in range(2):
        torch.testing.assert_close(network(batch), expected, atol=1e-4, rtol=1e-4)
    assert [record.getMessage() for record in caplog.records] == [
        "the encoder is not compiled: cannot find a C compiler"
    ]


@torch.inference_mode()
@pytest.mark.parametrize(
    ("error", "calls"),
    [(torch.OutOfMemoryError("CUDA out of memory"), 1), (RuntimeError("an illegal access"), 2)],
    ids=["memory", "a failure after a success"],
)
def test_what_fails_for_another_reason_stays_compiled(error: RuntimeError, calls: int) -> None:
    network, batch, _ = bert()
    done = 0

    def compiled(*given: Any) -> Tensor:
        nonlocal done
        done += 1
        if done == calls:
            raise error
        return BertNetwork.forward(*given)

    network._compiled = compiled
    for _ in range(calls - 1):
        network(batch)
    with pytest.raises(RuntimeError, match=str(error)):
        network(batch)
    network(batch)
    assert done == calls + 1


def test_a_network_is_freed_without_the_collector() -> None:
    """The pipeline keeps the collector from what is there after loading."""
    network, _, _ = bert()
    gone = weakref.ref(network)
    gc.disable()
    try:
        del network
        assert gone() is None
    finally:
        gc.enable()
