"""Multi-layer perceptrons.

Small networks on a CPU spend most of their time between torch's operations, not in them, and half of the rest in its tanh, which takes
ten times as long as NumPy's. Without gradients `MLP` therefore goes a shorter way there. Where gradients are wanted, `ExplicitMLP` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from mprl.nn import products
from mprl.nn.explicit import WRITTEN_OUT

ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}


class MLP(nn.Sequential):
    """Linear layers with one kind of activation between them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self._kind = type(layers[1]) if len(layers) > 1 else nn.Tanh
        self._flat = [value for layer in layers[::2] for value in layer.parameters()]

    def __getitem__(self, index: Any) -> Any:
        return nn.Sequential(*list(self)[index]) if isinstance(index, slice) else super().__getitem__(index)

    def forward(self, inputs: Tensor) -> Tensor:
        if not self._is_plain(inputs):
            return super().forward(inputs)
        values = inputs if inputs.ndim == 2 else inputs.reshape(-1, inputs.shape[-1])
        activate, last = WRITTEN_OUT[self._kind].forward, len(self._flat) - 2
        for at in range(0, last, 2):
            values = activate(products.linear(values, *self._flat[at : at + 2]))
        values = products.linear(values, *self._flat[last:])
        return values if inputs.ndim == 2 else values.view(*inputs.shape[:-1], values.shape[-1])

    def _is_plain(self, inputs: Tensor) -> bool:
        """Whether all that is asked for is the numbers."""
        return (
            not torch.is_grad_enabled() and inputs.device.type == "cpu" and inputs.dtype == torch.float32
            and not torch.compiler.is_compiling() and not torch.jit.is_tracing() and not torch.is_autocast_enabled("cpu")
        )  # fmt: skip


def mlp(inputs: int, hidden: Sequence[int], outputs: int, activation: str = "elu", output_gain: float = 1.0) -> MLP:
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
    return MLP(*layers, _linear(inputs, outputs, output_gain))


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
