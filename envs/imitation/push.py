"""The push test: how strong a push does a policy survive?

DeepMimic (Peng et al. 2018, arXiv 1804.02717, on robustness) pushes the pelvis for .2 s halfway through a motion cycle, ten newtons
harder each time until the character falls, forwards and sideways. Here all pushes are one batch of worlds, each with a force of its
own; a second batch finds the last newtons. A push is survived when no body that must not touches the ground within 5 s, or until a
clip ends that does not loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from mprl.envs.imitation.layout import CONTROL_RATE
from mprl.envs.imitation.metrics import Policy
from mprl.errors import SettingError, number

SECONDS, AFTER = 0.2, 5.0
STEP, FINE = 25, 1  # N between the forces of the first and of the second batch
# where the force points, in the clip's own world: x is forwards
DIRECTIONS = {"front": (1.0, 0.0), "back": (-1.0, 0.0), "left": (0.0, 1.0), "right": (0.0, -1.0)}
# N survived forwards and sideways, as DeepMimic reports them
PAPER = {"walk": (240, 300), "run": (720, 300), "backflip": (440, 100), "cartwheel": (200, 470)}


def push_test(like: Any, policy: Policy, most: float = 1000.0, clip: int = 0) -> dict[str, Any]:
    """The greatest push that a policy survives in each direction, such that it survives all smaller ones tried.

    Args:
        like: a `DeepMimicVectorEnv`, whose settings the batches have.
        policy: observations (W, n) -> actions (W, nu), torch.
        most: greatest force tried, N.
        clip: which of the library is played, from its first frame.

    Returns:
        `clip`: its name; `survived_n`: by direction the force in N, None where it falls without any push; `paper_n`: DeepMimic's by
        direction, where it has this clip; `most_n`: the greatest force tried, which counts as survived where nothing felled it.

    Raises:
        SettingError: a negative force, or a motion in which any body may touch the ground: nothing tells a fall there.
    """
    most = number("push force", most)
    if not 0 < most <= 1e5:
        raise SettingError(f"the greatest push must be above 0 N and at most 100 000 N, found {most:g}")
    coarse = torch.arange(0, most + STEP / 2, STEP)
    survived = _last(_survives(like, policy, coarse.expand(len(DIRECTIONS), -1), clip), coarse.expand(len(DIRECTIONS), -1))
    fine = survived.clamp(min=0).unsqueeze(1) + torch.arange(FINE, STEP, FINE)
    better = _last(_survives(like, policy, fine, clip), fine)
    found = torch.where((better > survived) & (survived >= 0) & (survived < coarse[-1]), better, survived)
    name = like.library.clips[clip].name
    forces = {direction: (float(force) if force >= 0 else None) for direction, force in zip(DIRECTIONS, found.tolist(), strict=True)}
    return {"clip": name, "survived_n": forces, "paper_n": _of_the_paper(name), "most_n": float(coarse[-1])}


def _of_the_paper(name: str) -> Mapping[str, int]:
    """By direction; the paper does not tell forwards from backwards nor left from right."""
    if name not in PAPER:
        return {}
    forwards, sideways = PAPER[name]
    return {"front": forwards, "back": forwards, "left": sideways, "right": sideways}


def _last(survives: Tensor, forces: Tensor) -> Tensor:
    """The last force before the first that fells, (D,); -1 where that is the first one."""
    unbroken = survives.long().cumprod(dim=1)
    padded = torch.cat((torch.full((len(forces), 1), -1.0), forces.float()), dim=1)
    return padded.gather(1, unbroken.sum(dim=1, keepdim=True)).squeeze(1)


def _survives(like: Any, policy: Policy, forces: Tensor, clip: int) -> Tensor:
    """Whether the character survives forces (D, F) N in each direction, (D, F) bool: one batch of worlds, one push each."""
    directions = torch.tensor([(*direction, 0.0) for direction in DIRECTIONS.values()])
    force = (directions.unsqueeze(1) * forces.unsqueeze(-1)).flatten(0, 1)
    changes = {"num_envs": len(force), "output": "torch", "autoreset_mode": AutoresetMode.DISABLED, "render_mode": None, "pushes": None}
    changes |= {"motion": like.library.clips, "contact_termination": True, "tracking_termination": None}
    begin = round(0.5 * float(like.library.durations[clip]) * CONTROL_RATE)
    end = begin + round(SECONDS * CONTROL_RATE)
    changes |= {"max_episode_steps": end + round(AFTER * CONTROL_RATE)}
    envs = type(like)(**{**like._settings, **changes})
    if not bool(envs.layout.falls[clip].any()):
        name = like.library.clips[clip].name
        raise SettingError(f"{name}: any body may touch the ground in this motion, so that no push is known to fell; name contact_bodies")
    force = force.to(envs.device)
    observation, _ = envs.reset(seed=0, options={"clip": clip, "phase": 0.0})
    getattr(policy, "reset", lambda: None)()  # where it has a memory
    falls = torch.zeros(len(force), dtype=torch.bool, device=envs.device)
    over = falls.clone()
    for step in range(envs.max_episode_steps):
        envs.simulation.apply_force(1, force if begin <= step < end else torch.zeros_like(force))
        observation, _, terminated, truncated, _ = envs.step(policy(observation))
        falls |= terminated & ~over
        over |= terminated | truncated
        if bool(over.all()):
            break
    envs.close()
    return ~falls.view(forces.shape).cpu()
