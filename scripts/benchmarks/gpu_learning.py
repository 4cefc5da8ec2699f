"""What `scripts/gpu_report.py` measures of learning: how long a motion, or each of the paper's table, takes to its return."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mprl.errors import SettingError
from mprl.files import read_json, write_atomically
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.gpu import describe, learner, make, wait
from mprl.scripts.benchmarks.published import PAPER, contact_bodies
from mprl.scripts.benchmarks.report import Figure, Overview

WALK_TARGET, WALK_MINUTES = 0.97, 2.0
RESULT = "gpu_result.json"


@dataclass(frozen=True)
class Budget:
    """How long is learned.

    Attributes:
        num_envs: worlds.
        minutes: of learning, evaluations left out, after which a motion is given up.
        every: seconds of learning between two evaluations.
        episodes: in each evaluation.
    """

    num_envs: int
    minutes: float
    every: float
    episodes: int


@dataclass(frozen=True)
class Learned:
    """How far it got: the best normalised return, and the minutes of learning and millions of samples it had taken by then."""

    normalized_return: float
    minutes: float
    samples_millions: float


def walk(motion: str, device: torch.device, budget: Budget, **settings: Any) -> Measured:
    """How long it takes to learn to walk: until the normalised return of the deterministic policy is .97."""
    found = _learn(motion, device, budget, WALK_TARGET, None, **settings)
    reached = found.normalized_return >= WALK_TARGET
    told = f"until {WALK_TARGET}" if reached else f"{WALK_TARGET} was not reached; until the best"
    figures = [
        Figure("normalized_return", "normalised return of walk", "", found.normalized_return, target=("ours", WALK_TARGET)),
        Figure("minutes", f"time of training, {told}", "minutes", found.minutes, limit=WALK_MINUTES, less_is_better=True,
               against="limit the goal", target=("ratio_to_limit", 1.0) if reached else None),
        Figure("samples", f"samples, {told}", "millions", found.samples_millions, less_is_better=True),
    ]  # fmt: skip
    return Measured(figures, {"motion": Path(motion).name, **_about(budget), **describe(device)})


def paper(mocap: Path, device: torch.device, budget: Budget, out: Path) -> Measured:
    """The clips of the paper's table, each until it has the paper's normalised return. One call learns one clip, the first that is left.

    Args:
        mocap: folder of DeepMimic's `humanoid3d_*.txt`.
        out: where results and policies are kept from call to call.
    """
    files = {clip: mocap / f"humanoid3d_{clip}.txt" for clip in PAPER}
    there = [clip for clip, file in files.items() if file.is_file()]
    if not there:
        raise SettingError(f"no humanoid3d_*.txt of the paper's table in {mocap}: set MPRL_MOCAP to the folder that has them")
    left = [clip for clip in there if not (out / clip / RESULT).exists()]
    if left:
        clip = left.pop(0)
        print(f"{clip}; after it {len(left)} are left", flush=True)
        _learn(str(files[clip]), device, budget, PAPER[clip][0], out / clip, contact_bodies=contact_bodies(clip))
    rows, figures = [], []
    for clip in there:
        if (out / clip / RESULT).exists():
            found = Learned(**read_json(out / clip / RESULT, "mprl-gpu-result", "a result")["learned"])
            reached, (target, samples) = found.normalized_return >= PAPER[clip][0], PAPER[clip]
            rows.append((clip, f"{found.normalized_return:.3f}", f"{target:.3f}", f"{found.minutes:.1f}", f"{found.samples_millions:.0f}",
                         f"{samples}", "yes" if reached else "no"))  # fmt: skip
            figures.append(Figure(clip, f"normalised return of {clip}", "", found.normalized_return, peer=target,
                                  against="peer DeepMimic, table 2", target=("ratio_to_peer", 1.0)))  # fmt: skip
    columns = ("clip", "NR", "paper", "minutes", "samples, M", "paper's, M", "reached")
    return Measured(figures, {"clips left": len(left), **_about(budget), **describe(device)}, Overview(columns, rows))


def _about(budget: Budget) -> dict[str, Any]:
    return {"worlds": budget.num_envs, "given up after": f"{budget.minutes:g} minutes", "episodes": budget.episodes}


def _learn(motion: str, device: torch.device, budget: Budget, target: float, folder: Path | None, **settings: Any) -> Learned:
    """Learn until the target is reached or the time is over; the best policy and the result are written into the folder."""
    envs = make(motion, budget.num_envs, device, **settings)
    agent = learner(envs)
    act: Callable[[Any], Any] = lambda observation: agent.act(observation, deterministic=True)  # noqa: E731
    trained, best = 0.0, Learned(-1.0, 0.0, 0.0)
    while best.normalized_return < target and trained < 60 * budget.minutes:
        began = time.perf_counter()
        agent.learn(max_seconds=min(budget.every, 60 * budget.minutes - trained))
        wait(device)
        trained += time.perf_counter() - began
        reached = envs.evaluate(act, budget.episodes)["normalized_return"]
        if reached > best.normalized_return:
            best = Learned(reached, trained / 60, agent.num_timesteps / 1e6)
            if folder is not None:
                agent.save(folder)
        print(f"{trained:.0f} s, {agent.num_timesteps:,} samples: normalised return {reached:.3f}", flush=True)
    envs.close()
    if folder is not None:
        content = {"format": "mprl-gpu-result", "version": 1, "learned": asdict(best)}
        write_atomically(folder / RESULT, json.dumps(content).encode())
    return best
