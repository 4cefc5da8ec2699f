"""How fast the environment is: beside the bare physics, Gymnasium's Humanoid-v5, and single copies in processes."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from mprl.errors import SettingError
from mprl.scripts.benchmarks import physics
from mprl.scripts.benchmarks.report import Figure, Overview, alternate, medians
from mprl.scripts.evaluate import OF_TRAINING

COPIES = 2
GIB = 2**30
# A burst has to be short against what disturbs it, and long against the clock.
BURST_SECONDS = 0.4
_WINDOW, _SETTLE = 20, 150


@dataclass(frozen=True)
class Measured:
    """What `measure` found, what it was run with, and what sums it up: see `Report`."""

    figures: list[Figure]
    settings: dict[str, Any]
    overview: Overview | None = None


def measure(
    motion: str, agent_folder: Path | None, train_seconds: float, num_envs: int, memory_worlds: int, threads: int, seconds: float
) -> Measured:
    """All figures of `mprl benchmark env`.

    Args:
        motion: of a policy that is trained here.
        agent_folder: of a policy that is there already; its environment's settings are taken too.
        train_seconds: for the policy that is trained here.
        num_envs: worlds.
        memory_worlds: worlds whose memory is measured.
        threads: of the simulation and of torch.
        seconds: for each of the two comparisons of speed.
    """
    envs, agent, motion = policy(motion, agent_folder, train_seconds, num_envs, threads)
    try:
        observation = envs.reset(seed=0)[0]
        with torch.no_grad():
            for _ in range(_SETTLE if train_seconds or agent_folder else 1):
                observation = envs.step(agent.act(observation))[0]
            window = physics.record(envs, observation, agent.act, _WINDOW)
        settings = {"motion": Path(motion).name, "worlds": num_envs, "threads": threads, "policy": _describe(agent, agent_folder)}
        settings["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "not set")
        figures = [*_batch(envs, window, motion, threads, seconds), _single(envs, window, motion, seconds)]
    finally:
        envs.close()
    return Measured([*figures, *_memory(motion, memory_worlds, threads)], settings)


def policy(motion: str, folder: Path | None, train_seconds: float, num_envs: int, threads: int) -> tuple[Any, Any, str]:
    """Environment, policy, and the motion that it imitates."""
    from mprl.agents import PPO, load_agent
    from mprl.agents.checkpoints import read_config

    if folder is not None:
        config = read_config(folder)
        if config["env_id"] != "mprl/DeepMimic-v0":
            raise SettingError(f"{folder}: expected an agent of mprl/DeepMimic-v0, found one of {config['env_id']}")
        kept = {key: value for key, value in config["env_kwargs"].items() if key not in (*OF_TRAINING, "num_threads")}
        found = kept.pop("motion", motion)
        envs = physics.make(found, num_envs, threads, **kept)
        return envs, load_agent(folder, envs), found if isinstance(found, str) else str(found[0])
    envs = physics.make(motion, num_envs, threads)
    agent = PPO(envs, seed=0)
    if train_seconds:
        agent.learn(max_seconds=train_seconds)
    return envs, agent, motion


def _describe(agent: Any, folder: Path | None) -> str:
    return f"{agent.num_timesteps / 1e6:.1f} M samples" + (f" ({folder.name})" if folder else "")


def _batch(envs: Any, window: physics.Window, motion: str, threads: int, seconds: float) -> list[Figure]:
    """The batch, the bare physics and the copies in processes, in turn."""
    bare = physics.BarePhysics(envs.model, envs.num_envs, threads)
    # its own processes, not forked ones: a fork of a process that uses OpenMP may hang
    copies = gym.vector.AsyncVectorEnv([functools.partial(single_copy, motion)] * COPIES, context="spawn")
    try:
        copies.reset(seed=0)
        actions = window.actions[:, [world % envs.num_envs for world in range(COPIES)]].numpy()
        ways: dict[str, Callable[[], float]] = {
            "ours": lambda: physics.replay(envs, window),
            "limit": lambda: bare.replay(window.states),
            "limit_current": lambda: bare.replay(window.states, physics.CURRENT),
            "peer": lambda: COPIES * rate(lambda t: copies.step(actions[t % len(actions)])),
        }
        rates = alternate(ways, seconds)
    finally:
        copies.close()
    m = medians(rates)
    unit, worlds, others = "control steps/s", f"step() of {envs.num_envs} worlds", f"AsyncVectorEnv of {COPIES} single copies"
    plain, current = f"Batch.step(nstep={physics.SUBSTEPS})", f"Batch.step(nstep={physics.SUBSTEPS}, stage=mjSTAGE_VEL)"
    return [
        Figure(
            "step", worlds, unit, m["ours"], m["peer"], m["limit"], f"limit {plain}; peer {others}",
            target=("ratio_to_limit", 0.85), rounds=rates,
        ),
        Figure(
            "step_current_fields", f"{worlds}, fields current", unit, m["ours"], limit=m["limit_current"],
            against=f"limit {current}: with positions and velocities of the new state",
        ),
        Figure(
            "step_against_async", f"{worlds}, processes", unit, m["ours"], m["peer"], against=f"peer {others}",
            target=("ratio_to_peer", 5.0),
        ),
    ]  # fmt: skip


def _single(envs: Any, window: physics.Window, motion: str, seconds: float) -> Figure:
    """One world through `gym.make` and Humanoid-v5, in physics substeps: both act at random and are reset when they fall."""
    ours, humanoid = gym.make("mprl/DeepMimic-v0", motion=motion), gym.make("Humanoid-v5")
    try:
        skip = int(humanoid.unwrapped.frame_skip)  # type: ignore[attr-defined]
        states = window.states[:, 0]
        ways: dict[str, Callable[[], float]] = {
            "ours": lambda: physics.SUBSTEPS * rate(_random_player(ours)),
            "peer": lambda: skip * rate(_random_player(humanoid)),
            "limit": lambda: physics.single_world(envs.model, states, BURST_SECONDS / 4),
        }
        rates = alternate(ways, seconds)
    finally:
        ours.close()
        humanoid.close()
    m = medians(rates)
    return Figure(
        "single_world", "one world", "physics substeps/s", m["ours"], m["peer"], m["limit"],
        "NumPy, random actions, resets included; limit mj_step; peer Humanoid-v5", target=("ratio_to_peer", 0.5), rounds=rates,
    )  # fmt: skip


def single_copy(motion: str) -> gym.Env[Any, Any]:
    """One world, in a process of its own."""
    import mprl  # noqa: F401  registers it there

    torch.set_num_threads(1)
    return gym.make("mprl/DeepMimic-v0", motion=motion)


def _random_player(env: gym.Env[Any, Any]) -> Callable[[int], None]:
    space = env.action_space
    assert isinstance(space, gym.spaces.Box)
    actions = np.random.default_rng(0).uniform(space.low, space.high, (256, *space.shape)).astype(space.dtype)
    env.reset(seed=0)

    def step(number: int) -> None:
        _, _, terminated, truncated, _ = env.step(actions[number % len(actions)])
        if terminated or truncated:
            env.reset()

    return step


def rate(step: Callable[[int], Any]) -> float:
    """Calls a second, over a burst."""
    began, number = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < BURST_SECONDS or not number:
        step(number)
        number += 1
    return number / elapsed


# --- memory ------------------------------------------------------------------------------------------------------------------


def _memory(motion: str, worlds: int, threads: int) -> list[Figure]:
    """Resident set of an environment, and of the bare physics, each in a fresh process; nothing where the system does not tell."""
    ours, bare = (_in_fresh_process(motion, worlds, threads, what) for what in ("ours", "limit"))
    if ours is None or bare is None:
        return []
    less: dict[str, Any] = {"less_is_better": True, "target": ("ours", 2.0)}
    against = "growth of the resident set, motion library included; limit the bare Batch"
    what = f"memory of {worlds} worlds"
    return [
        Figure("memory", what, "GiB", ours[0], limit=bare[0], against=against, **less),
        Figure("memory_process", f"{what}, whole process", "GiB", ours[1], limit=bare[1], against="with Python, torch and MuJoCo", **less),
    ]


def _in_fresh_process(motion: str, worlds: int, threads: int, what: str) -> tuple[float, float] | None:
    code = f"from mprl.scripts.benchmarks.environment import growth; growth({motion!r}, {worlds}, {threads}, {what!r})"
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise RuntimeError(f"the process that measures memory failed:\n{done.stderr}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return tuple(answer) if answer else None


def growth(motion: str, worlds: int, threads: int, what: str) -> None:
    """Print the peak of the resident set, GiB: over what it was after the imports and a first world, and all of it."""
    torch.set_num_threads(threads)
    one = physics.make(motion, 1, threads)
    one.reset(seed=0)
    before = resident("VmRSS")
    if what == "ours":
        envs = physics.make(motion, worlds, threads)
        envs.reset(seed=0)
        for _ in range(_WINDOW):
            envs.step(torch.zeros(worlds, envs.model.nu))
    else:
        physics.BarePhysics(one.model, worlds, threads).batch.step(nstep=_WINDOW)
    after = resident("VmHWM")
    print(json.dumps(None if before is None or after is None else [(after - before) / GIB, after / GIB]))


def resident(field: str) -> int | None:
    """Bytes of the resident set now (VmRSS) or at its highest (VmHWM); None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
