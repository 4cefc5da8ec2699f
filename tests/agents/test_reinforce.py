"""REINFORCE follows the gradient of the book, from whole episodes, as many of each world, with a baseline that changes no mean."""

from __future__ import annotations

import math
import statistics
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import mprl  # noqa: F401  registers the environments
from mprl.agents import REINFORCE, evaluate
from mprl.errors import SettingError

# ---------------------------------------------------------------------------------------- the short corridor, Example 13.1

BEST = 2 - math.sqrt(2)  # probability of going right
BEST_VALUE = -11.657


def corridor(worlds: int, seed: int, **settings: Any) -> REINFORCE:
    """A policy of two numbers, as in the book, which goes right with probability .05 at first (ε-greedy left with ε = .1)."""
    env = gym.make_vec("mprl/ShortCorridor-v0", worlds, aliased=True)
    plain: dict[str, Any] = dict(hidden=(), gamma=1.0, n_episodes=worlds, seed=seed)
    agent = REINFORCE(env, **{**plain, **settings})
    agent.model.actor[-1].weight.data.zero_()
    agent.model.actor[-1].bias.data.copy_(torch.tensor([0.95, 0.05]).log())
    return agent


def right(agent: REINFORCE) -> float:
    with torch.no_grad():
        return float(agent.model.policy(torch.ones(1, 1)).log_probabilities[0, 1].exp())


def value(p: float) -> float:
    """Of the start, by the three equations of the book: v0 = -1 + p v1 + (1-p) v0, v1 = -1 + p v0 + (1-p) v2, v2 = -1 + (1-p) v1."""
    return -2 * (2 - p) / (p * (1 - p))


def test_the_book_s_numbers_are_what_they_are_said_to_be():
    assert value(BEST) == pytest.approx(BEST_VALUE, abs=5e-4) and value(0.05) == pytest.approx(-82, abs=1)
    assert max(value(p / 1000) for p in range(1, 1000)) <= value(BEST)


@pytest.mark.parametrize("baseline", ["none", "constant", "value"])
def test_it_finds_how_often_to_go_right(baseline):
    found = []
    for seed in range(3):
        agent, seen = corridor(64, seed, baseline=baseline, learning_rate="linear 0.2 0.002 120000"), []
        agent.learn(120_000, callback=lambda _, metrics, seen=seen: seen.append(metrics["return"]))
        found.append(right(agent))
    assert statistics.median(found) == pytest.approx(BEST, abs=0.04)
    assert all(value(p) == pytest.approx(BEST_VALUE, abs=0.4) for p in found)
    assert statistics.fmean(seen[-8:]) == pytest.approx(BEST_VALUE, abs=1.0)
