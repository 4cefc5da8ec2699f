"""An episode that was cut off did not end: every learner goes on from what it would have led to."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mprl.agents import AGENTS, MonteCarlo, QLearning
from mprl.agents.tabular.controller import Controller
from mprl.agents.tabular.learner import TabularLearner

LEARNERS = [kind for kind in AGENTS.values() if issubclass(kind, TabularLearner)]
GAMMA = 0.5
WORTH = 1 / (1 - GAMMA)  # 2


class Chain(gym.Env[Any, Any]):
    """Two states that follow each other for ever; each step gives 1, so both are worth 1 / (1 - γ) = 2.

    An episode is cut off after 3 steps. Were that taken for its end, the last of the two would be worth 1 and the other one 1.5.
    The first state of an episode is none of the two, and worth 10 + γ 2: nothing must be bootstrapped from it.
    """

    observation_space = gym.spaces.Discrete(3)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.state, self.steps = 2, 0
        return self.state, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = 10.0 if self.state == 2 else 1.0
        self.state, self.steps = int(self.state == 0), self.steps + 1
        return self.state, reward, False, self.steps == 3, {}


ENVIRONMENTS = {"single": Chain, **{mode.name: lambda mode=mode: SyncVectorEnv([Chain] * 3, autoreset_mode=mode) for mode in AutoresetMode}}


# What comes after a step is found in one place for all; these see it in each form of an environment, the others in two.
IN_EVERY_FORM = (QLearning, MonteCarlo)
CASES = [
    pytest.param(learner, env, tables, id=f"{learner.name}, {env}, {tables}")
    for learner in LEARNERS
    for env, tables in (("NEXT_STEP", "independent"), ("SAME_STEP", "shared"), ("single", "shared"), ("DISABLED", "independent"))
    if learner in IN_EVERY_FORM or env in ("NEXT_STEP", "SAME_STEP")
]


@pytest.mark.parametrize(("learner", "env", "tables"), CASES)
def test_truncated_episodes_bootstrap(learner, env, tables):
    explores = {"epsilon": 1.0} if issubclass(learner, Controller) else {}
    agent = learner(ENVIRONMENTS[env](), gamma=GAMMA, learning_rate=0.5, tables=tables, **explores)
    agent.learn(300 * agent.batch.num_worlds)
    values = agent.action_values if issubclass(learner, Controller) else agent.values
    expected = np.array([WORTH, WORTH, 10 + GAMMA * WORTH])
    assert np.allclose(values, expected if values.ndim == 1 or values.shape[-1] == 3 else expected[:, None], atol=0.02)
