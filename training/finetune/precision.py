"""The choice of the numeric precision of training steps."""

import torch


def trains_in_bf16(device: torch.device) -> bool:
    """Whether bf16 mixed precision makes training on `device` faster.

    On a CPU it does only with AMX: AVX-512's bf16 products are half as fast as fp32 ones, and the
    casts and the backward pass of fused attention cost more on top.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))
