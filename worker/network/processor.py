"""Detection of the processor's preferred matrix precision, fp32 or bf16."""

from collections.abc import Mapping
from pathlib import Path

import torch


def prefers_bf16(capabilities: Mapping[str, object], vendor: str) -> bool:
    """Whether a processor multiplies bf16 matrices faster than fp32 ones.

    With AMX it is several times faster. With only AVX-512's bf16 instruction it depends on the
    vendor: twice as fast on AMD's Zen 4, half as fast on Intel's Sapphire Rapids, whose VDPBF16PS
    issues only every second cycle (both measured with oneDNN's products of 1,536 × 384 × 1,536).

    :param capabilities: the result of `torch.cpu.get_capabilities`
    :param vendor: the processor's vendor id, such as `AuthenticAMD`
    """
    if capabilities.get("amx_bf16"):
        return True
    return bool(capabilities.get("avx512_bf16")) and vendor != "GenuineIntel"


def processor_prefers_bf16() -> bool:
    """Whether this machine's processor multiplies bf16 matrices faster than fp32 ones."""
    return prefers_bf16(torch.cpu.get_capabilities(), processor_vendor())


def processor_vendor(path: Path = Path("/proc/cpuinfo")) -> str:
    """Return the vendor id of this machine's processor; empty if Linux does not report it."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        return ""
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("vendor_id")), "")
