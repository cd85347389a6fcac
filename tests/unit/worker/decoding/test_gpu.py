"""Decoding as scans equals decoding step by step."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tasks import TASKS, EntityType, Label, Task
from tests.unit.worker.decoding.reference_decoding import reference_decode
from worker.decoding import gpu as device_decoding
from worker.decoding.cpu import DecodedRun, HeadLayout, decode, head_layout
from worker.decoding.gpu import decode_on_device, decode_tensors, device_layout

ONE = Task("one", (Label("A", EntityType.DISEASE),))
CPU = torch.device("cpu")


def on_device(
    layout: HeadLayout,
    logits: list[npt.NDArray[np.float32]],
    lines: list[npt.NDArray[np.int64]] | None = None,
) -> list[list[DecodedRun]]:
    packed = torch.from_numpy(np.concatenate([np.zeros((0, layout.width), np.float32), *logits]))
    counts = [len(text) for text in logits]
    every_line = None if lines is None else np.concatenate([np.zeros(0, np.int64), *lines])
    found = decode_on_device(device_layout(layout, CPU), packed, counts, every_line).result()
    assert found is not None
    return found


def assert_same(found: list[list[DecodedRun]], expected: list[list[DecodedRun]]) -> None:
    assert len(found) == len(expected)
    for some, others in zip(found, expected, strict=True):
        assert [(r.head, r.label, r.first, r.last) for r in some] == [
            (r.head, r.label, r.first, r.last) for r in others
        ]
        assert [r.score for r in some] == pytest.approx([r.score for r in others], abs=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(0, 40), max_size=6),
    sharpness=st.sampled_from([0.5, 3.0, 12.0, 40.0]),
    names=st.sampled_from([["one"], ["one", "jnlpba"], ["bc5cdr", "one", "jnlpba"]]),
)
def test_the_same_as_on_the_host(
    seed: int, lengths: list[int], sharpness: float, names: list[str]
) -> None:
    layout = head_layout([TASKS.get(name, ONE) for name in names])
    rng = np.random.default_rng(seed)
    logits = [
        (rng.normal(size=(length, layout.width)) * sharpness).astype(np.float32)
        for length in lengths
    ]
    assert_same(on_device(layout, logits), decode(layout, logits))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    texts=st.lists(st.lists(st.integers(0, 20), max_size=4), max_size=5),
    sharpness=st.sampled_from([0.5, 3.0, 12.0]),
)
def test_no_mention_crosses_a_line_break(
    seed: int, texts: list[list[int]], sharpness: float
) -> None:
    layout = head_layout([ONE, TASKS["jnlpba"]])
    rng = np.random.default_rng(seed)
    lines = [np.array(text, dtype=np.int64) for text in texts]
    logits = [
        (rng.normal(size=(int(text.sum()), layout.width)) * sharpness).astype(np.float32)
        for text in lines
    ]
    found = on_device(layout, logits, lines)
    assert_same(found, decode(layout, logits, lines))
    for runs, text in zip(found, lines, strict=True):
        for place in np.cumsum(text).tolist():
            assert not any(run.first < place <= run.last for run in runs)


@pytest.mark.parametrize("reach", [3.0, 34.0])
def test_long_texts_neither_underflow_nor_overflow(reach: float) -> None:
    layout = head_layout([ONE, TASKS["bc5cdr"]])
    rng = np.random.default_rng(4)
    logits = [
        rng.uniform(-reach, reach, size=(length, layout.width)).astype(np.float32)
        for length in (3000, 1, 0, 10_000)
    ]
    assert_same(on_device(layout, logits), reference_decode(layout, logits))


def test_batches_that_are_decoded_in_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = head_layout([ONE, TASKS["bc5cdr"]])
    rng = np.random.default_rng(6)
    logits = [
        rng.normal(size=(length, layout.width)).astype(np.float32)
        for length in (0, 9, 0, 0, 30, 1, 12, 7, 0)
    ]
    whole = on_device(layout, logits)
    monkeypatch.setattr(device_decoding, "_GROUP_PRETOKENS", 16)
    assert_same(on_device(layout, logits), whole)


def test_ties_are_settled_as_on_the_host() -> None:
    layout = head_layout([ONE, TASKS["bc5cdr"]])
    rng = np.random.default_rng(9)
    logits = [
        (rng.integers(-2, 3, size=(length, layout.width)) / 4).astype(np.float32)
        for length in (1, 2, 30, 200)
    ]
    assert_same(on_device(layout, logits), decode(layout, logits))


def test_bf16_logits_decode_like_their_float32_values() -> None:
    layout = head_layout([ONE])
    logits = torch.randn((50, layout.width), generator=torch.Generator().manual_seed(0)).bfloat16()
    tables = device_layout(layout, CPU)
    found = decode_on_device(tables, logits, [20, 30]).result()
    assert found is not None
    assert_same(found, decode(layout, [part.float().numpy() for part in logits.split([20, 30])]))


def test_nothing_waits_for_a_value_on_the_device() -> None:
    layout = head_layout([ONE, TASKS["jnlpba"]])
    nowhere = torch.device("meta")  # tensors without values: reading one raises
    tables = device_layout(layout, nowhere)
    logits = torch.empty((37, layout.width), device=nowhere)
    counts = torch.empty(4, dtype=torch.int64, device=nowhere)
    packed = decode_tensors(tables, logits, counts)
    assert packed.shape == (2, 2, 37)
    assert packed.dtype is torch.int32


def test_scores_that_are_no_numbers_give_nothing() -> None:
    layout = head_layout([TASKS["bc2gm"]])
    logits = torch.zeros(50, layout.width)
    assert decode_on_device(device_layout(layout, CPU), logits, [20, 30]).result() == [[], []]
    logits[3, 1] = torch.nan
    assert decode_on_device(device_layout(layout, CPU), logits, [20, 30]).result() is None
