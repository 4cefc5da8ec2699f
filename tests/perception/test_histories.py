"""Histories: none looks ahead, each looks back as far as it says, and step by step is the same as all at once."""

from __future__ import annotations

import pytest
import torch

from mprl.errors import SettingError
from mprl.perception import models
from mprl.perception.histories.regression import HistoryRegression
from mprl.perception.histories.tcn import TCN, CausalConvolution
from mprl.perception.trainer import Trainer, TrainerSettings, evaluate

T, N, F = 16, 3, 8
KINDS = ("rnn", "lstm", "gru", "tcn", "causal_transformer")


def made(name, **settings):
    torch.manual_seed(0)
    return models.build(name, (T, N), F, **settings).eval()


def history(seed=0):
    return torch.randn(4, T, N, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", KINDS)
def test_what_comes_later_changes_nothing_to_the_last_bit(name):
    network, inputs = made(name), history()
    before = network.sequence(inputs)
    for step in (0, 5, T - 1):
        changed = inputs.clone()
        changed[:, step + 1 :] = 100 * history(1)[:, step + 1 :]
        after = network.sequence(changed)
        assert torch.equal(after[:, : step + 1], before[:, : step + 1])
        assert step == T - 1 or not torch.equal(after, before)


@pytest.mark.parametrize("name", KINDS)
def test_no_gradient_reaches_what_comes_later_and_some_reaches_the_beginning(name):
    network, inputs = made(name), history().requires_grad_()
    network.sequence(inputs)[:, 9].square().sum().backward()
    assert (inputs.grad[:, 10:] == 0).all() and (inputs.grad[:, :10].abs().amax((0, 2)) > 0).all()


@pytest.mark.parametrize("name", KINDS)
def test_features_are_those_after_the_last_step(name):
    network = made(name)
    assert torch.equal(network(history()), network.sequence(history())[:, -1])


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_step_by_step_is_all_at_once(name):
    network, inputs = made(name, layers=2), history()
    state, found = network.initial_state(4), []
    for step in range(T):
        features, state = network.step(inputs[:, step], state)
        found.append(features)
    assert torch.allclose(torch.stack(found, 1), network.sequence(inputs), atol=1e-6)


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize(("kernel", "dilations", "field"), [(2, (1, 2), 4), (3, (1, 2), 7), (2, (3,), 4)])
def test_a_tcn_looks_back_as_far_as_its_formula_says(gated, kernel, dilations, field):
    network = made("tcn", kernel=kernel, dilations=dilations, gated=gated, channels=16)
    assert network.receptive_field == field == 1 + (kernel - 1) * sum(dilations)
    inputs = history().requires_grad_()
    network(inputs).square().sum().backward()
    reached = (inputs.grad.abs().amax((0, 2)) > 0).nonzero().flatten()
    assert reached[0] == T - field and reached[-1] == T - 1


def test_dilations_double_until_the_whole_history_is_seen():
    assert [len(TCN((steps, 1), 1).blocks) for steps in (1, 2, 3, 4, 5, 16, 17)] == [1, 1, 2, 2, 3, 4, 5]
    assert all(TCN((steps, 1), 1).receptive_field >= steps for steps in range(1, 40))


def test_a_causal_convolution_by_hand():
    layer = CausalConvolution(1, 1, 2, dilation=2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[10.0, 1.0]]]))
        layer.bias.zero_()
    assert layer(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])).flatten().tolist() == [1, 2, 13, 24]  # x_t + 10 x_(t-2)


def test_a_causal_transformer_has_places_for_its_history_only():
    network = made("causal_transformer")
    assert network.sequence(history()[:, :5]).shape == (4, 5, F)
    with pytest.raises(SettingError, match="places for 16 steps, found 17"):
        network.sequence(torch.zeros(1, 17, N))


def swings(generator):
    """Sines of various frequencies: positions, and velocities as targets."""
    for _ in range(25):
        phase, rate = 6.28 * torch.rand(2, 64, 1, generator=generator)
        angle = phase + 0.1 * (1 + rate) * torch.arange(8)
        yield {"input": angle.sin().unsqueeze(-1), "target": (0.1 * (1 + rate) * angle.cos()).unsqueeze(-1)}


def trained(history):
    torch.manual_seed(0)
    network = HistoryRegression((8, 1), 16, targets=1, history=history)
    quick = history == "tcn"
    settings = TrainerSettings(epochs=2 if quick else 20, learning_rate="cosine 2e-2 1e-4 50" if quick else "cosine 5e-3 1e-4 500")
    Trainer(network, swings, settings).fit()
    return network


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tcn", "rnn", "lstm", "gru", "causal_transformer"])
def test_velocities_are_told_from_positions_and_one_position_does_not_tell(name):
    network = trained(name)
    held_out = [{"input": b["input"], "target": b["target"][:, -1]} for b in swings(torch.Generator().manual_seed(99))]
    assert evaluate(network, held_out)["r2"] > 0.9
    blind = [{"input": b["input"][:, -1:].expand(-1, 8, -1), "target": b["target"]} for b in held_out]  # only the last position is known
    assert evaluate(network, blind)["r2"] < 0.5


def test_targets_may_be_of_every_step():
    network = made("history_regression", targets=2, history="gru")
    batch = {"input": history(), "target": torch.zeros(4, T, 2)}
    loss, _ = network.loss(batch)
    assert loss.item() == pytest.approx(network.head(network.history.sequence(history())).square().mean().item())
    assert network.loss({"input": history(), "target": network.predict(history()).detach()})[0] == 0
    with pytest.raises(SettingError, match="last step only"):
        made("history_regression", targets=2, history="mlp").loss(batch)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: models.build("gru", (3, 8, 8), 4), "takes histories"),
        (lambda: models.build("gru", (8, 3), 4, layers=0), "layers must be positive"),
        (lambda: models.build("tcn", (8, 3), 4, kernel=1), "at least 2 steps"),
        (lambda: models.build("history_regression", (8, 3), 4, history="gru", kernel=2), "gru has no setting 'kernel'"),
        (lambda: models.build("causal_transformer", (8, 3), 6), "divisible by its heads"),
    ],
)
def test_settings_that_cannot_be_are_one_line(make, part):
    with pytest.raises(SettingError, match=part):
        make()
