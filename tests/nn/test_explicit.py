"""The gradients that are written out are autograd's, and the lean optimiser's steps are Adam's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mprl.nn import products
from mprl.nn.explicit import ExplicitMLP
from mprl.nn.flat import FlatAdam, FlatParameters
from mprl.nn.mlp import ACTIVATIONS, mlp


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (7,), (256, 256)])
@pytest.mark.parametrize("rows", [1, 64])
def test_output_and_gradients_are_autograd_s(hidden, activation, rows):
    torch.manual_seed(0)
    network = mlp(5, hidden, 3, activation)
    flat = FlatParameters(network.parameters())
    inputs, slope = torch.randn(rows, 5), torch.randn(rows, 3)
    explicit = ExplicitMLP(network)
    output = explicit(inputs.clone())
    of_inputs = explicit.backward(slope, inputs=True)
    found = flat.gradient.clone()

    flat.zero_gradient()
    leaf = inputs.clone().requires_grad_()
    expected = network(leaf)
    expected.backward(slope)
    torch.testing.assert_close(output, expected.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(of_inputs, leaf.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, flat.gradient, rtol=1e-4, atol=1e-4)


def test_a_network_may_end_in_an_activation_or_be_empty():
    network = nn.Sequential(*mlp(2, (3,), 4, "tanh"), ACTIVATIONS["relu"]())
    inputs = torch.randn(6, 2)
    torch.testing.assert_close(ExplicitMLP(network)(inputs), network(inputs).detach())
    assert torch.equal(ExplicitMLP(nn.Sequential())(inputs), inputs)
    assert torch.equal(ExplicitMLP(nn.Sequential()).backward(inputs), inputs)


def test_only_what_is_asked_for_is_written():
    network = mlp(2, (3,), 1)
    flat = FlatParameters(network.parameters())
    explicit = ExplicitMLP(network)
    explicit(torch.randn(4, 2))
    explicit.backward(torch.ones(4, 1), weights=False, inputs=True)
    assert not flat.gradient.any()


def test_in_bfloat16_the_gradients_point_the_same_way():
    torch.manual_seed(0)
    network = mlp(64, (256, 256), 8, "relu")
    flat = FlatParameters(network.parameters())
    inputs, slope = torch.randn(256, 64), torch.randn(256, 8)
    gradients = []
    for reduced in (False, True):
        explicit = ExplicitMLP(network, reduced)
        explicit(inputs)
        explicit.backward(slope)
        gradients.append(flat.gradient.clone())
    assert not torch.equal(*gradients)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999


def test_both_libraries_multiply_alike(monkeypatch):
    torch.manual_seed(0)
    left, right, bias = torch.randn(128, 200), torch.randn(200, 150), torch.randn(150)
    arguments = ((products.linear, left, right.t(), bias), (products.product, left, right), (products.product_of_columns, left.t(), right))
    found = [[function(*rest) for function, *rest in arguments]]
    monkeypatch.setattr(products, "_onednn", None)
    found.append([function(*rest) for function, *rest in arguments])
    exact = left.double() @ right.double()
    for result in found:
        for value, expected in zip(result, (exact + bias, exact, exact), strict=True):
            torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-4)


def test_the_lean_adam_is_adam():
    torch.manual_seed(0)
    mine = nn.Parameter(torch.randn(100))
    theirs = copy.deepcopy(mine)
    optimizers = FlatAdam(mine, lr=1e-2, eps=1e-5), torch.optim.Adam([theirs], lr=1e-2, eps=1e-5, fused=True)
    for _ in range(300):
        mine.grad = torch.randn(100)
        theirs.grad = mine.grad.clone()
        optimizers[0].descend(), optimizers[1].step()
    assert torch.equal(mine, theirs)


def test_vanished_gradients_leave_no_numbers_that_are_slow():
    """Without a look after them, the means of gradients that have become 0 end at 1e-45 and stay there."""
    vector = nn.Parameter(torch.zeros(10))
    optimizer = FlatAdam(vector, lr=1e-3)
    for step in range(1500):
        vector.grad = torch.full((10,), 1.0 if step < 10 else 0.0)
        optimizer.descend()
    assert not optimizer.state[vector]["exp_avg"].any()


def test_the_lean_adam_goes_on_from_its_state():
    one, other = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))
    optimizers = FlatAdam(one, lr=0.1), FlatAdam(other, lr=0.1)
    one.grad = torch.arange(5.0)
    optimizers[0].descend()
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    other.data.copy_(one.data)
    other.grad = one.grad
    for optimizer in optimizers:
        optimizer.descend()
    assert torch.equal(one, other)
