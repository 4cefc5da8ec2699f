"""Planning with large models: modified policy iteration beside QuantEcon's, to the same accuracy, in the same run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from mprl import extras
from mprl.agents import ModifiedPolicyIteration, TabularMDP
from mprl.scripts.benchmarks.environment import GIB, resident
from mprl.scripts.benchmarks.report import Figure, alternate, medians

DISCOUNT, EPSILON = 0.99, 1e-3  # values within ε / 2, a policy within ε of the best
STATES, ACTIONS, SUCCESSORS, SIDE = 100_000, 4, 10, 300
MOST_SECONDS, MOST_GIB = 60.0, 24.0  # for a million states
Model = tuple[sp.csr_array, NDArray[np.float64]]
"""Probabilities (S·A, S) and rewards (S, A)."""


def figures(seconds: float, states: int) -> list[Figure]:
    """All figures.

    Args:
        seconds: for each comparison.
        states: of the largest model.

    Raises:
        MissingPackageError: no QuantEcon.
    """
    found = [_compared("random", f"{STATES:,} random states", random_model(STATES), seconds)]
    for key, where, goal in (
        ("grid", "in the lower right corner", SIDE**2 - 1),
        ("grid_middle", "in the middle", SIDE**2 // 2 + SIDE // 2),
    ):
        found.append(_compared(key, f"{SIDE} x {SIDE} grid, goal {where}", grid_model(SIDE, goal), seconds))
    return [*found, *_largest(states)]


def random_model(states: int, seed: int = 0) -> Model:
    """Each action leads to 10 states with random probabilities, and has a random reward in [0, 1]."""
    rng = np.random.default_rng(seed)
    rows = states * ACTIONS
    successors = rng.integers(0, states, rows * SUCCESSORS, dtype=np.int32)
    p = rng.random((rows, SUCCESSORS))
    p /= p.sum(1, keepdims=True)
    first = np.arange(0, rows * SUCCESSORS + 1, SUCCESSORS, dtype=np.int32)
    return sp.csr_array((p.ravel(), successors, first), shape=(rows, states)), rng.random((states, ACTIONS))


def grid_model(side: int, goal: int, slip: float = 0.1) -> Model:
    """Up, right, down, left, to either side of that with probability `slip`; off the grid the cell stays. −1 a step until the goal."""
    cells = np.arange(side**2)
    row, column = np.divmod(cells, side)
    moved = [
        np.clip(row + down, 0, side - 1) * side + np.clip(column + right, 0, side - 1) for down, right in ((-1, 0), (0, 1), (1, 0), (0, -1))
    ]
    rows, columns, p = [], [], []
    for action in range(ACTIONS):
        for turn, probability in ((0, 1 - 2 * slip), (1, slip), (-1, slip)):
            rows.append(cells * ACTIONS + action)
            columns.append(np.where(cells == goal, goal, moved[(action + turn) % ACTIONS]))
            p.append(np.full(side**2, probability))
    rewards = np.full((side**2, ACTIONS), -1.0)
    rewards[goal] = 0.0
    indices = np.concatenate(rows).astype(np.int32), np.concatenate(columns).astype(np.int32)
    return sp.csr_array((np.concatenate(p), indices), shape=(side**2 * ACTIONS, side**2)), rewards


def ours(model: Model) -> Callable[[], NDArray[np.float64]]:
    """Makes the model now; then solves it, as often as it is called."""
    planner = ModifiedPolicyIteration(TabularMDP.from_sparse(*model, DISCOUNT))
    return lambda: planner.solve(EPSILON / 2).values


def quantecon(model: Model) -> Callable[[], NDArray[np.float64]]:
    """The same with QuantEcon: its formulation for sparse models, its fastest method, no limit to its iterations."""
    markov = extras.load("quantecon.markov", "this benchmark needs", "peers")
    transitions, rewards = model
    states, actions = (indices.ravel() for indices in np.indices(rewards.shape))
    problem = markov.DiscreteDP(rewards.ravel(), sp.csr_matrix(transitions), DISCOUNT, states, actions)
    return lambda: problem.solve(method="modified_policy_iteration", epsilon=EPSILON, max_iter=1_000_000).v


def _compared(key: str, what: str, model: Model, seconds: float) -> Figure:
    ways = {"ours": ours(model), "peer": quantecon(model)}
    mine, theirs = (way() for way in ways.values())
    if not np.abs(mine - theirs).max() <= EPSILON:
        raise RuntimeError(f"{what}: the values differ by {np.abs(mine - theirs).max():.3g}")
    rounds = alternate({name: lambda way=way: _seconds(way) for name, way in ways.items()}, seconds)  # type: ignore[misc]
    found = medians(rounds)
    return Figure(
        key, what, "s", found["ours"], found["peer"], against=_AGAINST, less_is_better=True, target=("ratio_to_peer", 1.0), rounds=rounds
    )


_AGAINST = (
    f"{ACTIONS} actions, γ {DISCOUNT}, a policy proven to be within {EPSILON:g} of the best; peer QuantEcon's modified policy iteration, "
    "to the same accuracy; the models are made beforehand"
)


def _seconds(way: Callable[[], Any]) -> float:
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


# --- the largest ------------------------------------------------------------------------------------------------------------------


def _largest(states: int) -> list[Figure]:
    """Time and memory of one very large random model, in a fresh process for each."""
    (mine, mine_gib), (theirs, theirs_gib) = (_in_fresh_process(name, states) for name in ("ours", "quantecon"))
    what = f"{states:,} random states"
    less: dict[str, Any] = {"less_is_better": True}
    against = f"{ACTIONS} actions, γ {DISCOUNT}, to the same accuracy, once; making the models, and the peer's compilation, included"
    return [
        Figure("largest", what, "s", mine, theirs, against=against, target=("ours", MOST_SECONDS), **less),
        Figure(
            "largest_memory", f"{what}, memory", "GiB", mine_gib, theirs_gib, against="peak of the whole process, peer QuantEcon's",
            target=("ours", MOST_GIB), **less,
        ),
    ]  # fmt: skip


def _in_fresh_process(way: str, states: int) -> tuple[float, float]:
    code = f"from mprl.scripts.benchmarks.planning import once; once({way!r}, {states}, {torch.get_num_threads()})"
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise RuntimeError(f"the process with the largest model failed:\n{done.stderr}")
    seconds, gib = json.loads(done.stdout.splitlines()[-1])
    return seconds, gib


def once(way: str, states: int, threads: int) -> None:
    """Print how long a random model took to be made and solved, s, and the peak of the resident set, GiB."""
    torch.set_num_threads(threads)
    model = random_model(states)
    began = time.perf_counter()
    {"ours": ours, "quantecon": quantecon}[way](model)()
    print(json.dumps([time.perf_counter() - began, (resident("VmHWM") or 0) / GIB]))
