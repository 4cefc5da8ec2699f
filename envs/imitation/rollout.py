"""Cleaning by physics: what a character does that imitates a motion is a motion itself, and one that can be."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mprl.envs.imitation.bodies import fitted
from mprl.envs.imitation.layout import CONTROL_RATE
from mprl.envs.imitation.metrics import PHC_FAILURE, Policy
from mprl.errors import SettingError
from mprl.motion import MotionClip, edit
from mprl.motion.retarget.target import Target

if TYPE_CHECKING:
    from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv


def clean(like: DeepMimicVectorEnv, policy: Policy, target: Target, clip: MotionClip) -> tuple[MotionClip, MotionClip]:
    """A motion as it was, on the character's body, and as the character does it.

    The character begins on the first frame. A cycle is gone through twice, of which the second time is kept and closed.

    Args:
        like: worlds whose settings are taken over.
        policy: observations (1, n) -> actions (1, nu).
        target: the character, as a skeleton whose poses can be read.
        clip: the motion.

    Returns:
        Before and after, with the same frames.

    Raises:
        SettingError: the worlds are not on level ground or have a goal beside imitation, or the character falls or loses the motion:
            when.
    """
    if like._task is not None or not like.ground.flat or like.bodies.others:
        raise SettingError("a motion is cleaned on level ground, by one body that does nothing but imitate it")
    before = fitted(clip, like.character)
    cyclic = clip.loop == "wrap"
    begin = clip.duration if cyclic else 0.0
    qpos = rollout(like, policy, clip, begin + clip.duration)
    poses = target.poses(torch.as_tensor(qpos))
    times = begin + np.arange(clip.num_frames) / clip.frame_rate
    place, turned = between(qpos[:, :3], target.rotations(poses).numpy(), times)
    after = replace(before, skeleton=target.skeleton, root_position=place, rotations=turned, contacts=None)
    return before, edit.close_seam(after) if cyclic else after


def rollout(like: DeepMimicVectorEnv, policy: Policy, clip: MotionClip, seconds: float) -> NDArray[np.float64]:
    """A character's positions while it imitates a motion from its first frame, at the control rate, (T, nq).

    Raises:
        SettingError: it falls, or is over .5 m off on average (PHC's failure): when.
    """
    steps = math.ceil(seconds * CONTROL_RATE - 1e-6)
    changes = {"num_envs": 1, "output": "torch", "autoreset_mode": "disabled", "render_mode": None, "motion": clip}
    changes |= {"contact_termination": True, "tracking_termination": None, "max_episode_steps": steps + 1, "time_limit": 20.0}
    changes |= {"clip_weights": None, "pushes": None}
    envs = type(like)(**{**like._settings, **changes})
    observation, _ = envs.reset(seed=0, options={"phase": 0.0})
    getattr(policy, "reset", lambda: None)()  # where it has a memory
    rows = [envs.simulation.bind("qpos")[0].double().cpu().clone()]
    for step in range(1, steps + 1):
        observation, _, terminated, _, info = envs.step(policy(observation))
        lost = float(info["tracking_error"][0]) > PHC_FAILURE
        if lost or bool(terminated[0]):
            what = f"is more than {PHC_FAILURE:g} m off its motion" if lost else "falls"
            raise SettingError(
                f"{clip.name}: the character {what} after {step / CONTROL_RATE:.2f} of {seconds:.2f} s; let it learn for longer, or clean "
                "a part of the motion (mprl motion edit --trim)"
            )
        rows.append(envs.simulation.bind("qpos")[0].double().cpu().clone())
    envs.close()
    return torch.stack(rows).numpy()


def between(position: NDArray[Any], rotations: NDArray[Any], times: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """A motion at the control rate at other times, by cubic splines, which do not jerk where frames meet.

    Args:
        position: of the root, (T, 3) m. rotations: of the joints, (T, J, 4) wxyz.
        times: (N,) s, within the motion.

    Returns:
        (N, 3) m and (N, J, 4).
    """
    from scipy.interpolate import CubicSpline
    from scipy.spatial.transform import Rotation, RotationSpline

    at = np.arange(len(position)) / CONTROL_RATE
    turned = np.stack(
        [
            RotationSpline(at, Rotation.from_quat(rotations[:, joint], scalar_first=True))(times).as_quat(scalar_first=True)
            for joint in range(rotations.shape[1])
        ],
        axis=1,
    )
    return CubicSpline(at, position)(times), turned
