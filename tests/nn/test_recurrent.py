"""A chunk gives what its steps give, and neither state nor gradient crosses from one episode into the next."""

from __future__ import annotations

import pytest
import torch

from mprl.errors import SettingError
from mprl.nn.recurrent import KINDS, Recurrent

T, W, N, H = 12, 5, 3, 4


def made(kind: str) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(kind, N, H).double()


def chunk(start_rate: float) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(T, W, N, generator=random).double(), torch.rand(T, W, generator=random) < start_rate


def stepped(layer: Recurrent, inputs, state, episode_start):
    outputs = []
    for each, start in zip(inputs, episode_start, strict=True):
        output, state = layer.step(each, state, start)
        outputs.append(output)
    return torch.stack(outputs), state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start_rate", [0.0, 0.1, 0.5, 1.0])
def test_a_chunk_gives_what_its_steps_give(kind, start_rate):
    layer, (inputs, episode_start) = made(kind), chunk(start_rate)
    state = tuple(torch.randn_like(part) for part in layer.initial_state(W))
    expected, expected_state = stepped(layer, inputs, state, episode_start)
    outputs, after = layer(inputs, state, episode_start)
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(after, expected_state, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    gradient = torch.autograd.grad(outputs.square().sum(), tuple(layer.parameters()))
    expected_gradient = torch.autograd.grad(expected.square().sum(), tuple(layer.parameters()))
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_two_chunks_in_turn_are_one(kind):
    layer, (inputs, episode_start) = made(kind), chunk(0.15)
    whole, after = layer(inputs, layer.initial_state(W), episode_start)
    first, between = layer(inputs[:5], layer.initial_state(W), episode_start[:5])
    second, last = layer(inputs[5:], between, episode_start[5:])
    torch.testing.assert_close(torch.cat((first, second)), whole)
    torch.testing.assert_close(last, after)


@pytest.mark.parametrize("kind", KINDS)
def test_an_episode_knows_nothing_of_the_one_before(kind):
    layer, (inputs, _) = made(kind), chunk(0)
    episode_start = torch.zeros(T, W, dtype=torch.bool)
    episode_start[7, 2] = True
    inputs.requires_grad_()
    outputs, _ = layer(inputs, layer.initial_state(W), episode_start)
    (gradient,) = torch.autograd.grad(outputs[7:].sum(), inputs)
    before = gradient[:7].abs().sum(dim=(0, 2))
    assert before[2] == 0 and (before[[0, 1, 3, 4]] > 0).all()
    fresh, _ = layer(inputs[7:, 2:3], layer.initial_state(1), torch.zeros(T - 7, 1, dtype=torch.bool))
    torch.testing.assert_close(outputs[7:, 2:3], fresh)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start_rate", [0.0, 0.3])
def test_the_gradient_ends_at_the_chunk_s_beginning(kind, start_rate):
    layer, (inputs, episode_start) = made(kind), chunk(start_rate)
    state = tuple(part.requires_grad_() for part in layer.initial_state(W))
    outputs, _ = layer(inputs, state, episode_start)
    assert all(part is None for part in torch.autograd.grad(outputs.sum(), state, allow_unused=True))


def test_an_lstm_by_hand():
    """All weights 0 but the cell's input: c = σ(1) c + σ(0) tanh(x), h = σ(0) tanh(c)."""
    layer = Recurrent("lstm", 1, 1)
    for weight in (layer.layer.weight_ih_l0, layer.layer.weight_hh_l0):
        torch.nn.init.zeros_(weight)
    layer.layer.weight_ih_l0.data[2] = 1.0
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    first, state = layer.step(one, (zero, zero))
    second, _ = layer.step(zero, state)
    cell = 0.5 * torch.tanh(one)
    torch.testing.assert_close(first, 0.5 * torch.tanh(cell))
    torch.testing.assert_close(second, 0.5 * torch.tanh(torch.sigmoid(one) * cell))


def test_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(SettingError, match="one of lstm, gru, rnn, found 'ltsm'"):
        Recurrent("ltsm", 1, 1)
