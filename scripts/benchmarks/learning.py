"""How many samples a second PPO learns from, end to end: beside Stable-Baselines3, and beside physics and networks alone."""

from __future__ import annotations

import copy
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mprl.nn import precision
from mprl.scripts.benchmarks import physics
from mprl.scripts.benchmarks.environment import COPIES, Measured, single_copy
from mprl.scripts.benchmarks.loops import Sb3
from mprl.scripts.benchmarks.report import Figure, alternate, medians

_WINDOW = 12


class Learner:
    """PPO with the preset, learning in short rounds; keeps what each round cost.

    Args:
        motion, num_envs, threads: of the environment; num_envs by default the preset's.
        round_seconds: after which the iteration that runs is the round's last.
    """

    def __init__(self, motion: str, num_envs: int | None, threads: int, round_seconds: float) -> None:
        from mprl.agents import PPO

        worlds = num_envs or PPO.training_preset("mprl/DeepMimic-v0").get("num_envs", 1024)
        self.envs = physics.make(motion, worlds, threads)
        self.agent = PPO(self.envs, seed=0)
        self.round_seconds = round_seconds
        self.acting: list[float] = []  # samples/s of each round
        self.learning: list[float] = []

    def round(self) -> float:
        """Samples/s of a round."""
        spent = {"time_acting": 0.0, "time_learning": 0.0}

        def note(agent: Any, metrics: dict[str, float]) -> None:
            for key in spent:
                spent[key] += metrics[key]

        before, began = self.agent.num_timesteps, time.perf_counter()
        self.agent.learn(max_seconds=self.round_seconds, callback=note)
        elapsed, samples = time.perf_counter() - began, self.agent.num_timesteps - before
        self.acting.append(samples / spent["time_acting"])
        self.learning.append(samples / spent["time_learning"])
        return samples / elapsed


class Limit:
    """The physics of the states that a learner has come to, and its networks forward and backward; nothing else.

    Args:
        learner: whose states and networks.
        threads: of the physics.
    """

    def __init__(self, learner: Learner, threads: int) -> None:
        self.learner = learner
        self.bare = physics.BarePhysics(learner.envs.model, learner.envs.num_envs, threads)
        self.acting: list[float] = []
        self.learning: list[float] = []

    def round(self) -> float:
        """Samples/s if physics and networks were all there is."""
        envs, agent = self.learner.envs, self.learner.agent
        assert agent.observation is not None  # the learner has had its round
        here = envs.get_state()
        with torch.no_grad():
            window = physics.record(envs, agent.observation, agent.act, _WINDOW)
        envs.set_state(here)
        forward, learning = _networks(agent, envs.num_envs)
        acting = 1 / (1 / self.bare.replay(window.states) + forward)
        self.acting.append(acting)
        self.learning.append(1 / learning)
        return 1 / (1 / acting + learning)


def _networks(agent: Any, worlds: int, repeats: int = 8) -> tuple[float, float]:
    """Seconds a sample: the policy forward in a batch of all worlds; policy and value forward and backward in every epoch."""
    s = agent.settings
    actor, critic = copy.deepcopy(agent.model.actor), copy.deepcopy(agent.model.critic)
    acted, learned = torch.randn(worlds, agent.observation_size), torch.randn(s.batch_size, agent.observation_size)
    run = functools.partial(precision.forward, bfloat16=agent.model.reduced)
    began = time.perf_counter()
    with torch.no_grad():
        for _ in range(repeats):
            run(actor, acted)
    forward = (time.perf_counter() - began) / (repeats * worlds)
    began = time.perf_counter()
    for _ in range(repeats):
        (run(actor, learned).square().mean() + run(critic, learned).square().mean()).backward()
    return forward, s.n_epochs * (time.perf_counter() - began) / (repeats * s.batch_size)


def measure(motion: str, num_envs: int | None, threads: int, seconds: float, round_seconds: float, peer_steps: int) -> Measured:
    """All figures of `mprl benchmark ppo`.

    Args:
        motion: what is learned.
        num_envs: worlds of ours; by default the preset's.
        threads: of the simulation and of torch.
        seconds: for which ours learns, at least, after the first round.
        round_seconds: of ours, before it is the others' turn.
        peer_steps: steps in every process before each of the peer's updates.
    """
    from stable_baselines3.common.vec_env import SubprocVecEnv

    learner = Learner(motion, num_envs, threads, round_seconds)
    s = learner.agent.settings
    limit = Limit(learner, threads)
    processes = SubprocVecEnv([functools.partial(single_copy, motion)] * COPIES, start_method="spawn")
    ways: dict[str, Callable[[], float]] = {"ours": learner.round, "limit": limit.round, "peer": Sb3(processes, s, peer_steps).round}
    try:
        rates = alternate(ways, 0.0, least=max(3, round(seconds / round_seconds)))
    finally:
        processes.close()
        learner.envs.close()
    parts = {
        "ours_acting": learner.acting,
        "ours_learning": learner.learning,
        "limit_acting": limit.acting,
        "limit_learning": limit.learning,
    }
    split = {name: values[1:] for name, values in parts.items()}  # the first round does not count
    m = medians(rates | split)
    unit = "samples/s"
    figures = [
        Figure(
            "samples_per_second", "PPO end to end", unit, m["ours"], m["peer"], m["limit"],
            f"limit Batch.step and networks alone; peer Stable-Baselines3, SubprocVecEnv of {COPIES} single worlds",
            target=("ours", 10_000.0), rounds=rates,
        ),
        Figure(
            "acting", "acting", unit, m["ours_acting"], limit=m["limit_acting"], against="limit Batch.step and the policy",
            rounds={"ours": split["ours_acting"], "limit": split["limit_acting"]},
        ),
        Figure(
            "learning", "learning", unit, m["ours_learning"], limit=m["limit_learning"],
            against="limit policy and value forward and backward",
            rounds={"ours": split["ours_learning"], "limit": split["limit_learning"]},
        ),
    ]  # fmt: skip
    settings = {"motion": Path(motion).name, "worlds": learner.envs.num_envs, "threads": threads, "hidden": s.hidden}
    settings |= {"n_steps": s.n_steps, "batch_size": s.batch_size, "n_epochs": s.n_epochs, "peer's n_steps": peer_steps}
    settings["hidden layers"] = "bfloat16" if learner.agent.model.reduced else "float32"
    settings["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "not set")
    return Measured(figures, settings)
