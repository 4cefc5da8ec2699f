"""Multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class _NumpyTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        output = torch.from_numpy(np.tanh(inputs.detach().numpy()))
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return torch.ops.aten.tanh_backward(gradient, *ctx.saved_tensors)


class Tanh(nn.Module):
    """tanh. On a CPU by NumPy where there is much of it: torch's own takes ten times as long (16 384 numbers: 38 µs, 4 µs)."""

    def forward(self, inputs: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or inputs.numel() < 2048 or inputs.device.type != "cpu" or inputs.dtype != torch.float32:
            return torch.tanh(inputs)
        return _NumpyTanh.apply(inputs)


ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": Tanh, "silu": nn.SiLU}


def mlp(inputs: int, hidden: Sequence[int], outputs: int, activation: str = "elu", output_gain: float = 1.0) -> nn.Sequential:
    """Linear layers with an activation between them, orthogonal weights, zero biases.

    Args:
        inputs, outputs: sizes.
        hidden: sizes of the hidden layers.
        activation: one of `ACTIVATIONS`.
        output_gain: gain of the last layer; small for a policy, so that it starts near its mean (Andrychowicz et al. 2021).
    """
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [_linear(inputs, size, sqrt(2)), ACTIVATIONS[activation]()]
        inputs = size
    return nn.Sequential(*layers, _linear(inputs, outputs, output_gain))


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
