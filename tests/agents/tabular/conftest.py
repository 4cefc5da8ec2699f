"""What the tests of the book's figures share. All runs of a figure are worlds of one agent with independent tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mprl.agents.tabular.episodes import EpisodeLog


class ErrorsAt:
    """A callback: the RMS error of each world's values when it has had so many episodes (needs `iteration_steps=1`).

    Args:
        episodes: when to look.
        truth: the values of all states but the first and the last one.
    """

    def __init__(self, episodes: Any, truth: Any) -> None:
        self.episodes, self.truth = np.asarray(episodes), truth
        self.log = EpisodeLog(int(max(episodes)))
        self.errors = np.zeros((0, 0))

    def __call__(self, agent: Any, metrics: dict[str, float]) -> bool:
        if not len(self.errors):
            self.errors = np.full((agent.batch.num_worlds, len(self.episodes)), np.nan)
        before = self.log.count.copy()
        go_on = self.log(agent, metrics)
        world = np.flatnonzero(self.log.count > before) if len(before) else np.flatnonzero(self.log.count)
        for column, number in enumerate(self.episodes):
            there = world[self.log.count[world] == number]
            self.errors[there, column] = np.sqrt(((agent.values[there, 1:-1] - self.truth) ** 2).mean(axis=1))
        return go_on


@pytest.fixture
def errors_at() -> type[ErrorsAt]:
    return ErrorsAt


@pytest.fixture
def within() -> Callable[[Any, float, float], None]:
    """Assert that the mean of some runs is a known figure: to four standard errors and half a unit of its last digit."""

    def check(found: Any, expected: float, half_digit: float) -> None:
        found = np.asarray(found)
        assert found.mean() == pytest.approx(expected, abs=4 * found.std() / np.sqrt(len(found)) + half_digit)

    return check
