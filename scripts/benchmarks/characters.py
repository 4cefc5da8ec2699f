"""The SMPL body as a character: how heavy, how well its shapes fit the skin, how well it can follow, how fast it is simulated."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mprl.motion import SmplCharacter
from mprl.scripts.benchmarks import imitation
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.physics import make
from mprl.scripts.benchmarks.report import Figure, alternate, medians

PHASES = 256
STEPS = 15
_KINDS: dict[str, dict[str, Any]] = {
    "humanoid": {},
    "smpl": {"character": "smpl"},
    "shapes": {"character": "smpl", "betas": "random"},
    "physics": {"character": "smpl", "randomize": True},
}


def measure(motion: str, num_envs: int, threads: int, seconds: float, agent: Path | None = None) -> Measured:
    """All figures of `mprl benchmark characters`.

    Args:
        motion: what is followed.
        num_envs: worlds stepped together. threads: of the simulation.
        seconds: for the comparison of speed.
        agent: run folder of one that has learned with this body.
    """
    figures = [*_shape_space(), *_following(motion, threads), *([] if agent is None else _learned(agent))]
    figures += _speed(motion, num_envs, threads, seconds)
    return Measured(figures, {"motion": motion.rsplit("/", 1)[-1], "num_envs": num_envs, "threads": threads})


def _shape_space() -> list[Figure]:
    """The mean body, and each direction of shape by 3 to either side."""
    mean = SmplCharacter()
    ends = np.concatenate((3 * np.eye(len(mean.betas)), -3 * np.eye(len(mean.betas))))
    measured = [other.physique for other in (mean, *mean.others(ends))]
    mass, height = [float(p.mass.sum()) for p in measured], [p.height for p in measured]
    misfit = [1e3 * float(p.misfit.mean()) for p in measured]
    return [
        Figure("mass", "mass; each direction of shape from -3 to 3", "kg", mass[0], rounds={"ours": mass}, spread=True),
        Figure("height", "height, likewise", "m", height[0], rounds={"ours": height}, spread=True),
        Figure(
            "misfit", "from the skin to its part's capsule or box, likewise", "mm", misfit[0], rounds={"ours": misfit}, spread=True,
            less_is_better=True,
        ),
    ]  # fmt: skip


def _following(motion: str, threads: int) -> list[Figure]:
    """What zero actions earn, from phases all over the motion, when nothing ends an episode."""
    free = {"autoreset_mode": "DISABLED", "contact_termination": False, "tracking_termination": None}
    reward = {}
    for kind in ("humanoid", "smpl", "shapes"):
        envs = make(motion, PHASES, threads, **_KINDS[kind], **free).unwrapped
        envs.reset(seed=0, options={"phase": torch.arange(PHASES) / PHASES})
        for _ in range(STEPS):
            earned = envs.step(torch.zeros(PHASES, envs.single_action_space.shape[0]))[1]
        reward[kind] = float(earned.mean())
    against = "peer the humanoid, whose motion it is"
    return [
        Figure(f"zero_{kind}", f"reward of zero actions after {STEPS} steps: {what}", "", reward[kind], reward["humanoid"], against=against)
        for kind, what in (("smpl", "the mean body"), ("shapes", "256 shapes"))
    ]


def _learned(folder: Path) -> list[Figure]:
    """What an agent has learned, and how long it took."""
    run = imitation.take_up(folder, video=False)
    what = f"{run.clip} with the SMPL body"
    return [
        Figure("learned_return", f"{what}: normalised return", "", run.figures["normalized_return"], limit=1.0, target=("ours", 0.85)),
        Figure("learned_success", f"{what}: to the end, never .5 m off", "", run.figures["success_rate"], limit=1.0),
        Figure("learned_samples", f"{what}: samples", "millions", run.figures["samples_millions"], less_is_better=True),
        Figure(
            "learned_minutes", f"{what}: training", "minutes", run.figures["minutes"], less_is_better=True, target=("ours", 60.0),
        ),
    ]  # fmt: skip


def _speed(motion: str, num_envs: int, threads: int, seconds: float) -> list[Figure]:
    ways = {}
    for kind, settings in _KINDS.items():
        envs = make(motion, num_envs, threads, **settings).unwrapped
        envs.reset(seed=0)
        ways[kind] = _stepper(envs)
    rates = alternate(ways, seconds)
    m = medians(rates)
    return [
        Figure("speed_smpl", "the mean body in all worlds", "steps/s", m["smpl"], m["humanoid"], against="peer the humanoid"),
        Figure("speed_shapes", "different shapes", "steps/s", m["shapes"], limit=m["smpl"], against="limit the mean body in all worlds"),
        Figure(
            "speed_physics", "randomised physics", "steps/s", m["physics"], limit=m["smpl"], against="limit the mean body in all worlds"
        ),
    ]


def _stepper(envs: Any, steps: int = 4) -> Any:
    generator = torch.Generator().manual_seed(0)

    def run() -> float:
        actions = 0.1 * torch.randn(steps, envs.num_envs, envs.single_action_space.shape[0], generator=generator)
        began = time.perf_counter()
        for action in actions:
            envs.step(action)
        return float(steps * envs.num_envs / (time.perf_counter() - began))

    return run
