"""The models that planners are measured with, and the comparison, as small as can be."""

from __future__ import annotations

import numpy as np
import pytest

from mprl.agents import TabularMDP, ValueIteration
from mprl.scripts.benchmarks import planning


def test_the_grid_is_left_the_shortest_way():
    transitions, rewards = planning.grid_model(side=5, goal=24, slip=0.0)
    values = ValueIteration(TabularMDP.from_sparse(transitions, rewards, discount=1.0)).solve().values
    row, column = np.divmod(np.arange(25), 5)
    assert values.tolist() == (row + column - 8).tolist()


def test_the_grid_is_slippery():
    transitions, _ = planning.grid_model(side=3, goal=8)
    assert transitions[[4 * 4]].toarray()[0, [1, 3, 5]] == pytest.approx([0.8, 0.1, 0.1])  # up from the middle
    assert transitions[[8 * 4]].toarray()[0, 8] == pytest.approx(1.0)


def test_random_models_are_distributions():
    transitions, rewards = planning.random_model(50)
    assert transitions.shape == (200, 50) and rewards.shape == (50, 4)
    assert transitions.sum(1) == pytest.approx(1.0)


@pytest.mark.slow
def test_quantecon_finds_the_same():
    pytest.importorskip("quantecon")
    for model in (planning.random_model(100), planning.grid_model(6, goal=14)):
        assert planning.ours(model)() == pytest.approx(planning.quantecon(model)(), abs=planning.EPSILON)


@pytest.mark.slow
def test_all_figures(monkeypatch):
    pytest.importorskip("quantecon")
    monkeypatch.setattr(planning, "STATES", 200)
    monkeypatch.setattr(planning, "SIDE", 6)
    figures = {figure.key: figure for figure in planning.figures(seconds=0.0, states=500)}
    assert set(figures) == {"random", "grid", "grid_middle", "largest", "largest_memory"}
    assert all(figure.ours > 0 and figure.peer > 0 for figure in figures.values())
