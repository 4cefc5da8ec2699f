"""Learning from a remembered model (Sutton & Barto, chapter 8)."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import mprl  # noqa: F401  registers the environments
from mprl.agents import DynaQ, PrioritizedSweeping, QLearning
from mprl.agents.tabular.episodes import EpisodeLog
from mprl.errors import SettingError

START, GOAL = 18, 8


class Corridor(gym.Env[Any, Any]):
    """Cells 0 to 4, always to the right. Cell 4 is the goal, worth 1."""

    observation_space, action_space = gym.spaces.Discrete(5), gym.spaces.Discrete(1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.state = 0
        return 0, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state += 1
        return self.state, float(self.state == 4), self.state == 4, False, {}


def maze(runs: int, **kwargs: Any) -> Any:
    return gym.make_vec("mprl/DynaMaze-v0", num_envs=runs, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize(("planning_steps", "by", "late"), [(0, 25, 10), (5, 6, 3), (50, 3, 2)])
def test_dyna_maze(planning_steps, by, late):
    """Figure 8.2, 30 runs: near 14 steps an episode from about the 3rd with 50 updates a step, the 5th with 5, the 25th without.

    ε = .1 adds two steps or three. `late` is an episode in which it is not there yet.
    """
    log = EpisodeLog(by + 3)
    settings = dict(planning_steps=planning_steps, learning_rate=0.1, gamma=0.95, epsilon=0.1, tables="independent")
    DynaQ(maze(30), **settings).learn(1e9, callback=log)
    steps = log.lengths.mean(axis=0)
    assert steps[0] > 400  # the first episode is a random walk
    assert steps[late - 1] > 30 and steps[by - 1 :].mean() < 22


def test_dyna_without_planning_is_q_learning():
    settings = dict(tables="independent", learning_rate=0.3, gamma=0.9)
    tables = [kind(maze(3), **settings, **more).learn(5000) for kind, more in ((DynaQ, dict(planning_steps=0)), (QLearning, {}))]
    assert np.array_equal(tables[0].action_values, tables[1].action_values)


@pytest.mark.parametrize("tables", ["shared", "independent"])
def test_prioritized_sweeping_carries_a_reward_back_in_as_many_updates_as_steps_led_to_it(tables):
    """α = 1, γ = 1/2: the first time at the goal, four updates make all that there is to know of the way: 1/8, 1/4, 1/2, 1."""
    agent = PrioritizedSweeping(Corridor(), learning_rate=1.0, gamma=0.5, planning_steps=4, tables=tables, iteration_steps=4)
    agent.learn(4)
    assert agent.values.reshape(-1)[:4].tolist() == [0.125, 0.25, 0.5, 1.0]
    assert agent.updates.tolist() == [4]


def until_short(kind: Any, runs: int, within: int) -> Any:
    """Updates of each run until greedy actions reach the goal in so many steps."""
    envs, found = maze(runs), np.zeros(runs)
    leads_to = np.array([[envs.P[s][a][0][1] for a in range(4)] for s in range(54)])

    def look(agent: Any, metrics: dict[str, float]) -> bool:
        greedy, state = agent.action_values.argmax(axis=-1), np.full(runs, START)
        for _ in range(within):
            state = np.where(state == GOAL, GOAL, leads_to[state, greedy[np.arange(runs), state]])
        done = (state == GOAL) & (found == 0)
        found[done] = agent.updates[done]
        return bool((found == 0).any())

    kind(envs, learning_rate=0.5, gamma=0.95, epsilon=0.1, tables="independent", iteration_steps=8).learn(1e7, callback=look)
    return found


@pytest.mark.slow
def test_prioritized_sweeping_needs_less_than_half_of_the_updates_of_dyna():
    """Example 8.4: until the greedy way is within a fifth of the shortest one, 14 steps; 10 runs, 5 updates a step."""
    assert until_short(PrioritizedSweeping, 10, 16).mean() < 0.5 * until_short(DynaQ, 10, 16).mean()


@pytest.mark.slow
def test_dyna_q_plus_finds_a_shortcut():
    """Figure 8.5: after 3000 steps a shorter way opens, 10 steps in place of 16; only who tries what was long not tried finds it."""
    length = {}
    for bonus in (0.0, 0.001):
        settings = dict(bonus=bonus, planning_steps=10, learning_rate=0.7, gamma=0.95, tables="independent", iteration_steps=100)
        agent = DynaQ(maze(10, maze="shortcut"), **settings).learn(3000 * 10)
        agent.set_env(maze(10, maze="shortcut", changed=True))
        log = EpisodeLog(10)
        agent.learn(1500 * 10).learn(1e9, callback=log)
        length[bonus] = log.lengths.mean()
    assert length[0.0] > 16 and length[0.001] < 14


def test_worlds_that_share_a_model_plan_together():
    """64 worlds with one table: each step of all is 64 real ones and 5 x 64 from the model."""
    agent = DynaQ(maze(64), learning_rate=0.5, gamma=0.95, iteration_steps=16)
    agent.learn(16 * 64)
    assert agent.updates.tolist() == [16 * 64 * 6]
    assert agent.learn(300 * 64).values[START] == pytest.approx(0.95**13, abs=1e-3)
    agent = PrioritizedSweeping(maze(64), learning_rate=1.0, gamma=0.95).learn(300 * 64)
    assert agent.values[START] == pytest.approx(0.95**13, abs=1e-3)


class Turns(gym.Env[Any, Any]):
    """One step, which pays 0 and 10 in turn."""

    observation_space, action_space, number = gym.spaces.Discrete(2), gym.spaces.Discrete(1), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return 0, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.number += 1
        return 1, 10.0 * (self.number % 2 == 0), True, False, {}


@pytest.mark.parametrize(("outcomes", "worth"), [(1, 10.0), (2, 5.0), (9, 5.0)])
def test_a_model_of_several_outcomes_has_their_mean(outcomes, worth):
    """After 8 steps; with the last outcome alone it is what that was."""
    agent = PrioritizedSweeping(Turns(), learning_rate=1.0, outcomes=outcomes, iteration_steps=8).learn(8)
    assert agent.values[0] == worth
    dyna = DynaQ(Turns(), learning_rate="linear 0.5 0.01 500", outcomes=outcomes, planning_steps=5).learn(1000)
    assert dyna.values[0] == pytest.approx(5.0, abs=1.5 if outcomes > 1 else 5.0)


def test_settings_that_cannot_be_are_refused():
    for settings in (dict(planning_steps=-1), dict(bonus=-0.1)):
        with pytest.raises(SettingError, match="must be at least 0, found -"):
            DynaQ(Corridor(), **settings)
    with pytest.raises(SettingError, match="outcomes must be at least 1, found 0"):
        DynaQ(Corridor(), outcomes=0)
    with pytest.raises(SettingError, match="threshold must be at least 0"):
        PrioritizedSweeping(Corridor(), threshold=-1.0)
