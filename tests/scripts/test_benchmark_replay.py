"""The benchmark of prioritised replay measures what it says."""

from __future__ import annotations

import numpy as np

from mprl.agents.sum_tree import SumTree
from mprl.scripts.benchmarks import replay


def test_the_plain_sum_tree_finds_what_ours_finds():
    rng = np.random.default_rng(0)
    priorities = rng.integers(0, 5, 300).astype(float)
    plain, ours = replay.PythonSumTree(300), SumTree(300)
    for item, priority in enumerate(priorities):
        plain.set(item, priority)
    ours[np.arange(300)] = priorities
    values = rng.random(100) * ours.total
    assert plain.sums[1] == ours.total
    assert [plain.find(value) for value in values] == ours.find(values).tolist()


def test_every_size_of_minibatch_has_its_figure(monkeypatch):
    monkeypatch.setattr(replay, "CAPACITY", 5000)
    monkeypatch.setattr(replay, "REPEATS", 1)
    found = replay.measure(seconds=0.0, threads=1)
    assert [figure.key for figure in found.figures] == [f"prioritized_{size}" for size in replay.MINIBATCHES]
    assert all(min(figure.ours, figure.peer, figure.limit) > 0 for figure in found.figures)
