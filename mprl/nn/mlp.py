"""Multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}


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
