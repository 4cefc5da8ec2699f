"""A sum tree draws in proportion to priorities, exactly as adding them up one by one would."""

from __future__ import annotations

import numpy as np
import pytest

from mprl.agents.sum_tree import SumTree

SIZES = [1, 2, 16, 17, 300, 5000]


def by_adding_up(priorities: np.ndarray, values: np.ndarray) -> list[int]:
    """For each value the first item at which the running sum goes beyond it."""
    found = []
    for value in values:
        total = 0.0
        for item, priority in enumerate(priorities):
            total += priority
            if value < total:
                found.append(item)
                break
    return found


@pytest.mark.parametrize("size", SIZES)
def test_items_are_found_as_by_adding_up(size):
    rng = np.random.default_rng(0)
    priorities = rng.integers(0, 4, size).astype(float)  # whole numbers: both ways of adding them are exact; some are 0
    priorities[0] += 1
    tree = SumTree(size)
    tree[np.arange(size)] = priorities
    assert tree.total == priorities.sum()
    values = np.append(rng.random(50), [0.0, 1 - 1e-16]) * tree.total
    assert tree.find(values).tolist() == by_adding_up(priorities, values)


@pytest.mark.parametrize("size", SIZES)
def test_the_sum_stays_exact_over_thousands_of_changes(size):
    """Sums that follow their changes would drift away."""
    rng = np.random.default_rng(1)
    tree, priorities = SumTree(size), np.zeros(size)
    for _ in range(300):
        items = rng.integers(0, size, 20)
        new = 10.0 ** rng.uniform(-8, 8, 20)
        tree[items] = new
        for item, value in zip(items, new, strict=True):  # of an item named twice the later priority stays
            priorities[item] = value
        assert (tree[np.arange(size)] == priorities).all()
        assert tree.total == pytest.approx(priorities.sum(), rel=1e-14)
    tree[np.arange(size)] = 0.0
    assert tree.total == 0.0


def test_what_has_no_priority_is_never_drawn():
    rng = np.random.default_rng(2)
    priorities = np.where(rng.random(1000) < 0.9, 0.0, 10.0 ** rng.uniform(-300, 300, 1000))
    tree = SumTree(1000)
    tree[np.arange(1000)] = priorities
    drawn = tree.sample(rng.random(100_000))
    assert (priorities[drawn] > 0).all()
    assert (priorities[tree.find(np.array([0.0, tree.total, 2 * tree.total]))] > 0).all()  # rounding leads behind the last at most


def test_items_are_drawn_as_often_as_their_priority_says():
    priorities = np.array([1.0, 0.0, 2.0, 5.0] * 50)
    tree = SumTree(200)
    tree[np.arange(200)] = priorities
    rng = np.random.default_rng(3)
    counts = np.bincount(np.concatenate([tree.sample(rng.random(64)) for _ in range(4000)]), minlength=200)
    assert counts / counts.sum() == pytest.approx(priorities / priorities.sum(), abs=4e-4)


def test_one_is_drawn_from_each_equal_part():
    """Stratified: of four items of one priority, four draws give each of them once."""
    tree = SumTree(4)
    tree[np.arange(4)] = 0.7
    assert tree.sample(np.array([0.0, 0.99, 0.5, 0.1])).tolist() == [0, 1, 2, 3]
