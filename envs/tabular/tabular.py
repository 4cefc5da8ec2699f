"""Environments with finitely many states and exactly known dynamics: what those of Sutton & Barto's book have in common.

    env = gymnasium.make("mprl/Cliff-v0").unwrapped
    env.P[36][1]                    # [(1.0, 36, -100.0, False)]: probability, next state, reward, terminated
    env.initial_state_distrib[36]   # 1.0

An environment says in `outcomes` what can happen; it is stepped from that, and `P` is the same, all of it, in the format of
Gymnasium's own tabular environments. So a planner and a learner see the same problem.
"""

from __future__ import annotations

import functools
from bisect import bisect
from itertools import accumulate
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mprl.errors import ActionError, unknown_name
from mprl.generators import generator_state, set_generator_state

Outcome = tuple[float, int, float, bool]
"""Probability, next state, reward, and whether the next state is terminal."""


class TabularEnv(gym.Env[Any, Any]):
    """An environment of S states and A actions, stepped from its dynamics.

    Attributes:
        P: `P[state][action]` is a list of (probability, next state, reward, terminated); terminal states stay what they are.
        initial_state_distrib: probability of each state to be the first, (S,).
        terminal: which states end the episode, (S,) bool.
        available: which actions the book allows in which state, (S, A) bool; None: all of them. Others are no error: what they
            do is in `P` and in the environment's docstring.
        reward_std: standard deviation of normal noise on the reward of each state and action, (S, A); None: there is none. The
            rewards in `P` are then means.
        observations: what is seen of each state, (S,) int; None: the state.
        discount: the book's, for this problem.
        s: the present state.

    Args:
        num_states, num_actions: S and A.
        terminal: the states that end an episode.
        start: where an episode starts: a state, or the probability of each, (S,); by default any state that is not terminal.
        render_mode: "ansi" for text, "rgb_array" for frames (height, width, 3) uint8.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012
    discount = 1.0
    available: NDArray[np.bool_] | None = None
    reward_std: NDArray[np.float64] | None = None
    observations: NDArray[np.int64] | None = None

    def __init__(
        self,
        num_states: int,
        num_actions: int,
        terminal: ArrayLike = (),
        start: int | ArrayLike | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            known = self.metadata["render_modes"]
            raise unknown_name("render mode", str(render_mode), known, f"known: {', '.join(known)}")
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Discrete(num_states)
        self.action_space = gym.spaces.Discrete(num_actions)
        self.terminal = np.zeros(num_states, dtype=bool)
        self.terminal[np.asarray(terminal, dtype=int)] = True
        weights = np.zeros(num_states)
        if start is None:
            weights[~self.terminal] = 1.0
        elif isinstance(start, int):
            weights[start] = 1.0
        else:
            weights[:] = start
        self.initial_state_distrib = weights / weights.sum()
        self.s: int | None = None
        self._rows: dict[tuple[int, int], tuple[list[Outcome], list[float]]] = {}

    def outcomes(self, state: int, action: int) -> list[Outcome]:
        """What an action can lead to from a state that is not terminal; the probabilities sum to 1."""
        raise NotImplementedError

    def describe(self) -> str:
        """The present state in words, for `render_mode="ansi"`."""
        return f"state {self.s} of {self.num_states}"

    @property
    def num_states(self) -> int:
        """S; where observations hide the state, there are more states than observations."""
        return len(self.terminal)

    @property
    def num_actions(self) -> int:
        return int(self.action_space.n)  # type: ignore[attr-defined]

    @functools.cached_property
    def P(self) -> dict[int, dict[int, list[Outcome]]]:
        return {state: {action: self._outcomes(state, action) for action in range(self.num_actions)} for state in range(self.num_states)}

    def _outcomes(self, state: int, action: int) -> list[Outcome]:
        return [(1.0, state, 0.0, True)] if self.terminal[state] else self.outcomes(state, action)

    # --- Gymnasium ----------------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        cumulative = np.cumsum(self.initial_state_distrib)
        self.s = min(
            int(np.searchsorted(cumulative, self.np_random.random(), side="right")), int(np.flatnonzero(self.initial_state_distrib)[-1])
        )
        return self._seen(), {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        if self.s is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        if not self.action_space.contains(action):
            raise ActionError(f"expected an action from 0 to {self.num_actions - 1}, found {action!r}")
        at = (self.s, int(action))
        if at not in self._rows:
            outcomes = self._outcomes(*at)
            self._rows[at] = outcomes, list(accumulate(outcome[0] for outcome in outcomes))
        outcomes, cumulative = self._rows[at]
        _, self.s, reward, terminated = outcomes[bisect(cumulative, self.np_random.random(), hi=len(cumulative) - 1)]
        if self.reward_std is not None:
            reward += self.reward_std[at] * self.np_random.standard_normal()
        return self._seen(), float(reward), terminated, False, {}

    def _seen(self) -> int:
        assert self.s is not None
        return self.s if self.observations is None else int(self.observations[self.s])

    def render(self) -> str | NDArray[np.uint8] | None:
        if self.render_mode is None:
            gym.logger.warn('render() needs render_mode="ansi" or "rgb_array" when the environment is made')
            return None
        return self.describe() if self.render_mode == "ansi" else self._picture()

    def _picture(self) -> NDArray[np.uint8]:
        from mprl.envs.tabular.pictures import page

        return page(self.describe())

    def get_state(self) -> dict[str, NDArray[np.int64]]:
        """Everything that the future depends on: the present state, (1,), -1 before the first reset, and the generator's, (6,)."""
        return {"state": np.array([-1 if self.s is None else self.s]), "random": generator_state(self.np_random)}

    def set_state(self, state: dict[str, NDArray[np.int64]]) -> int | None:
        """Go on from what `get_state` returned; returns the observation."""
        self.s = int(state["state"][0])
        set_generator_state(self.np_random, state["random"])
        if self.s < 0:
            self.s = None
            return None
        return self._seen()
