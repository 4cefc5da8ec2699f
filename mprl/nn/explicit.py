"""A multi-layer perceptron's output and gradients, written out.

What autograd does for an `mlp`, without its bookkeeping: for minibatches of some dozens that costs half as much again as the
arithmetic. For agents that take one small gradient step after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mprl.nn.products import linear, product, product_of_columns

_aten = torch.ops.aten
_LEAST = 2**20  # multiplications from which bfloat16 pays


class Activation(NamedTuple):
    """An activation and its gradient."""

    forward: Callable[[Tensor], Tensor]  # may write over its argument
    backward: Callable[[Tensor, Tensor], Tensor]  # the gradient in front of it, of the one behind it and what is kept
    keeps_output: bool = True  # or what was in front of it


def _tanh(inputs: Tensor) -> Tensor:
    if inputs.is_cuda:
        return inputs.tanh_()
    np.tanh(inputs.numpy(), out=inputs.numpy())  # ten times as fast as torch's
    return inputs


WRITTEN_OUT: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(torch.relu_, lambda gradient, output: _aten.threshold_backward(gradient, output, 0)),
    nn.Tanh: Activation(_tanh, _aten.tanh_backward),
    nn.ELU: Activation(_aten.elu_, lambda gradient, output: _aten.elu_backward(gradient, 1.0, 1.0, 1.0, True, output)),
    nn.SiLU: Activation(nn.functional.silu, _aten.silu_backward, keeps_output=False),
}


class _Layer:
    """A linear layer and the activation behind it."""

    def __init__(self, linear: nn.Linear, activation: nn.Module | None, bfloat16: bool) -> None:
        self.weight, self.bias = linear.weight.detach(), linear.bias.detach()
        self.weight_gradient, self.bias_gradient = linear.weight.grad, linear.bias.grad
        self.activation = None if activation is None else WRITTEN_OUT[type(activation)]
        self.bfloat16 = bfloat16
        self.inputs = self.kept = self.used = self.bias

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs, self.used = inputs, self.weight
        if self.bfloat16 and inputs.numel() * self.bias.shape[0] >= _LEAST:
            self.inputs, self.used = inputs.bfloat16(), self.weight.bfloat16()
            output = torch.mm(self.inputs, self.used.t()).float().add_(self.bias)
        else:
            output = linear(inputs, self.weight, self.bias)
        self.kept = output
        if self.activation is not None:
            output = self.activation.forward(output)
            if self.activation.keeps_output:
                self.kept = output
        return output

    def backward(self, gradient: Tensor, weights: bool, inputs: bool) -> Tensor:
        if self.activation is not None:
            gradient = self.activation.backward(gradient, self.kept)
        behind = gradient.to(self.used.dtype)  # bfloat16 where the output was worked out in it
        if weights:
            assert self.weight_gradient is not None and self.bias_gradient is not None
            torch.sum(gradient, 0, out=self.bias_gradient)
            self.weight_gradient.copy_(product_of_columns(behind, self.inputs))
        return product(behind, self.used).float() if inputs else gradient


class ExplicitMLP:
    """Runs a network and its gradient without autograd; the weights stay the network's.

    Make it when the network has its device and its parameters have gradients (`FlatParameters`): they are written there, not added.

    Args:
        network: linear layers, behind each at most one activation of ReLU, tanh, ELU or SiLU (`mlp`).
        bfloat16: compute all layers but the last in bfloat16 (see `mprl.nn.precision`).
    """

    def __init__(self, network: nn.Sequential, bfloat16: bool = False) -> None:
        linear_layers = [(at, module) for at, module in enumerate(network) if isinstance(module, nn.Linear)]
        self._layers = [_Layer(layer, _behind(network, at), bfloat16 and at + 1 < len(network)) for at, layer in linear_layers]

    def __call__(self, inputs: Tensor) -> Tensor:
        """The output (N, m) for inputs (N, n); `backward` goes back from the last call."""
        for layer in self._layers:
            inputs = layer.forward(inputs)
        return inputs

    def backward(self, gradient: Tensor, weights: bool = True, inputs: bool = False) -> Tensor:
        """Gradients of a loss, given its gradient for the output (N, m).

        Args:
            gradient: for the output.
            weights: write those for weights and biases into their `grad`.
            inputs: also work out the one for the inputs.

        Returns:
            The gradient for the inputs, (N, n), if wanted.
        """
        for layer in reversed(self._layers):
            gradient = layer.backward(gradient, weights, inputs or layer is not self._layers[0])
        return gradient


def _behind(network: nn.Sequential, at: int) -> nn.Module | None:
    """The activation behind a layer."""
    behind = network[at + 1] if at + 1 < len(network) else None
    return None if isinstance(behind, nn.Linear) else behind
