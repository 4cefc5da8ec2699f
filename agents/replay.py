"""Replay memory: what was lived through, to be learned from more than once, drawn uniformly or by priority."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mprl import memory
from mprl.agents.sum_tree import SumTree
from mprl.errors import CheckpointError


class Transitions(NamedTuple):
    """N transitions.

    Attributes:
        observation, next_observation: (N, n); the latter is what was led to, never the first one of another episode.
        action: (N, ...).
        reward: (N,); of n steps, discounted and added up.
        discount: (N,), of the value of the next observation: γ^n, and 0 where the episode terminated. A truncated one did not.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor
    next_observation: Tensor


class Replay:
    """The last `capacity` transitions, on the CPU, in tensors that are allocated once.

    Args:
        capacity: how many.
        observation_size: numbers in an observation.
        action_shape, action_dtype: of one action.
        observation_dtype: that observations are kept in; they come and go as float32.

    Attributes:
        size: how many are stored.

    Raises:
        SettingError: there is not that much memory.
    """

    def __init__(
        self,
        capacity: int,
        observation_size: int,
        action_shape: tuple[int, ...] = (),
        action_dtype: torch.dtype = torch.int64,
        observation_dtype: torch.dtype = torch.float32,
    ) -> None:
        self.capacity, self.size, self._next = capacity, 0, 0
        observation = ((observation_size,), observation_dtype)
        kinds = (observation, (action_shape, action_dtype), ((), torch.float32), ((), torch.float32), observation)
        check_memory(capacity, sum(math.prod(shape) * dtype.itemsize for shape, dtype in kinds) + self._bytes_beside)
        self._stored = Transitions(*(torch.empty(capacity, *shape, dtype=dtype) for shape, dtype in kinds))

    _bytes_beside = 0  # for each transition

    def add(self, new: Transitions) -> None:
        """Store N transitions, in place of the oldest."""
        new = Transitions(*(field[-self.capacity :] for field in new))
        count, at = len(new.reward), self._next
        first = min(count, self.capacity - at)  # the rest goes to the beginning
        for stored, field in zip(self._stored, new, strict=True):
            stored[at : at + first] = field[:first]
            if first < count:
                stored[: count - first] = field[first:]
        self._next, self.size = (at + count) % self.capacity, min(self.size + count, self.capacity)

    def __getitem__(self, rows: Tensor) -> Transitions:
        """Transitions in rows (N,)."""
        chosen = Transitions(*(stored.index_select(0, rows) for stored in self._stored))
        if chosen.observation.dtype == torch.float32:
            return chosen
        return chosen._replace(observation=chosen.observation.float(), next_observation=chosen.next_observation.float())

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Rows (N,), each of those stored as likely, with replacement."""
        return torch.randint(self.size, (count,), generator=generator)

    def get_state(self) -> dict[str, Tensor]:
        """What is stored, without the part that is still empty."""
        stored = {name: field[: self.size] for name, field in zip(Transitions._fields, self._stored, strict=True)}
        return {**stored, "next": torch.tensor(self._next)}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `get_state` returned.

        Raises:
            CheckpointError: it is of another memory.
        """
        for name, field in zip(Transitions._fields, self._stored, strict=True):
            found = state[name]
            if (found.shape[1:], found.dtype) != (field.shape[1:], field.dtype) or len(found) > self.capacity:
                raise CheckpointError(f"a replay memory's {name} of {tuple(found.shape)} does not fit into {tuple(field.shape)}")
            field[: len(found)] = found
        self._next, self.size = int(state["next"]), len(state["reward"])


class PrioritizedReplay(Replay):
    """Draws transitions in proportion to a power of their last temporal-difference error (Schaul et al. 2016, arXiv 1511.05952).

    Args:
        alpha: that power; 0 is uniform.
        kinds: arguments of `Replay`.
    """

    _bytes_beside = 9  # a priority, and its part of the sums of sixteen
    _least = 1e-6  # added to every error, so that none is never seen again

    def __init__(self, capacity: int, *kinds: Any, alpha: float = 0.6) -> None:
        super().__init__(capacity, *kinds)
        self._tree, self.alpha, self._greatest = SumTree(capacity), alpha, 1.0

    def add(self, new: Transitions) -> None:
        """Store N transitions with the greatest priority there ever was, so that each is seen soon."""
        rows = np.arange(self._next, self._next + min(len(new.reward), self.capacity)) % self.capacity
        super().add(new)
        self._tree[rows] = self._greatest

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Rows (N,), one from each of N equal parts of the sum of priorities."""
        return torch.from_numpy(self._tree.sample(torch.rand(count, generator=generator, dtype=torch.float64).numpy()))

    def importance(self, rows: Tensor, beta: float) -> Tensor:
        """Weights (N,) that make up for the unequal drawing, β = 1 for all of it (section 3.4); the greatest is 1."""
        probability = self._tree[rows.numpy()] / self._tree.total
        weights = (self.size * probability) ** -beta
        return torch.from_numpy((weights / weights.max()).astype(np.float32))

    def update(self, rows: Tensor, errors: Tensor) -> None:
        """New temporal-difference errors (N,) of rows (N,)."""
        priorities = (errors.abs().double().numpy() + self._least) ** self.alpha
        self._greatest = max(self._greatest, float(priorities.max()))
        self._tree[rows.numpy()] = priorities

    def get_state(self) -> dict[str, Tensor]:
        """What is stored, and its priorities."""
        greatest = torch.tensor(self._greatest, dtype=torch.float64)
        return {**super().get_state(), "priority": torch.from_numpy(self._tree[: self.size]), "greatest": greatest}

    def set_state(self, state: dict[str, Tensor]) -> None:
        super().set_state(state)
        self._greatest = float(state["greatest"])
        self._tree[np.arange(self.size)] = state["priority"].numpy()


# --- memory -----------------------------------------------------------------------------------------------------------------


def check_memory(capacity: int, each: int) -> None:
    """Raise a `SettingError` unless `capacity` transitions of `each` bytes fit into the memory that is free."""
    fitting = int(0.8 * (memory.available() or 0) / each)
    fitting -= fitting % 10 ** max(0, len(str(fitting)) - 2)
    memory.require(capacity * each, f"a replay memory of {capacity:,} transitions", f"try buffer_size={fitting}")
