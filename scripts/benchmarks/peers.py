"""PPO against what people use today, in one run: Stable-Baselines3 and a loop in the manner of CleanRL, on theirs and on our batch."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from mprl.scripts.benchmarks import physics
from mprl.scripts.benchmarks.environment import COPIES, Measured, single_copy
from mprl.scripts.benchmarks.learning import Learner, Limit
from mprl.scripts.benchmarks.loops import Sb3, SingleLoop
from mprl.scripts.benchmarks.report import Figure, alternate, medians

# Key, name, and by how much ours should be faster.
PEERS = (
    ("sb3_processes", f"Stable-Baselines3, SubprocVecEnv of {COPIES}", 5.0),
    ("sb3_batch", "Stable-Baselines3 on our batch", 1.5),
    ("cleanrl_processes", f"CleanRL-style, AsyncVectorEnv of {COPIES}", None),
    ("cleanrl_sync", f"CleanRL-style, SyncVectorEnv of {COPIES}", None),
    ("cleanrl_batch", "CleanRL-style on our batch", None),
)


def measure(motion: str, num_envs: int | None, threads: int, seconds: float, round_seconds: float, peer_steps: int) -> Measured:
    """All figures of `mprl benchmark peers`; the arguments are those of `mprl benchmark ppo`."""
    from stable_baselines3.common.vec_env import SubprocVecEnv

    from mprl.envs import to_sb3

    learner = Learner(motion, num_envs, threads, round_seconds)
    s, worlds = learner.agent.settings, learner.envs.num_envs
    copies: list[Any] = [functools.partial(single_copy, motion)] * COPIES
    same_step: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}
    batch = gym.make_vec("mprl/DeepMimic-v0", num_envs=worlds, motion=motion, num_threads=threads, **same_step)
    envs = {
        "sb3_processes": SubprocVecEnv(copies, start_method="spawn"),
        "sb3_batch": to_sb3(physics.make(motion, worlds, threads)),
        "cleanrl_processes": gym.vector.AsyncVectorEnv(copies, context="spawn", **same_step),
        "cleanrl_sync": gym.vector.SyncVectorEnv(copies, **same_step),
        "cleanrl_batch": batch,
    }
    try:
        ways: dict[str, Callable[[], float]] = {"ours": learner.round, "limit": Limit(learner, threads).round}
        for key, env in envs.items():
            loop: Any = Sb3 if key.startswith("sb3") else SingleLoop
            ways[key] = loop(env, s, s.n_steps if key.endswith("batch") else peer_steps).round
        rates = alternate(ways, 0.0, least=max(3, round(seconds / round_seconds)))
    finally:
        for env in (learner.envs, *envs.values()):
            env.close()
    m = medians(rates)
    figures = [
        Figure(
            key, f"ours beside {name}", "samples/s", m["ours"], m[key], m["limit"], "limit Batch.step and networks alone",
            target=None if least is None else ("ratio_to_peer", least), rounds={"ours": rates["ours"], "peer": rates[key]},
        )
        for key, name, least in PEERS
    ]  # fmt: skip
    settings = {"motion": Path(motion).name, "worlds": worlds, "threads": threads, "hidden": s.hidden, "n_steps": s.n_steps}
    settings |= {"batch_size": s.batch_size, "n_epochs": s.n_epochs, f"n_steps of {COPIES} copies": peer_steps}
    settings["our hidden layers"] = "bfloat16, theirs float32" if learner.agent.model.reduced else "float32"
    settings["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "not set")
    return Measured(figures, settings)
