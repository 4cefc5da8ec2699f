"""Averages of weights have the values of their closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mprl.errors import SettingError
from mprl.nn.averaging import Averaging, averaged, parse
from mprl.nn.normalizer import RunningNormalizer


def network(value: float) -> nn.Sequential:
    made = nn.Sequential(nn.Linear(2, 3), RunningNormalizer((3,)))
    set_to(made, value)
    return made


def set_to(module: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)


def after(setting: str, values: list[float], first: float = 8.0, steps: list[float] | None = None) -> float:
    """The average after the weights were each of these values in turn; all weights are alike."""
    source = network(first)
    averaging = Averaging(source, setting)
    for value, step in zip(values, steps or range(len(values)), strict=True):
        set_to(source, value)
        averaging.update(step)
    found = torch.cat([parameter.flatten() for parameter in averaging.average.parameters()])
    assert (found == found[0]).all()
    return float(found[0])


def test_a_moving_average_keeps_its_share():
    assert after("ema 0.75", [4.0, 4.0]) == 4 + 4 * 0.75**2
    assert after("ema 0.5", [1.0, 2.0, 3.0]) == 0.125 * 8 + 0.125 * 1 + 0.25 * 2 + 0.5 * 3


def test_corrected_it_forgets_where_it_began():
    weights = [0.75**k for k in (2, 1, 0)]
    expected = sum(w * x for w, x in zip(weights, (1.0, 2.0, 5.0), strict=True)) / sum(weights)
    assert after("ema 0.75 corrected", [1.0, 2.0, 5.0]) == pytest.approx(expected, rel=1e-6)
    assert after("ema 0.999 corrected", [3.0, 3.0]) == pytest.approx(3.0, rel=1e-6)


def test_the_mean_begins_at_its_step_and_weighs_all_alike():
    assert after("swa 100", [1.0, 2.0, 4.0, 9.0], steps=[50, 100, 150, 200]) == pytest.approx((2 + 4 + 9) / 3, rel=1e-6)
    assert after("swa 100", [1.0, 2.0], steps=[50, 99]) == 2.0  # not yet: the last weights


def test_it_equals_torch_s_own_averages():
    torch.manual_seed(0)
    for setting, theirs in (
        ("ema 0.9", torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)),
        ("swa 0", torch.optim.swa_utils.get_swa_multi_avg_fn()),
    ):
        source = nn.Linear(4, 4)
        ours, reference = Averaging(source, setting), torch.optim.swa_utils.AveragedModel(source, multi_avg_fn=theirs)
        reference.n_averaged += setting.startswith("ema")  # torch's begins with the second weights, ours with the first
        for step in range(5):
            nn.init.normal_(source.weight)
            ours.update(step), reference.update_parameters(source)
        torch.testing.assert_close(ours.average.weight, reference.module.weight)


def test_statistics_of_a_normaliser_are_not_averaged_but_current():
    source = network(0.0)
    averaging = Averaging(source, "ema 0.99")
    averaging.update(0)
    source[1].update(torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]))
    assert averaging.average[1].mean.tolist() == [2, 3, 4] and averaging.average[1].count == 2


def test_what_is_not_learned_is_not_averaged():
    source = network(1.0)
    source[0].bias.requires_grad_(False)
    averaging = Averaging(source, "ema 0.5")
    set_to(source, 5.0)
    averaging.update(0)
    assert (averaging.average[0].bias == 5).all() and (averaging.average[0].weight == 3).all()


@pytest.mark.parametrize("setting", ["ema 0.9 corrected", "swa 2"])
def test_it_goes_on_from_its_state(setting):
    source, values = network(8.0), [1.0, 5.0, 2.0, 7.0, 3.0]
    whole = Averaging(source, setting)
    half = whole
    for step, value in enumerate(values):
        set_to(source, value)
        whole.update(step)
        if half is not whole:
            half.update(step)
        if step == 2:
            half = Averaging(source, setting)
            half.load_state_dict({key: value.clone() for key, value in whole.state_dict().items()})
    assert all(isinstance(value, torch.Tensor) for value in whole.state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), half.parameters(), strict=True))


def test_the_network_that_learns_is_left_alone():
    source = network(1.0)
    averaging = Averaging(source, "ema 0.5")
    set_to(averaging.average, 7.0)
    assert all((parameter == 1).all() and parameter.requires_grad for parameter in source.parameters())
    assert not any(parameter.requires_grad for parameter in averaging.average.parameters())
    assert averaged(source, "none") is None


@pytest.mark.parametrize(
    "setting", ["", "ema", "ema 1", "ema -0.1", "ema 0.9 biased", "ema x", "swa", "swa -1", "swa nan", "swa 1 2", "polyak 0.9"]
)
def test_another_setting_is_refused_in_one_line(setting):
    with pytest.raises(SettingError, match=f"found '{setting}'"):
        parse(setting)
