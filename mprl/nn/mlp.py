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

from mprl.nn import products

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
        if not self._goes(inputs):
            return super().forward(inputs)
        rows = inputs if inputs.ndim == 2 else inputs.reshape(-1, inputs.shape[-1])
        if torch.is_grad_enabled():
            output = _Whole.apply(rows, self._kind, *self._flat)
        else:
            output = _layers(rows, self._kind, self._flat)[-1]
        return output if inputs.ndim == 2 else output.view(*inputs.shape[:-1], output.shape[-1])

    def _goes(self, inputs: Tensor) -> bool:
        """Whether the short way can be gone."""
        return (
            self._short and inputs.device.type == "cpu" and inputs.dtype == torch.float32 and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing() and not torch.is_autocast_enabled("cpu")
        )  # fmt: skip

    def with_backward(self, inputs: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """The output for inputs (N, n), outside of autograd, and a function that takes the loss's slope at it, (N, m).

        The function adds what follows to the gradients of the parameters, which must have their places (`FlatParameters`), as
        `backward` would. A gradient step takes two thirds of the time.
        """
        if not self._goes(inputs) or inputs.requires_grad:
            with torch.enable_grad():
                output = self(inputs)
            return output.detach(), output.backward
        with torch.no_grad():
            *values, output = _layers(inputs, self._kind, self._flat)

        @torch.no_grad()
        def backward(gradient: Tensor) -> None:
            for layer in range(len(values) - 1, -1, -1):
                weight, bias = self._flat[2 * layer : 2 * layer + 2]
                bias.grad.add_(gradient.sum(0))  # type: ignore[union-attr]
                weight.grad.add_(products.product_of_columns(gradient, values[layer]))  # type: ignore[union-attr]
                if layer:
                    gradient = _IN_PLACE[self._kind][1](products.product(gradient, weight), values[layer])

        return output, backward


def _layers(inputs: Tensor, kind: type[nn.Module], parameters: Sequence[Tensor]) -> list[Tensor]:
    """What goes into each layer, and what comes out of the last."""
    values = [inputs]
    for at in range(0, len(parameters) - 2, 2):
        values.append(_IN_PLACE[kind][0](products.linear(values[-1], *parameters[at : at + 2])))
    values.append(products.linear(values[-1], *parameters[-2:]))
    return values


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, kind: type[nn.Module], *parameters: Tensor) -> Tensor:
        *values, output = _layers(inputs, kind, parameters)
        ctx.kind, ctx.values, ctx.weights = kind, values, parameters[::2]  # not save_for_backward, which takes 10 µs for its checks
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        found: list[Tensor] = []
        for layer in range(len(ctx.weights) - 1, -1, -1):
            found += [gradient.sum(0), products.product_of_columns(gradient, ctx.values[layer])]
            if layer:
                gradient = _IN_PLACE[ctx.kind][1](products.product(gradient, ctx.weights[layer]), ctx.values[layer])
        return gradient @ ctx.weights[0] if ctx.needs_input_grad[0] else None, None, *reversed(found)


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
