"""Prioritised replay: a minibatch drawn and its priorities renewed, beside a sum tree of plain Python and beside uniform drawing."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mprl.agents.replay import PrioritizedReplay, Replay, Transitions
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure, alternate, medians

CAPACITY, OBSERVATION_SIZE = 1_000_000, 8
MINIBATCHES = (32, 256, 2048)
ALPHA, BETA, LEAST = 0.6, 0.4, 1e-6
REPEATS = 20


class PythonSumTree:
    """A binary sum tree, an item at a time, as most implementations have it (Schaul et al. 2016, appendix B)."""

    def __init__(self, capacity: int) -> None:
        self.leaves = 1
        while self.leaves < capacity:
            self.leaves *= 2
        self.sums = [0.0] * (2 * self.leaves)

    def set(self, item: int, priority: float) -> None:
        """Change a priority, and the sums above it."""
        node = item + self.leaves
        self.sums[node] = priority
        while node > 1:
            node //= 2
            self.sums[node] = self.sums[2 * node] + self.sums[2 * node + 1]

    def find(self, value: float) -> int:
        """The item whose share of [0, total) a value falls into."""
        node = 1
        while node < self.leaves:
            node *= 2
            if value >= self.sums[node]:
                value -= self.sums[node]
                node += 1
        return node - self.leaves


def measure(seconds: float, threads: int) -> Measured:
    """All figures of `mprl benchmark replay`.

    Args:
        seconds: for each size of minibatch.
        threads: of torch, for the record.
    """
    memories = Replay(CAPACITY, OBSERVATION_SIZE), PrioritizedReplay(CAPACITY, OBSERVATION_SIZE, alpha=ALPHA)
    plain, generator = PythonSumTree(CAPACITY), torch.Generator().manual_seed(0)
    observation, number = torch.zeros(CAPACITY, OBSERVATION_SIZE), torch.zeros(CAPACITY)
    for memory in memories:
        memory.add(Transitions(observation, number.long(), number, number, observation))
    errors = torch.from_numpy(np.random.default_rng(0).exponential(size=CAPACITY))
    memories[1].update(torch.arange(CAPACITY), errors)
    for item, error in enumerate(errors.tolist()):
        plain.set(item, (error + LEAST) ** ALPHA)
    figures = []
    for size in MINIBATCHES:
        new = errors[:size]
        ways: dict[str, Callable[[], float]] = {
            "ours": functools.partial(_rate, _prioritized, memories[1], size, generator, new),
            "peer": functools.partial(_rate, _in_python, memories[1], size, generator, new, plain),
            "limit": functools.partial(_rate, _uniform, memories[0], size, generator),
        }
        rates = alternate(ways, seconds)
        m = medians(rates)
        against = "peer the same with a sum tree of plain Python; limit uniform drawing; all with the transitions, all from a million"
        what = f"minibatches of {size:,} drawn by priority"
        figures.append(Figure(f"prioritized_{size}", what, "1/s", m["ours"], m["peer"], m["limit"], against, rounds=rates))
    return Measured(figures, {"transitions": CAPACITY, "numbers in an observation": OBSERVATION_SIZE, "threads": threads})


def _rate(draw: Callable[..., object], *arguments: object) -> float:
    """Minibatches a second."""
    began = time.perf_counter()
    for _ in range(REPEATS):
        draw(*arguments)
    return REPEATS / (time.perf_counter() - began)


def _uniform(memory: Replay, size: int, generator: torch.Generator) -> object:
    return memory[memory.sample(size, generator)]


def _prioritized(memory: PrioritizedReplay, size: int, generator: torch.Generator, errors: Tensor) -> object:
    rows = memory.sample(size, generator)
    drawn = memory[rows], memory.importance(rows, BETA)
    memory.update(rows, errors)
    return drawn


def _in_python(memory: Replay, size: int, generator: torch.Generator, errors: Tensor, tree: PythonSumTree) -> object:
    total = tree.sums[1]
    rows = [tree.find((part + share) * total / size) for part, share in enumerate(torch.rand(size, generator=generator).tolist())]
    weights = [(CAPACITY * tree.sums[tree.leaves + row] / total) ** -BETA for row in rows]
    greatest = max(weights)
    drawn = memory[torch.tensor(rows)], torch.tensor([weight / greatest for weight in weights])
    for row, error in zip(rows, errors.tolist(), strict=True):
        tree.set(row, (error + LEAST) ** ALPHA)
    return drawn
