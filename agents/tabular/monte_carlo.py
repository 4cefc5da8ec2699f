"""Monte Carlo methods: learning from whole episodes (Sutton & Barto, chapter 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mprl.agents.tabular.behaviour import Policy, at, epsilon_greedy, expected_value
from mprl.agents.tabular.checks import probabilities
from mprl.agents.tabular.controller import Controller, ControlSettings
from mprl.agents.tabular.learner import Moved, TabularLearner, check_choice
from mprl.errors import SettingError
from mprl.nn.schedules import Scheduled

Array = NDArray[Any]
MEMORY_LIMIT = 2**30  # bytes of open episodes


@dataclass(frozen=True)
class MonteCarloSettings(ControlSettings):
    """Settings of Monte Carlo methods."""

    learning_rate: Scheduled | None = None
    """Step size α in (0, 1]; None: sample averages."""
    task: str = "control"
    """control: find a good policy; prediction: what a given one is worth."""
    visits: str = "first"
    """first: an episode counts once for each state (and action) in it; every: as often as it was there."""
    importance_sampling: str = "none"
    """none: on-policy; weighted or ordinary: the policy that acts is another one than is learned about."""
    exploring_starts: bool = False
    """The first action of an episode is any."""
    truncated: str = "bootstrap"
    """Episodes that were cut off count with the value of what they led to (bootstrap), or not at all (discard)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("task", self.task, ("control", "prediction"))
        check_choice("visits", self.visits, ("first", "every"))
        check_choice("importance_sampling", self.importance_sampling, ("none", "ordinary", "weighted"))
        check_choice("truncated", self.truncated, ("bootstrap", "discard"))
        if self.importance_sampling == "weighted" and self.learning_rate is not None:
            raise SettingError("weighted importance sampling is a weighted average: leave learning_rate at None")
        if self.importance_sampling == "ordinary" and self.task == "control":
            raise SettingError("off-policy control needs importance_sampling='weighted'")


def returns(rewards: Array, last_value: Array, discount: float) -> Array:
    """G = R + γ G', backwards: rewards (T, E), the last one first; (T, E)."""
    found = np.empty_like(rewards)
    for k, reward in enumerate(rewards):
        last_value = found[k] = reward + discount * last_value
    return found


class MonteCarlo(Controller):
    """Monte Carlo prediction and control (Sutton & Barto, 5.1 to 5.7). See `MonteCarloSettings`.

    Control acts ε-greedily and learns what that is worth (5.4), with `exploring_starts` and ε = 0 as in 5.3; with
    `importance_sampling="weighted"` it learns what greedy actions are worth instead (5.7), from the tails of episodes, which needs an
    `initial_value` below all returns. Prediction learns the worth of `policy` while `behaviour` acts.

    Args:
        policy: to be evaluated, (S, A) or (S,); by default all actions are as likely. Given, the task is prediction.
        behaviour: that acts, (S, A) or (S,), with importance sampling; by default all actions are as likely.
    """

    name = "monte-carlo"
    Settings = MonteCarloSettings
    _common = ("policy", "behaviour")
    _given: Any = None
    _behaviour: Any = None

    def __init__(
        self, env: Any, seed: int = 0, device: Any = None, policy: Any = None, behaviour: Any = None, available: Any = None, **settings: Any
    ) -> None:
        self._given, self._behaviour = policy, behaviour
        if policy is not None:
            settings = {"task": "prediction", **settings}
        super().__init__(env, seed, device, available, **settings)

    # --- tables ---------------------------------------------------------------------------------------------------------------

    @property
    def predicts(self) -> bool:
        """Whether the task is prediction."""
        return bool(self.settings.task == "prediction")

    def _counts(self, *shape: int) -> Array:
        return super()._counts(*shape).astype(np.float64)  # they may be sums of weights

    def _arrays(self) -> dict[str, Array]:
        if not self.predicts:
            if self._given is not None or self._behaviour is not None:
                raise SettingError("a policy and behaviour are given for task='prediction'; control makes its own")
            return super()._arrays()
        shape = (self.num_states, self.num_actions)
        off_policy = self.settings.importance_sampling != "none"
        if self._behaviour is not None and not off_policy:
            raise SettingError("a behaviour other than the policy needs importance_sampling='weighted' or 'ordinary'")
        uniform = np.full(shape, 1 / self.num_actions)
        policy = uniform if self._given is None else probabilities(self._given, shape)
        behaviour = policy if not off_policy else uniform if self._behaviour is None else probabilities(self._behaviour, shape)
        uncovered = np.argwhere((policy > 0) & (behaviour <= 0))
        if len(uncovered):
            state, action = uncovered[0]
            raise SettingError(f"behaviour never takes action {action} in state {state}, which the policy takes")
        values = np.full((1, self.num_states), self.settings.initial_value)
        return {"values": values, "counts": self._counts(self.num_states), "policy": policy, "behaviour": behaviour}

    @property
    def values(self) -> Array:
        """What the states are worth, (S,); with independent tables (W, S)."""
        if not self.predicts:
            return super().values
        values = self.table["values"]
        return values[0] if self.settings.tables == "shared" else values

    @property
    def policy(self) -> Array:
        """The policy that is evaluated, or the greedy one, (S, A)."""
        return self.table["policy"] if self.predicts else super().policy

    def _probabilities(self, state: Array, deterministic: bool) -> Array:
        return self.policy[state] if self.predicts else super()._probabilities(state, deterministic)

    def _metrics(self) -> dict[str, float]:
        return TabularLearner._metrics(self) if self.predicts else super()._metrics()

    # --- acting ---------------------------------------------------------------------------------------------------------------

    def _memory(self) -> dict[str, Array]:
        worlds = self.batch.num_worlds
        self._weighted_control = not self.predicts and self.settings.importance_sampling != "none"
        return {
            **self._room(64),
            "began": np.zeros(worlds, np.int64),  # when the open episodes did
            "clock": np.zeros(1, np.int64),
            "next_chance": np.ones(worlds),
        }

    def _room(self, steps: int) -> dict[str, Array]:
        """Steps by time modulo their number: table entries of state and action, rewards, chance of the action."""
        shape = (steps, self.batch.num_worlds)
        room = {"entry": np.zeros(shape, np.int64), "reward": np.zeros(shape)}
        return room | {"chance": np.ones(shape)} if self._weighted_control else room

    def _begin_iteration(self) -> None:
        self._weighted_control = not self.predicts and self.settings.importance_sampling != "none"
        if not self.predicts:
            super()._begin_iteration()
        else:
            TabularLearner._begin_iteration(self)
            self._drawer = Policy(self.table["behaviour"])
            self._values, self._visits = self.table["values"].ravel(), self.table["counts"].ravel()
        self._updates.distinct = False  # an episode may come to a state several times

    def _behave(self, row: Array) -> Array:
        if self.predicts:
            return self._drawer.draw(row if self.num_tables == 1 else row % self.num_states, self._uniform(len(row)))
        ranking, where = self._ranked(row)
        action = epsilon_greedy(ranking, where, self._epsilon, self._uniform(len(row)))
        if self.settings.exploring_starts:
            first = np.flatnonzero(self.memory["began"] == self.memory["clock"])
            if len(first):
                action[first] = epsilon_greedy(ranking, where[first], 1.0, self._uniform(len(first)))
        if self._weighted_control:
            best = ranking.values[where, action] == ranking.best[where]
            chance = self._epsilon / at(ranking.choices, where) + (1 - self._epsilon) * best / ranking.ties[where]
            self.memory["next_chance"] = chance
        return action

    # --- learning -------------------------------------------------------------------------------------------------------------

    def _learn(self, moved: Moved, row: Array) -> Array:
        memory = self.memory
        now = int(memory["clock"][0])
        self._make_room(now)
        slot = now % len(memory["entry"])
        memory["entry"][slot, moved.world] = moved.row * self.num_actions + moved.action
        memory["reward"][slot, moved.world] = moved.reward
        if self._weighted_control:
            memory["chance"][slot] = memory["next_chance"]
        memory["clock"][0] = now + 1
        if len(moved.ended):
            ended = moved.ended
            if self.settings.truncated == "discard":
                ended = ended[moved.terminated[ended]]
            if len(ended):
                self._learn_from(moved.ids[ended], self._last_value(moved, ended))
            memory["began"][moved.ids[moved.ended]] = now + 1
        if not isinstance(moved.world, slice):
            began = memory["began"][moved.world].copy()
            memory["began"][:] = now + 1
            memory["began"][moved.world] = began
        return self._behave(row)

    def _make_room(self, now: int) -> None:
        memory, steps = self.memory, len(self.memory["entry"])
        if now - int(memory["began"].min()) < steps:
            return
        bigger = self._room(2 * steps)
        size = sum(array.nbytes for array in bigger.values())
        if size > MEMORY_LIMIT:
            raise SettingError(
                f"an episode of {self.env_id} has not ended after {steps} steps: Monte Carlo learns when they do, and to remember more "
                f"in {self.batch.num_worlds} worlds takes {size / 2**30:.1f} GiB; limit them (gymnasium.wrappers.TimeLimit)"
            )
        time = np.arange(now - steps, now)
        for name, array in bigger.items():
            array[time % (2 * steps)] = memory[name][time % steps]
        memory |= bigger

    def _last_value(self, moved: Moved, ended: Array) -> Array:
        """What the last states of episodes are worth: nothing if terminal."""
        row = moved.next_row[ended]
        if self.predicts:
            value = self._values.take(row)
        else:
            ranking, where = self._ranked(row)
            value = (ranking.best if self._weighted_control else expected_value(ranking, self._epsilon)).take(where)
        return np.where(moved.terminated[ended], 0.0, value)

    def _learn_from(self, world: Array, last_value: Array) -> None:
        """Learn from the whole episodes of some worlds."""
        memory = self.memory
        now, length = int(memory["clock"][0]), memory["clock"] - memory["began"][world]
        back = np.arange(int(length.max()))[:, None]  # steps before the last one
        slot = (now - 1 - back) % len(memory["entry"])
        entry, within = memory["entry"][slot, world], back < length
        target = returns(memory["reward"][slot, world], last_value, self.settings.gamma)
        if self._weighted_control:
            self._off_policy_control(entry, within, target, memory["chance"][slot, world])
            return
        weight = np.ones_like(target)
        if self.predicts and self.settings.importance_sampling != "none":
            ratio = (self.table["policy"] / np.maximum(self.table["behaviour"], 1e-300)).ravel()
            weight = np.cumprod(np.where(within, ratio.take(entry % ratio.size), 1.0), axis=0)  # of the actions from a step to the last
        if self.predicts:
            entry = entry // self.num_actions
        counted = np.flatnonzero(within.ravel())[::-1]  # in the order of time
        if self.settings.visits == "first":
            episode = np.broadcast_to(np.arange(len(world)), entry.shape).ravel()[counted]
            counted = counted[np.unique(entry.ravel()[counted] * len(world) + episode, return_index=True)[1]]
        entry, target, weight = entry.ravel()[counted], target.ravel()[counted], weight.ravel()[counted]
        if self.settings.importance_sampling == "weighted":
            self._weighted_average(entry, target, weight)
        else:
            self._updates(self._values, entry, weight * target, self._visits)
        self._ranking = None

    def _weighted_average(self, entry: Array, target: Array, weight: Array) -> None:
        """C ← C + W, Q ← Q + W / C (G - Q) (Sutton & Barto, 5.8)."""
        some = weight > 0
        entry, target, weight = entry[some], target[some], weight[some]
        change = weight * (target - self._values.take(entry))
        np.add.at(self._visits, entry, weight)
        np.add.at(self._values, entry, change / self._visits.take(entry))

    def _off_policy_control(self, entry: Array, within: Array, target: Array, chance: Array) -> None:
        """Sutton & Barto, 5.7: from the last step back to the one whose action was not greedy."""
        weight = np.ones(entry.shape[1])
        for k in range(len(entry)):
            episode = np.flatnonzero(within[k] & (weight > 0))
            at_k = entry[k, episode]
            self._weighted_average(at_k, target[k, episode], weight[episode])
            greedy = self._q.take(at_k // self.num_actions, axis=0).argmax(axis=1) == at_k % self.num_actions
            weight[episode] *= greedy / chance[k, episode]
        self._ranking = None
