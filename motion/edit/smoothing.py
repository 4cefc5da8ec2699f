"""Less jitter: a low-pass filter without delay, for positions and rotations alike."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import rotations as rot
from mprl.motion.clip import MotionClip


def smooth(clip: MotionClip, cutoff: float) -> MotionClip:
    """The motion without what is faster than about `cutoff` Hz: a Gaussian filter, symmetric in time, 3 dB down at the cutoff.

    Rotations are averaged in the tangent space at each frame: q exp(sum of h_k log(q^-1 q_k)). Constant velocities, linear and
    angular, stay exactly as they are, at the ends too; a cycle is smoothed as the endless motion that it is, and stays closed.

    Raises:
        SettingError: the cutoff is not a positive number.
    """
    if not (math.isfinite(cutoff) and cutoff > 0):
        raise SettingError(f"{clip.name}: the cutoff must be a positive frequency in Hz, found {cutoff:g}")
    sigma = math.sqrt(math.log(2.0)) / (2 * math.pi * cutoff) * clip.frame_rate  # frames
    reach = min(math.ceil(4 * sigma), clip.num_frames - 1)
    weights = np.exp(-0.5 * (np.arange(1, reach + 1) / sigma) ** 2)
    weights /= 1 + 2 * weights.sum()
    position, rotation = torch.as_tensor(clip.root_position.copy()), torch.as_tensor(clip.rotations.copy())
    cyclic = clip.loop == "wrap"
    positions, rotations = _extended(position, rotation, reach, cyclic)
    frames = clip.num_frames
    shift, spin = torch.zeros_like(position), torch.zeros_like(rotation[..., 1:])
    for k, weight in enumerate(weights.tolist(), start=1):
        for at in (reach + k, reach - k):
            shift += weight * (positions[at : at + frames] - position)
            spin += weight * rot.to_rotation_vector(rot.multiply(rot.conjugate(rotation), rotations[at : at + frames]))
    position = position + shift
    rotation = rot.multiply(rotation, rot.from_rotation_vector(spin))
    if cyclic:
        rotation[-1] = rotation[0]
        position[-1, 2] = position[0, 2]
    return replace(clip, root_position=position.numpy(), rotations=rotation.numpy())


def _extended(position: Tensor, rotation: Tensor, reach: int, cyclic: bool) -> tuple[Tensor, Tensor]:
    """`reach` more frames on both sides: the neighbouring cycles, or the motion turned round at its end, x(-t) = x0 - (x(t) - x0)."""
    if cyclic:
        period = len(position) - 1
        at = torch.arange(-reach, len(position) + reach)
        cycle = torch.div(at, period, rounding_mode="floor")
        step = (position[-1] - position[0]) * torch.tensor([1.0, 1.0, 0.0], dtype=position.dtype)
        return position[at % period] + cycle[:, None] * step, rotation[at % period]
    before, after = position[1 : reach + 1].flip(0), position[-reach - 1 : -1].flip(0)
    first, last = rotation[:1], rotation[-1:]
    back, on = rotation[1 : reach + 1].flip(0), rotation[-reach - 1 : -1].flip(0)
    return (
        torch.cat((2 * position[:1] - before, position, 2 * position[-1:] - after)),
        torch.cat((_reflected(first, back), rotation, _reflected(last, on))),
    )


def _reflected(centre: Tensor, rotation: Tensor) -> Tensor:
    """As far on the other side of the centre: c (q^-1 c)."""
    centre = centre.expand_as(rotation)
    return rot.multiply(centre, rot.multiply(rot.conjugate(rotation), centre))
