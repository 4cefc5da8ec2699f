"""How episodes go in many worlds, in NumPy: the totals while they are open, and a record of those that ended."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


class Ended(NamedTuple):
    """Episodes that ended, in the order of their ends: the world, the return (not discounted), the length; (E,) each."""

    world: Array
    total: Array
    length: Array


class Episodes:
    """`EpisodeStatistics` for worlds that step in NumPy: costs a step next to nothing, whatever the number of worlds.

    Attributes:
        ended: the episodes that ended between the last two calls of `take`.
    """

    def __init__(self, num_worlds: int) -> None:
        self.num_worlds = num_worlds
        self._clock = 0
        self._total = np.zeros(num_worlds)
        self._began = np.zeros(num_worlds, np.int64)
        self._last = {"return": math.nan, "episode_length": math.nan}
        self._clear()

    def _clear(self) -> None:
        self._ends: list[tuple[Array, Array, Array]] = []
        self._before = float(self._total.sum())
        self._steps = 0

    def get_state(self) -> dict[str, Tensor]:
        """What goes on over an iteration's end: the open episodes, and the means last told."""
        last = torch.tensor(list(self._last.values()), dtype=torch.float64)
        return {"return": torch.from_numpy(self._total), "length": torch.from_numpy(self._clock - self._began), "last": last}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `get_state` returned."""
        self._total = state["return"].numpy().copy()
        self._began = self._clock - state["length"].numpy()
        self._last = dict(zip(self._last, state["last"].tolist(), strict=True))
        self._clear()

    def cut(self) -> None:
        """Forget the open episodes: they will not go on."""
        self._total = np.zeros(self.num_worlds)
        self._began = np.full(self.num_worlds, self._clock)
        self._clear()

    def add(self, reward: Array, ended: Array, not_stepped: Array | None) -> None:
        """Count a step: all rewards (W,), the worlds whose episode ended, and those that did not step at all (None: every one did)."""
        self._clock += 1
        self._total += reward
        self._steps += len(reward)
        if len(ended):
            self._ends.append((ended, self._total[ended], self._clock - self._began[ended]))
            self._total[ended] = 0.0
            self._began[ended] = self._clock
        if not_stepped is not None:
            self._began[not_stepped] = self._clock
            self._steps -= len(not_stepped)

    def take(self) -> dict[str, float]:
        """Metrics since the last call; see `EpisodeStatistics.take`."""
        none: Any = (np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))
        self.ended = Ended(*map(np.concatenate, zip(none, *self._ends, strict=True)))
        count = len(self.ended.world)
        if count:
            self._last = {"return": float(self.ended.total.mean()), "episode_length": float(self.ended.length.mean())}
        reward = float(self._total.sum()) - self._before + float(self.ended.total.sum())
        metrics = {**self._last, "episodes": float(count), "reward": reward / max(self._steps, 1)}
        self._clear()
        return metrics


class EpisodeLog:
    """A callback of a tabular learner's `learn` that keeps the first episodes of every world, and ends learning when it has them.

        log = EpisodeLog(500)
        Sarsa(env, tables="independent", iteration_steps=1).learn(1e9, callback=log)
        log.returns.mean(axis=0)  # the learning curve of the book's figure

    Args:
        episodes: of each world.

    Attributes:
        returns: of the episodes (W, episodes), nan where they have not ended yet. Not discounted.
        lengths: their steps, (W, episodes), 0 where they have not ended yet.
        count: how many have ended, (W,).
    """

    def __init__(self, episodes: int) -> None:
        self.episodes = episodes
        self.returns = self.lengths = np.zeros((0, episodes))
        self.count = np.zeros(0, np.int64)

    def __call__(self, agent: Any, metrics: dict[str, float]) -> bool:
        """Keep what ended in the last iteration; False when that was all."""
        if not len(self.count):
            worlds = agent.batch.num_worlds
            self.returns = np.full((worlds, self.episodes), np.nan)
            self.lengths = np.zeros((worlds, self.episodes), np.int64)
            self.count = np.zeros(worlds, np.int64)
        world, total, length = agent.statistics.ended
        order = np.argsort(world, kind="stable")  # by world, and within each by time
        world, total, length = world[order], total[order], length[order]
        number = self.count[world] + np.arange(len(world)) - np.searchsorted(world, world)
        kept = number < self.episodes
        self.returns[world[kept], number[kept]] = total[kept]
        self.lengths[world[kept], number[kept]] = length[kept]
        self.count += np.bincount(world, minlength=len(self.count))
        return bool((self.count < self.episodes).any())
