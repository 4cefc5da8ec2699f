"""Schedules have the values of their closed forms, and a text that is none is refused in one line."""

from __future__ import annotations

import math

import pytest
import torch

from mprl.errors import SettingError
from mprl.nn import schedules
from mprl.nn.schedules import value


def test_a_number_stays():
    assert value(3e-4, 0) == value(3e-4, 10**9) == value("3e-4", 10**9) == 3e-4


@pytest.mark.parametrize(
    ("kind", "middle", "quarter"),
    [
        ("constant", 1e-3, 1e-3),
        ("linear", (1e-3 + 1e-5) / 2, 0.75 * 1e-3 + 0.25 * 1e-5),
        ("exponential", math.sqrt(1e-3 * 1e-5), 1e-3 * 10**-0.5),  # two powers of ten: half of one after a quarter of the way
        ("cosine", (1e-3 + 1e-5) / 2, 1e-5 + (1e-3 - 1e-5) * (1 + math.sqrt(0.5)) / 2),
    ],
)
def test_on_the_way(kind, middle, quarter):
    setting = f"{kind} 1e-3 1e-5 2e5"
    assert value(setting, 0) == pytest.approx(1e-3, rel=1e-12)
    assert value(setting, 50_000) == pytest.approx(quarter, rel=1e-12)
    assert value(setting, 100_000) == pytest.approx(middle, rel=1e-12)
    assert value(setting, 200_000) == value(setting, 10**9) == 1e-5


def test_from_one_to_a_twentieth_as_dqn_explores():
    assert [value("linear 1 0.05 10000", n) for n in (0, 5_000, 10_000, 50_000)] == [1.0, 0.525, 0.05, 0.05]


def test_a_schedule_may_rise_and_reach_zero():
    assert value("linear 0 2 10", 5) == 1 and value("cosine 1 0 10", 10) == 0
    assert schedules.bounds("linear 0 2 10") == schedules.bounds("linear 2 0 10") == (0, 2) and schedules.bounds(0.5) == (0.5, 0.5)


def test_it_rises_for_a_twentieth_of_the_way_and_falls_to_zero():
    setting = schedules.rise_and_fall(2e-3, 100)
    assert [schedules.value(setting, steps) for steps in (0, 5, 52.5, 100)] == pytest.approx([1e-4, 2e-3, 1e-3, 0.0])


def test_steps_and_time_based_decay_by_hand():
    assert [value("step 1 0.1 10", n) for n in (0, 9, 10, 25)] == pytest.approx([1, 1, 0.1, 0.01])
    assert [value("time 2 0.5", n) for n in (0, 2, 6)] == [2, 1, 0.5]
    assert schedules.bounds("step 1 0.1 10") == schedules.bounds("time 1 0.5") == (0, 1)


@pytest.mark.parametrize("factor", [1, 2])
def test_warm_restarts_are_torchs(factor):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-2)
    peer = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 7, factor, eta_min=1e-4)
    for step in range(60):
        assert value(f"restarts 1e-2 1e-4 7 {factor}", step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        peer.step()


def test_cycles_are_lowest_before_a_restart_and_in_the_middle_of_a_triangle():
    assert [n for n in range(40) if schedules.is_lowest("restarts 1 0 5 2", n)] == [4, 14, 34]
    assert [n for n in range(40) if schedules.is_lowest("triangle 1 0.1 10", n)] == [5, 15, 25, 35]
    assert [value("triangle 1 0 10", n) for n in (0, 2.5, 5, 7.5, 10)] == [1, 0.5, 0, 0.5, 1]
    assert not any(schedules.is_lowest(setting, n) for setting in (1e-3, "cosine 1 0 10") for n in range(20))


def test_one_schedule_after_the_other():
    setting = "linear 0 1 10 then constant 1 1 5 then restarts 1 0 4"
    assert [value(setting, n) for n in (0, 5, 10, 14, 15, 17, 19)] == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 1])
    assert schedules.bounds("linear 0 1 10 then cosine 3 2 5") == (0, 3) and value("linear 0 1 10 then 5", 10) == 5
    assert [n for n in range(25) if schedules.is_lowest(setting, n)] == [18, 22]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("step 1 1.5 10", "factor must be in (0, 1]"),
        ("time 1 -1", "rate must be at least 0"),
        ("restarts 1 0 0", "positive number of steps"),
        ("restarts 1 0 5 0.5", "at least as long"),
        ("step 1 0.1 10 then 5", "a 'step' schedule has no end"),
        ("linear 1 0 10 then", "found 'linear 1 0 10 then'"),
        ("restart 1 0 10", "did you mean 'restarts'?"),
        ("", "found ''"),
        ("linaer 1 0 10", "did you mean 'linear'?"),
        ("linear 1 0", "from, to, environment steps"),
        ("linear 1 0 10 20", "found 'linear 1 0 10 20'"),
        ("linear 1 zero 10", "found 'linear 1 zero 10'"),
        ("linear 1 0 0", "positive number of steps"),
        ("linear 1 nan 10", "must be finite"),
        ("exponential 1 0 10", "linear and cosine ones may reach 0"),
        ("fast", "expected a number or a schedule"),
    ],
)
def test_a_text_that_is_no_schedule_is_refused(text, part):
    for ask in (lambda: value(text, 0), lambda: schedules.bounds(text)):
        with pytest.raises(SettingError) as caught:
            ask()
        assert part in str(caught.value) and "\n" not in str(caught.value)
