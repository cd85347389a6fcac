"""Which arithmetic this machine's processor is fast at."""

from collections.abc import Mapping
from pathlib import Path

import torch


def prefers_bf16(capabilities: Mapping[str, object], vendor: str) -> bool:
    """Whether a processor multiplies bf16 matrices faster than fp32 ones.

    With AMX it does, many times. With AVX-512's bf16 instruction alone it depends on who made it:
    twice as fast on AMD's Zen 4, half as fast on Intel's Sapphire Rapids, whose VDPBF16PS begins
    every second cycle only (both measured with oneDNN's products of 1,536 × 384 × 1,536).

    :param capabilities: what `torch.cpu.get_capabilities` says
    :param vendor: what the processor calls its maker, as `AuthenticAMD`
    """
    if capabilities.get("amx_bf16"):
        return True
    return bool(capabilities.get("avx512_bf16")) and vendor != "GenuineIntel"


def processor_prefers_bf16() -> bool:
    """Whether this machine's processor does."""
    return prefers_bf16(torch.cpu.get_capabilities(), processor_vendor())


def processor_vendor(place: Path = Path("/proc/cpuinfo")) -> str:
    """Return what this machine's processor calls its maker; empty where Linux does not tell."""
    try:
        lines = place.read_text("ascii", "replace").splitlines()
    except OSError:
        return ""
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("vendor_id")), "")
