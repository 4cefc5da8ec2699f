"""Multi-layer perceptrons have the layers and the start that they promise."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from mprl.nn.mlp import ACTIVATIONS, mlp


def linears(net: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in net if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize("hidden", [(), (8,), (16, 4, 32)])
def test_sizes_are_those_asked_for(hidden):
    net = mlp(5, hidden, 3)
    sizes = [5, *hidden, 3]
    assert [(layer.in_features, layer.out_features) for layer in linears(net)] == list(pairwise(sizes))
    assert net(torch.zeros(7, 2, 5)).shape == (7, 2, 3)
    assert isinstance(net[-1], nn.Linear)  # no activation after the last


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_stands_between_the_layers(name):
    assert [type(layer) for layer in mlp(2, (3, 3), 1, name)][1::2] == [ACTIVATIONS[name]] * 2


def test_weights_start_orthogonal_with_their_gain_and_biases_zero():
    first, second, last = linears(mlp(64, (32, 48), 6, output_gain=0.01))
    # the shorter side of each matrix is orthogonal, and as long as its gain
    torch.testing.assert_close(first.weight @ first.weight.T, 2 * torch.eye(32), atol=1e-5, rtol=0)
    torch.testing.assert_close(second.weight.T @ second.weight, 2 * torch.eye(32), atol=1e-5, rtol=0)
    torch.testing.assert_close(last.weight @ last.weight.T, 1e-4 * torch.eye(6), atol=1e-9, rtol=0)
    assert not any(layer.bias.any() for layer in (first, second, last))


def test_a_policy_s_small_gain_starts_near_its_mean():
    assert mlp(20, (64, 64), 4, output_gain=0.01)(torch.randn(100, 20)).abs().max() < 0.2


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (700, 3)])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 16)])
def test_the_short_way_gives_the_values_and_gradients_of_torch(activation, shape, hidden):
    torch.manual_seed(0)
    network = mlp(3, hidden, 2, activation)
    plain = nn.Sequential(*network)
    found = []
    for net in (network, plain):
        inputs = torch.linspace(-2, 2, math.prod(shape)).view(shape).requires_grad_()
        output = net(inputs)
        output.square().sum().backward()
        found.append((output, inputs.grad, *(parameter.grad.clone() for parameter in net.parameters())))
        net.zero_grad()
        with torch.no_grad():
            torch.testing.assert_close(net(inputs), output)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_weights_that_are_not_trained_still_pass_the_gradient_on():
    network = mlp(3, (8,), 1, "relu")
    expected = torch.autograd.grad(nn.Sequential(*network)(inputs := torch.randn(4, 3, requires_grad=True)).sum(), inputs)
    network.requires_grad_(False)
    torch.testing.assert_close(torch.autograd.grad(network(inputs).sum(), inputs), expected)
