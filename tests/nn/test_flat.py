"""One vector of all parameters trains exactly as the parameters one by one."""

from __future__ import annotations

import copy

import torch
from torch import nn

from mprl.nn.flat import FlatAdam, FlatParameters, FlatRMSprop
from mprl.nn.mlp import mlp


def test_training_is_that_of_the_parameters_one_by_one():
    torch.manual_seed(0)
    plain = mlp(3, (8, 8), 2)
    network = copy.deepcopy(plain)
    flat = FlatParameters(network.parameters())
    optimizers = torch.optim.Adam(plain.parameters(), 0.1), FlatAdam(flat.vector, 0.1)
    inputs, targets = torch.randn(5, 3), 10 * torch.randn(5, 2)
    for _ in range(5):
        optimizers[0].zero_grad()
        flat.zero_gradient()
        for net in (plain, network):
            (net(inputs) - targets).square().mean().backward()
        norms = nn.utils.clip_grad_norm_(plain.parameters(), 0.5), flat.clip_gradient(0.5)
        assert norms[0] > 0.5
        torch.testing.assert_close(*norms)
        optimizers[0].step()
        optimizers[1].descend()
    for one, other in zip(plain.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_weights_are_saved_loaded_and_copied_as_before():
    plain, network = mlp(3, (8,), 2), mlp(3, (8,), 2)
    flat = FlatParameters(network.parameters())
    network.load_state_dict(plain.state_dict())
    torch.testing.assert_close(flat.vector.data, nn.utils.parameters_to_vector(plain.parameters()))
    other = copy.deepcopy(network)
    flat.vector.data.zero_()
    assert all((parameter == 0).all() for parameter in network.parameters())
    assert any((parameter != 0).any() for parameter in other.parameters())


def test_what_needs_no_gradient_stays_out():
    network = mlp(3, (8,), 2)
    network[0].weight.requires_grad_(False)
    before = network[0].weight.clone()
    flat = FlatParameters(network.parameters())
    assert len(flat.vector) == sum(parameter.numel() for parameter in network.parameters()) - before.numel()
    flat.vector.data.zero_()
    assert torch.equal(network[0].weight, before)


def test_rmsprop_of_one_vector_takes_the_steps_of_torch_s():
    vectors = [nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2)]
    plain, flat = torch.optim.RMSprop([vectors[0]], 0.1, 0.9, 1e-3), FlatRMSprop(vectors[1], 0.1, 0.9, 1e-3)
    for _ in range(5):
        for vector in vectors:
            vector.grad = (vector.detach() - 3).square()
        plain.step(), flat.descend()
    torch.testing.assert_close(*vectors)
    torch.testing.assert_close(plain.state_dict()["state"], flat.state_dict()["state"])  # what a checkpoint holds
