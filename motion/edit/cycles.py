"""Cycles: where a motion comes back to what it was, and how to make it go on from there without a jump."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import kinematics
from mprl.motion import rotations as rot
from mprl.motion.clip import MotionClip

_VELOCITY_TIME = 0.1  # s; a difference in velocity counts as the distance that it makes in this time
_AS_GOOD = (1.1, 1e-3)  # a shorter cycle is preferred if its distance is at most this factor and this many metres above the least


def loop(clip: MotionClip, shortest: float = 0.5, longest: float = 10.0, seam: float = 0.3) -> MotionClip:
    """The best cycle in a motion, closed: from its last frame the motion goes on smoothly at its first.

    A motion that is a cycle already keeps all its frames and has its seam closed.

    Args:
        clip: any motion.
        shortest, longest: length of a cycle, s.
        seam: over how many seconds before and after the seam what is left of the difference is spread.

    Raises:
        SettingError: the motion is shorter than the shortest cycle.
    """
    if clip.loop == "wrap":
        return close_seam(clip, seam)
    first, last = find_cycle(clip, shortest, longest)
    part = slice(first, last + 1)
    contacts = None if clip.contacts is None else clip.contacts[part].copy()
    cut = replace(clip, root_position=clip.root_position[part], rotations=clip.rotations[part], contacts=contacts, loop="wrap")
    return close_seam(cut, seam)


def find_cycle(clip: MotionClip, shortest: float = 0.5, longest: float = 10.0) -> tuple[int, int]:
    """First and last frame of the best cycle: those whose poses and velocities are most alike.

    Two frames are as far apart as the root mean square over the joints of the distance between their positions, plus that of
    their velocities times .1 s, the root's place on the ground left out (Kovar et al. 2002). A cycle goes on in the same
    direction, so headings are compared too. Of cycles that are equally good the shortest is taken.

    Raises:
        SettingError: the motion is shorter than the shortest cycle.
    """
    least = max(1, math.ceil(shortest * clip.frame_rate - 1e-6))
    most = min(math.floor(longest * clip.frame_rate + 1e-6), clip.num_frames - 1)
    if not (shortest > 0 and least <= most):
        raise SettingError(f"{clip.name}: expected a cycle of {shortest:g} to {longest:g} s within the motion's {clip.duration:.3f} s")
    features = _features(clip)
    distance, start = np.empty(most - least + 1), np.empty(most - least + 1, dtype=int)
    for row, length in enumerate(range(least, most + 1)):
        apart = (features[length:] - features[:-length]).square().sum(dim=1)
        best = int(apart.argmin())
        distance[row], start[row] = float(apart[best]) ** 0.5, best
    good = distance <= _AS_GOOD[0] * distance.min() + _AS_GOOD[1]
    row = int(good.argmax())
    # several lengths in a row are nearly as good: the best of the first dip
    while row + 1 < len(good) and distance[row + 1] < distance[row]:
        row += 1
    return int(start[row]), int(start[row]) + least + row


def close_seam(clip: MotionClip, seam: float = 0.3) -> MotionClip:
    """A cycle whose last frame is its first, in pose, height and velocity.

    Both ends meet half-way. The difference in pose and in velocity fades out over `seam` seconds, by a cubic with the
    right value and slope at the seam and none at its other end.
    """
    frames = clip.num_frames
    window = max(1, min(round(seam * clip.frame_rate), (frames - 1) // 2))
    position, rotation = torch.as_tensor(clip.root_position.copy()), torch.as_tensor(clip.rotations.copy())
    gap = rot.to_rotation_vector(rot.multiply(rot.conjugate(rotation[-1]), rotation[0]))
    back = rot.to_rotation_vector(rot.multiply(rot.conjugate(rotation[0]), rotation[-1]))
    spin_gap = _step(rotation, 0, clip.frame_rate) - _step(rotation, frames - 2, clip.frame_rate)
    shift = (position[0] - position[-1]) * torch.tensor([0.0, 0.0, 1.0], dtype=position.dtype)
    speed_gap = ((position[1] - position[0]) - (position[-1] - position[-2])) * clip.frame_rate
    u = torch.arange(window + 1, dtype=position.dtype) / window
    value = 0.5 * (1 - u) ** 2 * (1 + 2 * u)
    slope = 0.5 * u * (1 - u) ** 2 * (window / clip.frame_rate)  # of the correction at the seam, going away from it
    fade, rise = value.flip(0), -slope.flip(0)  # before the seam time runs towards it
    rotation_fade = (value[:, None, None], slope[:, None, None], fade[:, None, None], rise[:, None, None])
    after = back * rotation_fade[0] - spin_gap * rotation_fade[1]
    before = gap * rotation_fade[2] + spin_gap * rotation_fade[3]
    place_after = -shift * value[:, None] - speed_gap * slope[:, None]
    place_before = shift * fade[:, None] + speed_gap * rise[:, None]
    turned, moved = rotation.clone(), position.clone()
    turned[: window + 1] = rot.multiply(rotation[: window + 1], rot.from_rotation_vector(after))
    moved[: window + 1] += place_after
    turned[-window - 1 :] = rot.multiply(turned[-window - 1 :], rot.from_rotation_vector(before))
    moved[-window - 1 :] += place_before
    turned[-1], moved[-1, 2] = turned[0], moved[0, 2]
    contacts = clip.contacts
    if contacts is not None:
        contacts = contacts.copy()
        contacts[-1] = contacts[0]
    return replace(clip, root_position=moved.numpy(), rotations=turned.numpy(), contacts=contacts)


def _step(rotation: Tensor, at: int, frame_rate: float) -> Tensor:
    """Angular velocity from one frame to the next, (J, 3) rad/s."""
    return rot.to_rotation_vector(rot.multiply(rot.conjugate(rotation[at]), rotation[at + 1])) * frame_rate


def _features(clip: MotionClip) -> Tensor:
    """What two frames are compared by, (T, 6 J): joint positions over the root's place on the ground, and velocities, m."""
    position, rotation = torch.as_tensor(clip.root_position.copy()), torch.as_tensor(clip.rotations.copy())
    joints, _ = kinematics.forward_kinematics(clip.skeleton, position, rotation)
    velocity = kinematics.linear_velocity(joints, clip.frame_rate, cyclic=False) * _VELOCITY_TIME
    ground = position * torch.tensor([1.0, 1.0, 0.0], dtype=position.dtype)
    return torch.cat((joints - ground[:, None], velocity), dim=1).flatten(1) / joints.shape[1] ** 0.5
