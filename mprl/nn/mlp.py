"""Multi-layer perceptrons.

Small networks on a CPU spend most of their time between torch's operations, not in them, and half of the rest in its tanh, which takes
ten times as long as NumPy's. `MLP` therefore has a path of its own there: the whole network as one operation with its gradient written
out, a third of the time. The numbers are those of the ordinary path, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}


def _tanh_(values: Tensor) -> Tensor:
    """In place, of a tensor on the CPU."""
    array = values.numpy()
    np.tanh(array, out=array)
    return values


# Activations in place, and the gradient through them as a function of what they gave.
_IN_PLACE: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    nn.Tanh: (_tanh_, torch.ops.aten.tanh_backward),
    nn.ReLU: (torch.relu_, lambda gradient, output: torch.ops.aten.threshold_backward(gradient, output, 0.0)),
    nn.ELU: (nn.functional.elu_, lambda gradient, output: torch.ops.aten.elu_backward(gradient, 1.0, 1.0, 1.0, True, output)),
}


class MLP(nn.Sequential):
    """Linear layers with one kind of activation between them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self._kind = type(layers[1]) if len(layers) > 1 else nn.Tanh
        self._short = self._kind in _IN_PLACE and len(layers) % 2 == 1
        self._flat = [value for layer in layers[::2] for value in layer.parameters()] if self._short else []

    def __getitem__(self, index: Any) -> Any:
        return nn.Sequential(*list(self)[index]) if isinstance(index, slice) else super().__getitem__(index)

    def forward(self, inputs: Tensor) -> Tensor:
        if (
            not self._short or inputs.device.type != "cpu" or inputs.dtype != torch.float32
            or torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.is_autocast_enabled("cpu")
        ):  # fmt: skip
            return super().forward(inputs)
        rows = inputs if inputs.ndim == 2 else inputs.reshape(-1, inputs.shape[-1])
        if not torch.is_grad_enabled():
            output = _layers(rows, self._kind, self._flat)[-1]
        elif (first := self._flat[0]).grad is not None and first.requires_grad:
            output = _Whole.apply(rows, self._kind, self._flat, first)
        else:
            output = _Whole.apply(rows, self._kind, None, *self._flat)
        return output if inputs.ndim == 2 else output.view(*inputs.shape[:-1], output.shape[-1])


def _layers(inputs: Tensor, kind: type[nn.Module], parameters: Sequence[Tensor]) -> list[Tensor]:
    """What goes into each layer, and what comes out of the last."""
    values = [inputs]
    for at in range(0, len(parameters) - 2, 2):
        values.append(_IN_PLACE[kind][0](torch.addmm(parameters[at + 1], values[-1], parameters[at].t())))
    values.append(torch.addmm(parameters[-1], values[-1], parameters[-2].t()))
    return values


class _Whole(torch.autograd.Function):
    """The network. `owners`: parameters whose gradients have their place already and are added to there; else autograd does it."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, kind: type[nn.Module], owners: list[Tensor] | None, *parameters: Tensor) -> Tensor:
        *values, output = _layers(inputs, kind, owners or parameters)
        ctx.kind, ctx.owners, ctx.depth = kind, owners, len(values)
        ctx.values, ctx.weights = values, (owners or parameters)[::2]  # not save_for_backward, which takes 10 µs for its checks
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, weights = ctx.values, ctx.weights
        found: list[Tensor | None] = []
        for layer in range(ctx.depth - 1, -1, -1):
            if ctx.owners is None:
                found += [gradient.sum(0), gradient.t() @ values[layer]]
            else:
                ctx.owners[2 * layer + 1].grad.add_(gradient.sum(0))
                ctx.owners[2 * layer].grad.addmm_(gradient.t(), values[layer])
            if layer:
                gradient = _IN_PLACE[ctx.kind][1](gradient @ weights[layer], values[layer])
        of_inputs = gradient @ weights[0] if ctx.needs_input_grad[0] else None
        return of_inputs, None, None, *(reversed(found) if ctx.owners is None else (None,))


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
