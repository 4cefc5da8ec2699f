"""What tabular learners share: tables, acting in all worlds at once, and the interface of every other agent.

Many worlds are stepped together, and no Python loop goes over them. They share one table (`tables="shared"`): what one of them finds out
all know at the next step. Or each has its own (`"independent"`): as many runs of an experiment at once, each of them exactly as if it
were alone.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mprl import memory
from mprl.agents.agent import Agent
from mprl.agents.tabular.episodes import Episodes
from mprl.agents.tabular.lookup import LookUp
from mprl.agents.tabular.states import StateBatch, States
from mprl.agents.tabular.tables import Table, Updates
from mprl.errors import CheckpointError, SettingError
from mprl.generators import generator_state, set_generator_state
from mprl.nn import schedules
from mprl.nn.schedules import Scheduled

Array = NDArray[Any]


@dataclass(frozen=True)
class TabularSettings:
    """Settings of every tabular learner."""

    learning_rate: Scheduled | None = 0.1
    """Step size α in (0, 1]; "linear 0.5 0.01 100000" changes it over so many environment steps; None: sample averages, 1 / visits."""
    gamma: float = 0.99
    """Discount of the future."""
    tables: str = "shared"
    """shared: all worlds learn one table; independent: each its own, as so many runs at once."""
    initial_value: float = 0.0
    """What everything is worth at first; a high one makes greedy agents explore."""
    iteration_steps: int = 256
    """Steps in every world between two rows of metrics; schedules change as often."""

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            check_schedule("learning_rate", self.learning_rate, above=0.0)
        if not 0 <= self.gamma <= 1:
            raise SettingError(f"gamma must be in [0, 1], found {self.gamma}")
        check_choice("tables", self.tables, ("shared", "independent"))
        if self.iteration_steps < 1:
            raise SettingError(f"iteration_steps must be at least 1, found {self.iteration_steps}")


class Moved(NamedTuple):
    """One step of the worlds that took one, n of W.

    Attributes:
        row, next_row: of the table, for the state that was left and the one it led to, (n,).
        action, reward, terminated, truncated: (n,).
        world: which worlds these are: an index array, or all of them as a slice.
        ended: which of the n ended their episode, as indices.
    """

    row: Array
    action: Array
    reward: Array
    next_row: Array
    terminated: Array
    truncated: Array
    world: Any
    ended: Array

    @property
    def ids(self) -> Array:
        """Which worlds these are, (n,)."""
        return np.arange(len(self.row)) if isinstance(self.world, slice) else self.world


class TabularLearner(Agent):
    """An agent that keeps a number for every state or for every state and action.

    Args:
        env: a Gymnasium environment, single or vector; observations in a Discrete, MultiDiscrete or Tuple of Discrete space, actions in
            a Discrete one.
        seed: of everything random in the agent, and of the environment's first reset.
        settings: fields of `Settings`.
    """

    Settings = TabularSettings
    action_spaces = (gym.spaces.Discrete,)
    settings: Any
    statistics: Any

    # --- what a learner adds --------------------------------------------------------------------------------------------------

    @abstractmethod
    def _learn(self, moved: Moved, row: Array) -> Array:
        """Learn from a step, and choose what to do next in each world's row (W,): actions (W,)."""

    @abstractmethod
    def _behave(self, row: Array) -> Array:
        """Actions (n,) in rows of the table, (n,), as learning wants them."""

    @abstractmethod
    def _arrays(self) -> dict[str, Array]:
        """What is learned, by name; first axis: tables."""

    def _memory(self) -> dict[str, Array]:
        """What is remembered of the open episodes, by name, when all of them begin."""
        return {}

    # --- tables -------------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        if self.device.type != "cpu":
            raise SettingError(f"tabular agents learn on the CPU, found device {self.device}")
        self.states = States(self.observation_space)
        assert isinstance(self.action_space, gym.spaces.Discrete)
        self.num_states, self.num_actions = self.states.number, int(self.action_space.n)
        self.random = np.random.default_rng((self.seed, 1))  # the seed alone would draw the same numbers as the environment
        self._require_memory(1)
        self.table = Table(**self._arrays())
        self._mean: tuple[int, Array] | None = None
        self._block, self._drawn = np.zeros((0, 0)), 0

    def _make_batch(self, env: Any, device: torch.device | None = None) -> StateBatch:
        return StateBatch(env)

    def set_env(self, env: Any) -> None:
        """Learn in this environment from now on; its spaces must be those the agent was made for."""
        super().set_env(env)
        worlds = self.batch.num_worlds
        independent = self.settings.tables == "independent"
        tables = self.num_tables
        if independent and tables == 1 and not self.num_timesteps:
            self._require_memory(worlds)
            arrays = self.table.arrays
            arrays |= {name: np.repeat(array, worlds, axis=0) for name, array in arrays.items() if name not in self._common}
        elif independent and tables != worlds:
            self.batch = None
            raise CheckpointError(f"{tables} independent tables were learned, one for each world, the environment has {worlds} worlds")
        self.statistics = Episodes(worlds)
        self._updates = Updates(distinct=independent)
        self._offset = np.arange(worlds) * self.num_states if independent and worlds > 1 else None
        self.memory: dict[str, Array] = {}

    def _require_memory(self, tables: int) -> None:
        what = f"{f'learning {tables:,} tables' if tables > 1 else 'a table'} of {self.num_states:,} states x {self.num_actions:,} actions"
        memory.require(8 * tables * self.num_states * self.num_actions, what, "make fewer states with a wrapper, or take a deep agent")

    _common: tuple[str, ...] = ("policy",)  # arrays that all tables share

    @property
    def num_tables(self) -> int:
        """1, or with independent tables the number of worlds."""
        return next(len(array) for name, array in self.table.arrays.items() if name not in self._common)

    def _row(self, state: Array) -> Array:
        """Rows of the table for the states of all worlds, (W,)."""
        return state.copy() if self._offset is None else state + self._offset  # an environment may use its array again

    def _counts(self, *shape: int) -> Array:
        """Visits, for step sizes of 1 / visits; empty where the step size is given."""
        return np.zeros((int(self.settings.learning_rate is None), *shape), np.int64)

    # --- acting ---------------------------------------------------------------------------------------------------------------

    def _first_observation(self) -> Any:
        state: Any = super()._first_observation()
        self.memory = self._memory()
        self._begin_iteration()
        self.memory["action"] = self._behave(self._row(state))
        return state

    def _begin_iteration(self) -> None:
        rate = self.settings.learning_rate
        self._updates.begin(None if rate is None else schedules.value(rate, self.num_timesteps))
        self._block, self._drawn = np.zeros((0, 0)), 0

    def _samples_per_iteration(self) -> int:
        return int(self.settings.iteration_steps) * int(self.batch.num_worlds)

    def _iteration(self) -> dict[str, float]:
        self._begin_iteration()
        row, memory = self._row(self.observation), self.memory
        for _ in range(self.settings.iteration_steps):
            action = memory["action"]
            step = self.batch.step(action)
            self.observation = step.observation
            next_row = self._row(step.observation)
            led_to = next_row if step.final_observation is None else self._row(step.final_observation)
            ended = (step.terminated | step.truncated).nonzero()[0]
            if step.valid is self.batch.every_world or step.valid.all():
                self.statistics.add(step.reward, ended, None)
                moved = Moved(row, action, step.reward, led_to, step.terminated, step.truncated, slice(None), ended)
            else:
                self.statistics.add(step.reward, ended, np.flatnonzero(~step.valid))
                moved = self._of_those_that_stepped(step, row, action, led_to)
            memory["action"] = self._learn(moved, next_row)
            row = next_row
        return self.statistics.take() | self._metrics()

    @staticmethod
    def _of_those_that_stepped(step: Any, row: Array, action: Array, led_to: Array) -> Moved:
        world = np.flatnonzero(step.valid)
        terminated, truncated = step.terminated[world], step.truncated[world]
        ended = np.flatnonzero(terminated | truncated)
        return Moved(row[world], action[world], step.reward[world], led_to[world], terminated, truncated, world, ended)

    def _metrics(self) -> dict[str, float]:
        """What is told of an iteration besides how the episodes went."""
        rate = self._updates.step_size
        return {} if rate is None else {"learning_rate": rate}

    def _uniform(self, number: int) -> Array:
        """A random number in [0, 1) for each of so many worlds; drawn in blocks, since small draws are dear."""
        if number != self.batch.num_worlds:
            return self.random.random(number)
        if self._drawn == len(self._block):
            rows = max(1, min(self.settings.iteration_steps, 16384 // number))
            self._block, self._drawn = self.random.random((rows, number)), 0
        self._drawn += 1
        return self._block[self._drawn - 1]

    # --- predicting -------------------------------------------------------------------------------------------------------------

    @abstractmethod
    def _probabilities(self, state: Array, deterministic: bool) -> Array:
        """Probabilities of the actions, (n, A)."""

    def _averaged(self, name: str) -> Array:
        """An array of the table without its first axis: the mean of independent ones."""
        array = self.table[name]
        if len(array) == 1:
            return array[0]
        if self._mean is None or self._mean[0] != self.num_timesteps:
            self._mean = self.num_timesteps, array.mean(axis=0)
        return self._mean[1]

    def _choose(self, observation: Any, deterministic: bool) -> Any:
        probability = self._probabilities(observation, deterministic)
        if deterministic:
            return probability.argmax(axis=1)
        return (self.random.random((len(probability), 1)) >= np.cumsum(probability, axis=1)[:, :-1]).sum(axis=1)

    def policy_module(self) -> nn.Module:
        best = self._probabilities(np.arange(self.num_states), deterministic=True).argmax(axis=1) + int(self.action_space.start)
        return LookUp(self.states.sizes, best)

    def predict(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False) -> tuple[Any, Any]:
        """Actions for one observation or a batch of them, as the environment gives them, and `state`.

        Args:
            observation: one, or a batch as of a vector environment.
            deterministic: the best action, the lowest of equals, rather than one as in learning.
        """
        try:
            states = self.states(observation)
            known = states.ndim < 2 and bool(((states >= 0) & (states < self.num_states)).all())
        except (TypeError, ValueError):
            known = False
        if not known:
            found = " ".join(str(observation).split())[:60]
            raise SettingError(f"expected an observation of {self.observation_space} or a batch of them, found {found}")
        action = self._choose(np.atleast_1d(states), deterministic) + int(self.action_space.start)
        action = action.astype(self.action_space.dtype)
        if isinstance(observation, Tensor):
            action = torch.from_numpy(action)
        return (action if states.ndim else action[0]), state

    # --- saving ---------------------------------------------------------------------------------------------------------------

    def _networks(self) -> dict[str, nn.Module]:
        return {"table": self.table}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {}

    def _extra_state(self) -> dict[str, Tensor]:
        memory = self.memory if self.observation is not None else {}
        return {
            "random": torch.from_numpy(generator_state(self.random)),
            **{f"memory.{name}": torch.from_numpy(array) for name, array in memory.items()},
        }

    def _restore_extra_state(self, tensors: dict[str, Tensor]) -> None:
        set_generator_state(self.random, tensors["random"].numpy())
        prefix = "memory."
        self.memory = {name.removeprefix(prefix): tensor.numpy().copy() for name, tensor in tensors.items() if name.startswith(prefix)}


def check_schedule(name: str, setting: Scheduled, above: float | None = None) -> None:
    """Raise a `SettingError` unless a setting stays in [0, 1], and above a bound where there is one."""
    low, high = schedules.bounds(setting)
    if not (low >= 0 and high <= 1) or (above is not None and not low > above):
        raise SettingError(f"{name} must be in {'[' if above is None else '('}0, 1], found {setting}")


def check_choice(name: str, found: str, choices: tuple[str, ...]) -> None:
    """Raise a `SettingError` unless a setting is one of some names."""
    if found not in choices:
        raise SettingError(f"{name} must be {' or '.join(choices)}, found '{found}'")
