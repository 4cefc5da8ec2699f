"""Tabular learning as a plain Python loop over one environment: lists for tables, one step at a time, nothing wasted.

The environment is a single one of Gymnasium's kind, without wrappers; or a `LookUp`, the fastest that can be stepped from Python.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any


class LookUp:
    """An environment whose transitions lie in lists, ready to be returned; checks nothing. All outcomes of an action are as likely.

    Args:
        env: one with `P` that starts in one state.
        seed: of what happens.
    """

    def __init__(self, env: Any, seed: int = 0) -> None:
        self.observation_space, self.action_space, self.terminal = env.observation_space, env.action_space, env.terminal
        self._outcomes: list[list[list[tuple[int, float, bool, bool, dict[str, Any]]]]] = [
            [[(new, reward, terminated, False, {}) for _, new, reward, terminated in outcomes] for outcomes in actions.values()]
            for actions in env.P.values()
        ]
        self._start, self._uniform = int(env.initial_state_distrib.argmax()), random.Random(seed).random

    def reset(self, seed: int | None = None) -> tuple[int, dict[str, Any]]:
        self._state = self._start
        return self._start, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        outcomes = self._outcomes[self._state][action]
        outcome = outcomes[0] if len(outcomes) == 1 else outcomes[int(self._uniform() * len(outcomes))]
        self._state = outcome[0]
        return outcome


def td0(env: Any, alpha: float, seed: int, initial_value: float = 0.5) -> tuple[list[float], Iterator[int]]:
    """TD(0) without discount (Sutton & Barto, 6.1): the values, and an iterator of which each item is a step (1: that ended an episode)."""
    values = [initial_value] * int(env.observation_space.n)
    for terminal in env.terminal.nonzero()[0]:
        values[terminal] = 0.0

    def learn() -> Iterator[int]:
        env.reset(seed=seed)
        step = env.step
        while True:
            state, _ = env.reset()
            ended = False
            while not ended:
                new, reward, ended, _, _ = step(0)
                values[state] += alpha * (reward + (0.0 if ended else values[new]) - values[state])
                state = new
                yield 1 if ended else 0

    return values, learn()


def control(env: Any, kind: str, alpha: float, epsilon: float, seed: int) -> tuple[list[list[float]], Iterator[int]]:
    """SARSA, Expected SARSA or Q-learning without discount (Sutton & Barto, 6.4 to 6.6): the action values, and an iterator of steps.

    Args:
        env: one environment.
        kind: sarsa, expected-sarsa or q-learning.
        alpha, epsilon: step size, and probability of a random action.
        seed: of all that is random.
    """
    actions = int(env.action_space.n)
    table = [[0.0] * actions for _ in range(int(env.observation_space.n))]
    uniform = random.Random(seed).random

    def act(values: list[float]) -> int:
        if uniform() < epsilon:
            return int(uniform() * actions)
        best = max(values)
        if values.count(best) == 1:
            return values.index(best)
        ties = [action for action in range(actions) if values[action] == best]
        return ties[int(uniform() * len(ties))]

    def learn() -> Iterator[int]:
        env.reset(seed=seed)
        step = env.step
        while True:
            state, _ = env.reset()
            values = table[state]
            action, ended = act(values), False
            while not ended:
                new, reward, ended, _, _ = step(action)
                following = table[new]
                if kind == "sarsa":
                    new_action = act(following)
                    target = reward + (0.0 if ended else following[new_action])
                    values[action] += alpha * (target - values[action])
                    action = new_action
                else:
                    next_value = max(following)
                    if kind == "expected-sarsa":
                        next_value = (1 - epsilon) * next_value + epsilon * sum(following) / actions
                    values[action] += alpha * (reward + (0.0 if ended else next_value) - values[action])
                    action = act(following)
                values = following
                yield 1 if ended else 0

    return table, learn()


def advance(steps: Iterator[int], number: int) -> None:
    """Take so many steps."""
    for _ in zip(range(number), steps, strict=False):
        pass


def episodes(steps: Iterator[int], number: int, after_each: Callable[[], Any] = lambda: None) -> None:
    """Go on until so many episodes have ended."""
    for ended in steps:
        if ended:
            number -= 1
            after_each()
            if not number:
                return
