"""Motions from one skeleton to another, or to a character: `retarget(clip, target)`.

The rotations of the limbs are carried over, rest pose for rest pose (transfer.py); then all frames are solved at once for feet
that stand still on the floor, hinges that only bend, and limits that are kept (solver.py, cleanup.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mprl.motion.characters.character import Character
from mprl.motion.clip import MotionClip, Skeleton
from mprl.motion.contacts import body_clearance
from mprl.motion.retarget import cleanup, hands, names, solver
from mprl.motion.retarget.target import Target, is_below, target_named, target_of
from mprl.motion.retarget.transfer import Wanted, transfer

__all__ = ["Retargeted", "Target", "retarget", "retargeted", "target_named", "target_of"]


@dataclass(frozen=True)
class Retargeted:
    """A retargeted clip, and what it was before feet and limits were seen to: `plain` takes over the rotations and nothing else."""

    clip: MotionClip
    plain: MotionClip


def retarget(
    clip: MotionClip,
    target: Character | Skeleton | Target,
    map: str | Path | Mapping[str, str] | None = None,
    clean: bool = True,
    tell: Callable[[int], object] | None = None,
) -> MotionClip:
    """The same motion for another body.

    Args:
        clip: any motion; joints are recognised by their names (`names.find`).
        target: a character, or a skeleton.
        map: where names are not recognised: what the clip calls SMPL's joints, as a mapping or a TOML file (`skeletons/*.toml`).
        clean: put the feet on the floor and hold them still while they stand; False takes over the rotations only.
        tell: called with numbers of frames as they are done.

    Raises:
        SettingError, UnknownNameError: joints that cannot be told: the nearest names, and the map to edit.
    """
    made = retargeted(clip, target, map, tell) if clean else None
    return made.clip if made else _plain(clip, _ready(target, map), map)[0]


def retargeted(
    clip: MotionClip,
    target: Character | Skeleton | Target,
    map: str | Path | Mapping[str, str] | None = None,
    tell: Callable[[int], object] | None = None,
) -> Retargeted:
    """As `retarget`, with the motion before and after."""
    ready = _ready(target, map)
    plain, wanted, qpos = _plain(clip, ready, map)
    cyclic = clip.loop == "wrap"
    poses = ready.poses(qpos)
    ankles = poses.position[:, [ready.roles["left_ankle"], ready.roles["right_ankle"]]]
    feet = [ready.sole_points(poses, foot) - ankles[:, foot, None] + wanted.ankles[:, foot, None] for foot in (0, 1)]
    floor = cleanup.floor_height(torch.cat(feet, dim=1).numpy(), clip.frame_rate)
    down = torch.tensor([0.0, 0.0, -floor], dtype=torch.float64)
    qpos[:, :3] += down
    raised = torch.as_tensor(_rise(ready, qpos, clip.frame_rate, cyclic))
    qpos[:, 2] += raised
    wanted = hands.bent(ready, wanted, qpos)
    place, qpos = qpos[:, :3], solver.direct(ready, wanted)
    qpos[:, :3] = place
    places = [(points + down).numpy() for points in feet]
    step = (wanted.hips[-1] - wanted.hips[0]).numpy() * [1.0, 1.0, 0.0]
    stance = cleanup.stances((places[0], places[1]), clip.frame_rate, cyclic, step)
    shift = torch.as_tensor(stance.shift)
    shift[..., 2] += torch.where(torch.as_tensor(stance.bears), 0.0, raised[:, None])
    qpos = solver.solve(ready, wanted, qpos, wanted.ankles + down + shift, clip.frame_rate, tell)
    qpos[:, 2] += torch.as_tensor(_rise(ready, qpos, clip.frame_rate, cyclic, feet=True))
    return Retargeted(_clip(clip, ready, qpos), plain)


def _ready(target: Character | Skeleton | Target, map: str | Path | Mapping[str, str] | None) -> Target:
    if isinstance(target, Target):
        return target
    return target_of(target, names.read(map)[1] if isinstance(map, str | Path) else None)


def _plain(clip: MotionClip, target: Target, map: str | Path | Mapping[str, str] | None) -> tuple[MotionClip, Wanted, Tensor]:
    own: names.Own | None = names.read(map)[0] if isinstance(map, str | Path) else map
    wanted = transfer(clip, names.find(clip.skeleton.names, own, clip.name), target)
    qpos = solver.direct(target, wanted)
    return _clip(clip, target, qpos), wanted, qpos


def _clip(clip: MotionClip, target: Target, qpos: Tensor) -> MotionClip:
    rotations = torch.cat([target.rotations(target.poses(qpos[start : start + 4096])) for start in range(0, len(qpos), 4096)])
    position = qpos[:, :3].numpy().copy()
    if clip.loop == "wrap":  # what the last digits of a solution differ by is no jump
        rotations[-1] = torch.where((rotations[-1] - rotations[0]).abs().amax() < 1e-2, rotations[0], rotations[-1])
    betas = getattr(target.character, "betas", None)
    return replace(
        clip,
        skeleton=target.skeleton,
        root_position=position,
        rotations=rotations.numpy(),
        contacts=None,
        betas=None if betas is None else np.asarray(betas, dtype=np.float64).reshape(-1),
        gender=str(getattr(target.character, "gender", "neutral")),
    )


def _rise(target: Target, qpos: Tensor, frame_rate: float, cyclic: bool, feet: bool = False) -> np.ndarray:
    """How far the body must be raised so that no part but feet and hands (or, with `feet`, no part at all) is below the floor, (T,) m."""
    if target.character is None:  # it has no shapes but its soles
        poses = target.poses(qpos)
        clearance = torch.cat([target.sole_points(poses, foot) for foot in (0, 1)], dim=1)[..., 2].numpy()
        clearance = clearance if feet else np.zeros_like(clearance)
    else:
        clearance = body_clearance(target.character, qpos.numpy())
    if target.character is not None and not feet:
        ankles = [target.roles["left_ankle"], target.roles["right_ankle"]]
        ends = [*ankles, *(hand.wrist for hand in hands.hands(target))]
        cared_for = [any(is_below(target.model, body, end) for end in ends) for body in range(1, target.model.nbody)]
        clearance = clearance[:, ~np.array(cared_for)]
    depth = np.maximum(0.0, -clearance.min(axis=1))
    return cleanup.lift(depth, frame_rate, cyclic)
