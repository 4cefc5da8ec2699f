"""Whether episodes on a GPU are those of the CPU: the same policy, the same distribution of return, length and tracking error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure, Overview

# Least probability, of each of the three comparisons, at which two samples are taken for samples of one distribution.
LEAST = 0.01
METRICS = ("return", "length", "tracking error")
Act = Callable[[Tensor], Tensor]


def episodes(envs: Any, act: Act, seed: int) -> dict[str, NDArray[np.float64]]:
    """One episode in every world, from random phases.

    Args:
        envs: a `DeepMimicVectorEnv`, torch output, autoreset DISABLED.
        act: observations (W, n) -> actions (W, nu); may be random.
        seed: of the phases.

    Returns:
        `return`, `length` in control steps and mean `tracking error` in mm of each episode, (W,).
    """
    observation, _ = envs.reset(seed=seed)
    alive = torch.ones(envs.num_envs, device=envs.device)
    total, length, error = (torch.zeros(envs.num_envs, dtype=torch.float64, device=envs.device) for _ in METRICS)
    while alive.any():
        observation, reward, terminated, truncated, info = envs.step(act(observation))
        total += alive * reward
        length += alive
        error += alive * info["tracking_error"]
        alive *= (~(terminated | truncated)).float()
    found = (total, length, 1e3 * error / length)
    return {name: value.numpy(force=True) for name, value in zip(METRICS, found, strict=True)}


def compare(gpu: dict[str, NDArray[np.float64]], cpu: dict[str, NDArray[np.float64]]) -> Measured:
    """Means with their standard errors, and the Kolmogorov-Smirnov test of each metric's two samples."""
    from scipy.stats import ks_2samp

    rows, figures = [], []
    for name in METRICS:
        mine, its = gpu[name], cpu[name]
        errors = [float(values.std(ddof=1) / np.sqrt(len(values))) for values in (mine, its)]
        apart = float((mine.mean() - its.mean()) / max(np.hypot(errors[0], errors[1]), 1e-12))
        same = float(ks_2samp(mine, its).pvalue)
        cells = (f"{values.mean():.2f} ± {error:.2f}" for values, error in zip((mine, its), errors, strict=True))
        rows.append((name, *cells, f"{apart:+.1f}", f"{same:.2f}"))
        what, rounds = f"{name}: one distribution", {"ours": mine.tolist(), "peer": its.tolist()}
        figures.append(Figure(name.replace(" ", "_"), what, "probability", same, target=("ours", LEAST), rounds=rounds))
    overview = Overview(("of an episode", "mujoco_warp", "MuJoCo", "difference, standard errors", "Kolmogorov-Smirnov p"), rows)
    return Measured(figures, {"episodes": len(gpu["return"])}, overview)
