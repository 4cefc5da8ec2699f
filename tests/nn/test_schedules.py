"""Schedules have the values of their closed forms, and a text that is none is refused in one line."""

from __future__ import annotations

import math

import pytest

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


@pytest.mark.parametrize(
    ("text", "part"),
    [
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
