"""Two motions in one: one after the other, or both at once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import rotations as rot
from mprl.motion.clip import MotionClip
from mprl.motion.edit.timing import resample
from mprl.motion.edit.turning import turn


def crossfade(first: MotionClip, second: MotionClip, seconds: float = 0.3) -> MotionClip:
    """One motion that fades into the other over `seconds`.

    The second is turned about the vertical and moved along the ground to where the first one is and heads, in the middle of the
    fade, and brought to the first one's frame rate.

    Raises:
        SettingError: the motions have different joints, or are shorter than the fade.
    """
    _check(first, second)
    overlap = round(seconds * first.frame_rate) if math.isfinite(seconds) else -1
    second = resample(second, first.frame_rate)
    if not 1 <= overlap <= min(first.num_frames, second.num_frames) - 1:
        shorter = min(first.duration, second.duration)
        raise SettingError(f"{first.name}, {second.name}: cannot fade over {seconds:g} s; the shorter of the two lasts {shorter:.3f} s")
    middle = overlap // 2
    ours, theirs = first.num_frames - 1 - overlap + middle, middle
    second = turn(second, heading(first.rotations[ours, 0]) - heading(second.rotations[theirs, 0]))
    second = replace(second, root_position=second.root_position + (first.root_position[ours] - second.root_position[theirs]) * [1, 1, 0])
    weight = _smoothstep(torch.linspace(0.0, 1.0, overlap + 1, dtype=torch.float64))
    a, b = slice(first.num_frames - 1 - overlap, None), slice(0, overlap + 1)
    position, rotation = _mixed(first, a, second, b, weight)
    contacts = None
    if first.contacts is not None and second.contacts is not None and first.contacts.shape[1] == second.contacts.shape[1]:
        mixed = np.where(weight.numpy()[:, None] < 0.5, first.contacts[a], second.contacts[b])
        contacts = np.concatenate((first.contacts[: a.start], mixed, second.contacts[b.stop :]))
    return replace(
        first,
        name=f"{first.name}+{second.name}",
        root_position=np.concatenate((first.root_position[: a.start], position, second.root_position[b.stop :])),
        rotations=np.concatenate((first.rotations[: a.start], rotation, second.rotations[b.stop :])),
        contacts=contacts,
        loop="none",
    )


def blend(first: MotionClip, second: MotionClip, weight: float = 0.5) -> MotionClip:
    """Both motions at once: `weight` of the second and the rest of the first, in poses, path and length.

    Both are stretched to a common length and turned to the heading that the first one starts with. Of two cycles the second one
    begins where its pose is most like the first one's beginning; two other motions are taken as they are, so trim them first.

    Raises:
        SettingError: the motions have different joints, only one of them is a cycle, or the weight is not in [0, 1].
    """
    _check(first, second)
    if not 0 <= weight <= 1:
        raise SettingError(f"{first.name}, {second.name}: the weight must be between 0 and 1, found {weight:g}")
    if first.loop != second.loop:
        raise SettingError(f"{first.name}, {second.name}: expected two cycles or none, found one; make the other one with loop")
    duration = (1 - weight) * first.duration + weight * second.duration
    frames = max(1, round(duration * first.frame_rate))
    first, second = resample(first, frames / first.duration), resample(second, frames / second.duration)
    if first.loop == "wrap":
        second = _phase_aligned(first, second)
    second = turn(second, heading(first.rotations[0, 0]) - heading(second.rotations[0, 0]))
    second = replace(second, root_position=second.root_position + (first.root_position[0] - second.root_position[0]) * [1, 1, 0])
    share = torch.full((frames + 1,), float(weight), dtype=torch.float64)
    position, rotation = _mixed(first, slice(None), second, slice(None), share)
    contacts = first.contacts if weight < 0.5 else second.contacts
    return replace(
        first,
        name=f"{first.name}+{second.name}",
        frame_rate=frames / duration,
        root_position=position,
        rotations=rotation,
        contacts=contacts,
    )


def heading(rotation: np.ndarray) -> float:
    """Where a rotation (4,) wxyz turns the x axis to on the ground, rad: its twist about the vertical."""
    return 2.0 * math.atan2(rotation[3], rotation[0])


def _mixed(a: MotionClip, rows_a: slice, b: MotionClip, rows_b: slice, weight: Tensor) -> tuple[np.ndarray, np.ndarray]:
    share = weight.numpy()[:, None]
    position = (1 - share) * a.root_position[rows_a] + share * b.root_position[rows_b]
    from_a, to_b = torch.as_tensor(a.rotations[rows_a].copy()), torch.as_tensor(b.rotations[rows_b].copy())
    return position, rot.slerp(from_a, to_b, weight[:, None]).numpy()


def _phase_aligned(first: MotionClip, second: MotionClip) -> MotionClip:
    """The second cycle begun where it is most like the first one throughout: the least sum of squared angles of the joints."""
    a, b = (torch.as_tensor(clip.rotations[:-1, 1:].copy()) for clip in (first, second))
    apart = [float(rot.angle(a, b.roll(-k, dims=0)).square().sum()) for k in range(len(b))]
    k = int(np.argmin(apart))
    at = np.arange(second.num_frames) + k
    period = second.num_frames - 1
    position = second.root_position[at % period] + (at // period)[:, None] * second.cycle_displacement
    contacts = None if second.contacts is None else second.contacts[at % period]
    return replace(second, root_position=position, rotations=second.rotations[at % period], contacts=contacts)


def _smoothstep(t: Tensor) -> Tensor:
    return t * t * (3 - 2 * t)


def _check(first: MotionClip, second: MotionClip) -> None:
    if first.skeleton.names != second.skeleton.names:
        raise SettingError(f"{first.name}, {second.name}: their joints differ; retarget one to the other's skeleton first")
