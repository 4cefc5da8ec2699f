"""An episode that was cut off is worth as much as one that goes on, to every agent that learns values, in every autoreset mode.

Three treatments give three answers here: the right one, that of taking a truncation for an end, and that of going on with the first
observation of the next episode, which is what the environment returns with the last reward under SAME_STEP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mprl.agents import A2C, DQN, PPO, REINFORCE, SAC
from mprl.agents.agent import Agent


class Ring(gym.Env[Any, Any]):
    """Three places in a ring. Leaving place 0 earns 3; every episode starts there and ends after `length` steps, whatever is done."""

    observation_space = gym.spaces.Discrete(3)

    def __init__(self, length: int, end: str, action_space: gym.Space[Any]) -> None:
        self.length, self.end, self.action_space = length, end, action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.int64(0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = 3.0 if self.steps % 3 == 0 else 0.0
        self.steps += 1
        over = self.steps == self.length
        return np.int64(self.steps % 3), reward, over and self.end == "terminated", over and self.end == "truncated", {}


# With discount 1/2 and no end V0 = 3 + V1 / 2, V1 = V2 / 2, V2 = V0 / 2, so V0 = 3 / (1 - 1/8).
ENDLESS = [24 / 7, 6 / 7, 12 / 7]
# Cut off after 4 steps in place 1. Taken for an end, leaving place 0 would be worth 3 + 3/8 and 3, V0 between them; going on with the
# next episode's place 0 it would be worth 3 + 24/14 at the cut.
CASES = [(4, "truncated", ENDLESS), (5, "truncated", ENDLESS), (3, "terminated", [3.0, 0.0, 0.0]), (1, "terminated", [3.0])]


@dataclass
class Learner:
    """How an agent is made to learn the ring, and where it keeps what it learned."""

    kind: type[Agent]
    settings: dict[str, Any]
    values: Callable[[Any], torch.Tensor]  # of the three places
    steps: int
    action_space: gym.Space[Any]


PLACES = torch.eye(3)
TWO, BOX = gym.spaces.Discrete(2), gym.spaces.Box(-1, 1, (1,))


def critic(agent: Any) -> torch.Tensor:
    return agent.model.value(agent.model.features(PLACES))


def best_actions(agent: Any) -> torch.Tensor:
    return agent.model(PLACES).amax(-1)


def critic_of_the_likeliest_action(agent: Any) -> torch.Tensor:
    return agent.model.critics[0](torch.cat((PLACES, agent.act(PLACES, deterministic=True)), -1)).squeeze(-1)


LEARNERS = {
    "a2c": Learner(A2C, dict(n_steps=8, optimizer="adam", learning_rate="linear 5e-2 1e-3 2500", iteration_steps=64), critic, 2500, TWO),
    "a2c, one step": Learner(A2C, dict(n_steps=1, learning_rate="linear 3e-2 1e-3 3000", iteration_steps=32), critic, 3000, TWO),
    "ppo": Learner(
        PPO, dict(n_steps=64, batch_size=64, n_epochs=10, learning_rate="linear 5e-2 1e-3 1500", target_kl=None), critic, 1500, TWO
    ),
    "reinforce": Learner(REINFORCE, dict(n_episodes=4, learning_rate="linear 1e-1 1e-3 2000"), critic, 2000, TWO),
    "dqn": Learner(
        DQN,
        dict(learning_rate="linear 5e-2 1e-3 1500", batch_size=32, buffer_size=2000, learning_starts=64, train_freq=8, gradient_steps=8,
             target_update_interval=32, exploration=1.0, iteration_steps=64),
        best_actions, 1500, TWO,
    ),
    "sac": Learner(
        SAC,
        dict(learning_rate="linear 5e-2 1e-3 1500", batch_size=32, buffer_size=2000, learning_starts=64, train_freq=8, gradient_steps=8,
             tau=0.1, learn_ent_coef=False, ent_coef=1e-6, iteration_steps=64),
        critic_of_the_likeliest_action, 1500, BOX,
    ),
}  # fmt: skip


MODES = [*AutoresetMode, "single"]
# The modes differ in what gathers the steps alone, which is one thing for those that learn on-policy and one for the others.
# How an episode ends is told in the same way in every mode.
ALL = [
    (name, case, mode)
    for name in LEARNERS
    for case in CASES
    for mode in MODES
    if (mode == AutoresetMode.SAME_STEP and case in CASES[::2])  # one that was cut off, one that ended
    or (name in ("a2c", "dqn") and (mode == AutoresetMode.SAME_STEP or case is CASES[0]))
]
QUICK = [(name, CASES[0], AutoresetMode.SAME_STEP) for name in ("a2c", "dqn")] + [("a2c", CASES[0], AutoresetMode.NEXT_STEP)]


@pytest.mark.parametrize(
    ("name", "case", "mode"),
    [
        pytest.param(name, case, mode, id=f"{name}, {case[0]} steps, {case[1]}, {mode}", marks=() if each in QUICK else pytest.mark.slow)
        for each in ALL
        for name, case, mode in [each]
    ],
)
def test_a_truncated_episode_is_worth_as_much_as_an_endless_one_and_a_terminated_one_is_not(name, case, mode):
    (length, end, values), learner = case, LEARNERS[name]
    make = lambda: Ring(length, end, learner.action_space)  # noqa: E731
    env = make() if mode == "single" else SyncVectorEnv([make] * 2, autoreset_mode=mode)
    agent = learner.kind(env, hidden=(), gamma=0.5, seed=0, **learner.settings).learn(learner.steps)
    with torch.no_grad():
        found = learner.values(agent)[: len(values)]
    assert found.tolist() == pytest.approx(values, abs=0.06)
