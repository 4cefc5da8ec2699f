"""What `scripts/gpu_report.py` measures: the simulation alone, the environment, PPO and learning to walk, by number of worlds."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mprl.errors import DeviceError
from mprl.scripts.benchmarks import parity as comparison
from mprl.scripts.benchmarks import physics
from mprl.scripts.benchmarks.environment import GIB, Measured
from mprl.scripts.benchmarks.report import Figure

WALK_TARGET = 0.97
_WINDOW = 16  # control steps between two looks at the clock


def make(motion: str, num_envs: int, device: torch.device, **settings: Any) -> Any:
    """The environment on the GPU's back end, on Warp's CPU device too."""
    return physics.make(motion, num_envs, 1, device=str(device), backend="warp", **settings)


def describe(device: torch.device) -> dict[str, str]:
    """The device, and the versions that matter there."""
    import mujoco_warp
    import warp

    name = "Warp's CPU device"
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name = f"{properties.name}, {properties.total_memory / GIB:.0f} GiB, CUDA {torch.version.cuda}"
    return {"device": name, "mujoco_warp": mujoco_warp.__version__, "warp": warp.__version__}


def bare(motion: str, worlds: Sequence[int], device: torch.device, seconds: float) -> Measured:
    """Simulation.step beside mujoco_warp's own step, from the reference's states."""
    figures = []
    for num_envs, envs in _sizes(motion, worlds, device):
        simulation = envs.simulation
        envs.reset(seed=0)
        start = simulation.state()
        bare_step = simulation.bare_step(physics.SUBSTEPS)
        restart = partial(simulation.set_state, start)
        ours, limit = (_rate(step, restart, device, seconds) * num_envs for step in (partial(simulation.step, physics.SUBSTEPS), bare_step))
        against = "limit the same substeps by mujoco_warp.step alone, in a graph of their own"
        figures.append(_figure(num_envs, "", "control steps/s", ours, limit, against))
        figures.append(_memory(num_envs, device))
    return Measured(figures, {"substeps": physics.SUBSTEPS, "motion": Path(motion).name, **describe(device)})


def environment(motion: str, worlds: Sequence[int], device: torch.device, seconds: float) -> Measured:
    """Steps of the environment, resets and observations included, beside the simulation's alone."""
    figures = []
    for num_envs, envs in _sizes(motion, worlds, device):
        actions = 0.2 * torch.randn(num_envs, envs.single_action_space.shape[0], device=device)
        envs.reset(seed=0)
        ours = _rate(partial(envs.step, actions), None, device, seconds) * num_envs
        restart = partial(envs.simulation.set_state, envs.simulation.state())
        limit = _rate(partial(envs.simulation.step, physics.SUBSTEPS), restart, device, seconds) * num_envs
        figures.append(_figure(num_envs, "", "control steps/s", ours, limit, "limit the simulation alone, from the same states"))
        figures.append(_memory(num_envs, device))
    return Measured(figures, {"motion": Path(motion).name, "actions": "normal, σ .2", **describe(device)})


def ppo(motion: str, worlds: Sequence[int], device: torch.device, seconds: float) -> Measured:
    """Samples a second that PPO learns from, and memory."""
    figures, settings = [], {}
    for num_envs, envs in _sizes(motion, worlds, device):
        agent = _learner(envs)
        steps = agent.settings.n_steps
        agent.learn(steps * num_envs)  # compiles, captures, and fills the normaliser
        spent = {"time_acting": 0.0, "time_learning": 0.0}

        def note(agent: Any, metrics: dict[str, float], spent: dict[str, float] = spent) -> None:
            for key in spent:
                spent[key] += metrics[key]

        before, began = agent.num_timesteps, time.perf_counter()
        agent.learn(max_seconds=seconds, callback=note)
        _wait(device)
        elapsed, samples = time.perf_counter() - began, agent.num_timesteps - before
        figures.append(_figure(num_envs, "", "samples/s", samples / elapsed))
        figures.append(_figure(num_envs, ", share of the time that acting takes", "", spent["time_acting"] / elapsed))
        figures.append(_memory(num_envs, device))
        settings = {"n_steps": steps, "n_epochs": agent.settings.n_epochs, "hidden": agent.settings.hidden}
    settings["batch_size"] = "as many minibatches as the preset has"
    return Measured(figures, {"motion": Path(motion).name, **settings, **describe(device)})


def walk(motion: str, num_envs: int, device: torch.device, minutes: float, every: float, episodes: int) -> Measured:
    """How long it takes to learn to walk: until the normalised return of the deterministic policy is .97.

    Args:
        minutes: after which it is given up, evaluations left out.
        every: seconds of training between two evaluations.
        episodes: in each evaluation.
    """
    envs = make(motion, num_envs, device)
    agent = _learner(envs)
    trained, best = 0.0, 0.0
    while best < WALK_TARGET and trained < 60 * minutes:
        began = time.perf_counter()
        agent.learn(max_seconds=min(every, 60 * minutes - trained))
        _wait(device)
        trained += time.perf_counter() - began
        found = envs.evaluate(lambda observation: agent.act(observation, deterministic=True), episodes)
        best = max(best, found["normalized_return"])
        print(f"{trained:.0f} s, {agent.num_timesteps:,} samples: normalised return {found['normalized_return']:.3f}", flush=True)
    told = f"until {WALK_TARGET}" if best >= WALK_TARGET else f"{WALK_TARGET} was not reached"
    figures = [
        Figure("normalized_return", "normalised return of walk", "", best, target=("ours", WALK_TARGET)),
        Figure("minutes", f"time of training, {told}", "minutes", trained / 60, less_is_better=True),
        Figure("samples", f"samples, {told}", "millions", agent.num_timesteps / 1e6, less_is_better=True),
    ]
    return Measured(figures, {"motion": Path(motion).name, "worlds": num_envs, "episodes": episodes, **describe(device)})


def parity(motion: str, folder: Path | None, device: torch.device, episodes: int, time_limit: float, minutes: float) -> Measured:
    """Episodes of one policy, drawn from its distribution, on both back ends.

    Args:
        folder: run folder of the policy; None to train one here for `minutes` minutes.
        time_limit: of an episode, s.
    """
    from mprl.agents import load_agent
    from mprl.agents.checkpoints import read_config
    from mprl.scripts import environments, evaluate

    settings: dict[str, Any] = {"motion": motion}
    if folder is None:
        envs = make(motion, 4096 if device.type == "cuda" else 16, device)
        agent: Any = _learner(envs)
        agent.learn(max_seconds=60 * minutes)
        envs.close()
    else:
        agent = load_agent(folder, device=device)
        settings = evaluate.settings_of(read_config(folder))
    settings |= {"time_limit": time_limit, "output": "torch", "autoreset_mode": "DISABLED"}

    def play(seed: int, on: str, backend: str) -> Any:
        envs = environments.make("mprl/DeepMimic-v0", episodes, on, **settings, backend=backend)
        try:
            return comparison.episodes(envs.unwrapped, lambda o: agent.act(o.to(agent.device)), seed)
        finally:
            envs.close()

    found = comparison.compare(play(0, str(device), "warp"), play(1, "cpu", "mujoco"))
    about = {"motion": Path(str(settings["motion"])).name, "policy": f"{agent.num_timesteps / 1e6:.1f} M samples", "time limit": time_limit}
    return Measured(found.figures, {**found.settings, **about, **describe(device)}, found.overview)


# --- inside -----------------------------------------------------------------------------------------------------------------


def _learner(envs: Any) -> Any:
    """PPO with the preset, its minibatches larger where there are more worlds."""
    from mprl.agents import PPO

    worlds = PPO.training_preset("mprl/DeepMimic-v0").get("num_envs", 512)
    return PPO(envs, seed=0, batch_size=max(1, PPO(envs).settings.batch_size * envs.num_envs // worlds))


def _sizes(motion: str, worlds: Sequence[int], device: torch.device) -> Iterator[tuple[int, Any]]:
    """An environment of each size, as far as memory goes."""
    for num_envs in worlds:
        try:
            envs = make(motion, num_envs, device)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if isinstance(error, DeviceError) or num_envs == worlds[0]:
                raise
            print(f"{num_envs} worlds do not fit: {' '.join(str(error).split())[:200]}", flush=True)
            return
        print(f"{num_envs} worlds", flush=True)
        yield num_envs, envs
        envs.close()
        del envs
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _rate(step: Callable[[], Any], restart: Callable[[], Any] | None, device: torch.device, seconds: float) -> float:
    """Calls of `step` a second, the device's work included; `restart`, not timed, comes before each window of calls."""
    elapsed, calls = -1.0, 0  # the first window compiles and captures, and does not count
    while elapsed < seconds:
        if restart is not None:
            restart()
        _wait(device)
        began = time.perf_counter()
        for _ in range(_WINDOW):
            step()
        _wait(device)
        elapsed = 0.0 if elapsed < 0 else elapsed + time.perf_counter() - began
        calls += _WINDOW * (elapsed > 0)
    return calls / elapsed


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory(num_envs: int, device: torch.device) -> Figure:
    """Of the device, all of it that is taken; of a CPU the process's greatest resident set."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        used = (total - free) / GIB
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return _figure(num_envs, ", memory", "GiB", used, less=True)


def _figure(num_envs: int, what: str, unit: str, ours: float, limit: float | None = None, against: str = "", less: bool = False) -> Figure:
    key = f"worlds_{num_envs}{what.replace(', ', '_').replace(' ', '_')}"
    return Figure(key, f"{num_envs:,} worlds{what}", unit, ours, limit=limit, against=against, less_is_better=less)
