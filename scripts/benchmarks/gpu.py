"""What `scripts/gpu_report.py` measures by number of worlds: bare physics, environment, PPO; and how alike both back ends are."""

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
from mprl.scripts.benchmarks.report import Figure, Target

ENVIRONMENT_TARGET, PPO_TARGET = 0.8, 0.5  # of the bare simulation's rate, of the environment's
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


def learner(envs: Any) -> Any:
    """PPO with the preset, its minibatches larger where there are more worlds."""
    from mprl.agents import PPO

    worlds = PPO.training_preset("mprl/DeepMimic-v0").get("num_envs", 512)
    return PPO(envs, seed=0, batch_size=max(1, PPO(envs).settings.batch_size * envs.num_envs // worlds))


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def sizes(motion: str, worlds: Sequence[int], device: torch.device, settings: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """An environment of each size, as far as memory goes."""
    for num_envs in worlds:
        try:
            envs = make(motion, num_envs, device, **settings)
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


def rate(step: Callable[[], Any], restart: Callable[[], Any] | None, device: torch.device, seconds: float) -> float:
    """Calls of `step` a second, the device's work included; `restart`, not timed, comes before each window of calls."""
    elapsed, calls = -1.0, 0  # the first window compiles and captures, and does not count
    while elapsed < seconds:
        if restart is not None:
            restart()
        wait(device)
        began = time.perf_counter()
        for _ in range(_WINDOW):
            step()
        wait(device)
        elapsed = 0.0 if elapsed < 0 else elapsed + time.perf_counter() - began
        calls += _WINDOW * (elapsed > 0)
    return calls / elapsed


def figure(
    num_envs: int,
    what: str,
    unit: str,
    ours: float,
    limit: float | None = None,
    against: str = "",
    less: bool = False,
    peer: float | None = None,
    share: float | None = None,
) -> Figure:
    key = f"worlds_{num_envs}{what.replace(', ', '_').replace(' ', '_')}"
    target: Target | None = None if share is None else ("ratio_to_limit", share)
    name = f"{num_envs:,} worlds{what}"
    return Figure(key, name, unit, ours, peer=peer, limit=limit, against=against, less_is_better=less, target=target)


def bare(motion: str, worlds: Sequence[int], device: torch.device, seconds: float, **settings: Any) -> Measured:
    """Simulation.step beside mujoco_warp's own step, from the reference's states. `settings` of all sections are the environment's."""
    figures = []
    for num_envs, envs in sizes(motion, worlds, device, settings):
        simulation = envs.simulation
        envs.reset(seed=0)
        start = simulation.state()
        bare_step = simulation.bare_step(physics.SUBSTEPS)
        restart = partial(simulation.set_state, start)
        ours, limit = (rate(step, restart, device, seconds) * num_envs for step in (partial(simulation.step, physics.SUBSTEPS), bare_step))
        against = "limit the same substeps by mujoco_warp.step alone, in a graph of their own"
        figures.append(figure(num_envs, "", "control steps/s", ours, limit, against))
        figures.append(_memory(num_envs, device))
    return Measured(figures, {"substeps": physics.SUBSTEPS, "motion": Path(motion).name, **describe(device)})


def environment(motion: str, worlds: Sequence[int], device: torch.device, seconds: float, **settings: Any) -> Measured:
    """Steps of the environment, resets and observations included, captured and launched one by one, beside bare physics."""
    figures = []
    against = "limit the same substeps by mujoco_warp.step alone; peer the same environment without graphs around its physics"
    for num_envs, envs in sizes(motion, worlds, device, settings):
        actions = 0.2 * torch.randn(num_envs, envs.single_action_space.shape[0], device=device)
        envs.reset(seed=0)
        ours = rate(partial(envs.step, actions), None, device, seconds) * num_envs
        captured, envs._captured = envs._captured, None
        eager = rate(partial(envs.step, actions), None, device, seconds) * num_envs if captured is not None else None
        restart = partial(envs.simulation.set_state, envs.simulation.state())
        limit = rate(envs.simulation.bare_step(physics.SUBSTEPS), restart, device, seconds) * num_envs
        figures.append(figure(num_envs, "", "control steps/s", ours, limit, against, peer=eager, share=ENVIRONMENT_TARGET))
        figures.append(_memory(num_envs, device))
    return Measured(figures, {"motion": Path(motion).name, "actions": "normal, σ .2", **describe(device)})


def ppo(motion: str, worlds: Sequence[int], device: torch.device, seconds: float, **settings: Any) -> Measured:
    """Samples a second that PPO learns from, beside the environment's steps, and memory."""
    figures, about = [], {}
    for num_envs, envs in sizes(motion, worlds, device, settings):
        agent = learner(envs)
        steps = agent.settings.n_steps
        agent.learn(steps * num_envs)  # compiles, captures, and fills the normaliser
        spent = {"time_acting": 0.0, "time_learning": 0.0}

        def note(agent: Any, metrics: dict[str, float], spent: dict[str, float] = spent) -> None:
            for key in spent:
                spent[key] += metrics[key]

        before, began = agent.num_timesteps, time.perf_counter()
        agent.learn(max_seconds=seconds, callback=note)
        wait(device)
        elapsed, samples = time.perf_counter() - began, agent.num_timesteps - before
        actions = 0.2 * torch.randn(num_envs, envs.single_action_space.shape[0], device=device)
        limit = rate(partial(envs.step, actions), None, device, seconds) * num_envs
        figures.append(figure(num_envs, "", "samples/s", samples / elapsed, limit, "limit the environment's steps", share=PPO_TARGET))
        figures.append(figure(num_envs, ", share of the time that acting takes", "", spent["time_acting"] / elapsed))
        figures.append(_memory(num_envs, device))
        about = {"n_steps": steps, "n_epochs": agent.settings.n_epochs, "hidden": agent.settings.hidden}
    about["batch_size"] = "as many minibatches as the preset has"
    return Measured(figures, {"motion": Path(motion).name, **about, **describe(device)})


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
        agent: Any = learner(envs)
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


def _memory(num_envs: int, device: torch.device) -> Figure:
    """Of the device, all of it that is taken; of a CPU the process's greatest resident set."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        used = (total - free) / GIB
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return figure(num_envs, ", memory", "GiB", used, less=True)
