"""Many control steps in one process: the memory it takes must stay flat, every number finite, no world diverge."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mprl.scripts.benchmarks.environment import Measured, policy, resident
from mprl.scripts.benchmarks.report import Figure
from mprl.scripts.plots import read_metrics

# Control steps of all worlds between a change from random actions to the policy's, and back.
TURN = 64
# KiB in a million control steps: 6 MiB over 10⁸ of them, a tenth of what 4096 worlds take.
SLOPE_LIMIT = 64.0
# Share of the rows that memory is left to settle in: caches fill, libraries are loaded.
SETTLING = 0.1


@dataclass(frozen=True)
class Row:
    """Where a soak has come to, and what it counted since its beginning."""

    steps: int
    seconds: float
    resident_kib: float
    episodes: int
    diverged: int
    not_finite: int


def measure(motion: str, agent: Path | None, steps: float, every: float, num_envs: int, threads: int, out: Path) -> Measured:
    """All figures of `mprl benchmark soak`. Ctrl-C ends it early; the figures are then of the steps that were made.

    Args:
        motion: of a policy that has learned nothing, whose actions are nearly 0.
        agent: run folder of another policy and its environment.
        steps: control steps over all worlds.
        every: steps between two rows of `out`.
        num_envs: worlds. threads: of the simulation.
        out: the CSV; every row is there as soon as it is known.
    """
    envs, player, motion = policy(motion, agent, 0.0, num_envs, threads)
    names = [field.name for field in fields(Row)]
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(names)
            for row in soak(envs, player.act, int(steps), int(every)):
                csv.writer(file).writerow(astuple(row))
                file.flush()
                print(
                    f"{row.steps / 1e6:.1f} M steps · {row.seconds / 60:.1f} min · {row.resident_kib / 1024:.1f} MiB · "
                    f"{row.episodes:,} episodes · {row.diverged} diverged · {row.not_finite} not finite",
                    flush=True,
                )
    except KeyboardInterrupt:
        print("Stopped; these are the figures so far.")
    finally:
        envs.close()
    columns = read_metrics(out)
    rows = [Row(*(float(columns[name][i]) for name in names)) for i in range(len(columns.get("steps", ())))]  # type: ignore[arg-type]
    if not rows:
        raise KeyboardInterrupt
    settings = {"motion": Path(motion).name, "worlds": num_envs, "threads": threads, "policy": agent.name if agent else "untrained"}
    return Measured(summarise(rows, steps), settings)


def soak(envs: Any, act: Callable[[Tensor], Tensor], steps: int, every: int) -> Iterator[Row]:
    """Step an environment, at random and by a policy in turn; a `Row` after every so many steps and at the end."""
    worlds, began = envs.num_envs, time.perf_counter()
    random = torch.Generator().manual_seed(0)
    observation = envs.reset(seed=0)[0]
    done, told, counts = 0, 0, torch.zeros(3, dtype=torch.long)
    for number in itertools.count():
        if number // TURN % 2:
            with torch.no_grad():
                action = act(observation)
        else:
            action = 2.0 * torch.rand(worlds, envs.model.nu, generator=random) - 1.0
        observation, reward, terminated, truncated, info = envs.step(action)
        finite = torch.isfinite(observation).all(dim=1) & torch.isfinite(reward)
        counts += torch.stack([count.sum() for count in (terminated | truncated, info["terminated_diverged"], ~finite)])
        done += worlds
        if done - told >= every or done >= steps:
            told = done
            yield Row(done, time.perf_counter() - began, (resident("VmRSS") or 0) / 1024, *counts.tolist())
        if done >= steps:
            return


def slope(rows: Sequence[Row]) -> float:
    """KiB of resident memory in a million steps, by least squares over what follows the settling."""
    after = rows[int(SETTLING * len(rows)) :]
    if len(after) < 2:
        return 0.0
    steps, memory = np.array([row.steps / 1e6 for row in after]), np.array([row.resident_kib for row in after])
    return float(np.polyfit(steps, memory, 1)[0])


def summarise(rows: Sequence[Row], asked: float) -> list[Figure]:
    """What a soak found."""
    last, settled = rows[-1], rows[int(SETTLING * len(rows))]
    figures = [Figure("steps", "control steps", "millions", last.steps / 1e6, limit=asked / 1e6, target=("ours", asked / 1e6))]
    less: dict[str, Any] = {"less_is_better": True}
    if last.resident_kib:  # told by this system
        figures += [
            Figure(
                "memory_slope", "growth of the memory", "KiB per million steps", slope(rows), target=("ours", SLOPE_LIMIT),
                against=f"least squares over the resident set, after the first {SETTLING:.0%}", **less,
            ),
            Figure("memory_growth", "the same, over the whole soak", "MiB", (last.resident_kib - settled.resident_kib) / 1024, **less),
            Figure("memory", "memory at the end", "MiB", last.resident_kib / 1024, **less),
        ]  # fmt: skip
    return [
        *figures,
        Figure("diverged", "worlds that diverged", "", float(last.diverged), target=("ours", 0.0), **less),
        Figure("not_finite", "observations or rewards not finite", "", float(last.not_finite), target=("ours", 0.0), **less),
        Figure("episodes", "episodes", "millions", last.episodes / 1e6),
        Figure("rate", "control steps a second", "1/s", last.steps / last.seconds),
    ]
