"""Which precision a processor is given."""

from pathlib import Path

import pytest
import torch

from worker.network.encoder import choose_precision
from worker.network.processor import prefers_bf16, processor_prefers_bf16, processor_vendor


@pytest.mark.parametrize(
    ("capabilities", "vendor", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "GenuineIntel", True),
        ({"amx_bf16": False, "avx512_bf16": True}, "GenuineIntel", False),
        ({"avx512_bf16": True}, "AuthenticAMD", True),
        ({"avx512_bf16": False}, "AuthenticAMD", False),
        ({}, "", False),
    ],
)
def test_what_is_faster(capabilities: dict[str, object], vendor: str, expected: bool) -> None:
    assert prefers_bf16(capabilities, vendor) is expected


def test_auto_takes_it() -> None:
    expected = torch.bfloat16 if processor_prefers_bf16() else torch.float32
    assert choose_precision("auto", torch.device("cpu")) is expected


def test_the_maker_is_read(tmp_path: Path) -> None:
    place = tmp_path / "cpuinfo"
    place.write_text("processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\n")
    assert processor_vendor(place) == "AuthenticAMD"
    place.write_text("Processor\t: ARMv8\n")
    assert processor_vendor(place) == ""
    assert processor_vendor(tmp_path / "none") == ""
