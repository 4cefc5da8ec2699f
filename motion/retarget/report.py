"""How good a motion is for a body: does it sink into the floor, do its feet slide, does it shake, does it bend joints too far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import rotations as rot
from mprl.motion.clip import Array, MotionClip
from mprl.motion.contacts import body_clearance
from mprl.motion.retarget import cleanup
from mprl.motion.retarget.target import Poses, Target

if TYPE_CHECKING:
    from mprl.motion.retarget import Retargeted

_BALL = int(mujoco.mjtJoint.mjJNT_BALL)


@dataclass(frozen=True)
class Quality:
    """Of one motion on one body.

    Attributes:
        penetration: how deep the deepest part is below the floor, mm. sinking: the mean of that over all frames, mm.
        sliding: how far the lowest point of a bearing foot moves along the floor in a thirtieth of a second, mean over contacts, mm.
        jitter: mean length of the joints' third derivative, m/s³ (as in Yi et al. 2022).
        violations: share of frames in which some joint is beyond its limits by more than a tenth of a degree. excess: by how much
            at most, degrees.
        series: depth and sliding over time, (T,) mm each, for a plot.
    """

    penetration: float
    sinking: float
    sliding: float
    jitter: float
    violations: float
    excess: float
    series: Mapping[str, Array]


COLUMNS = {
    "penetration": "deepest mm", "sinking": "mean depth mm", "sliding": "sliding mm/frame", "jitter": "jitter m/s³",
    "violations": "beyond limits", "excess": "by °",
}  # fmt: skip


def measure(clip: MotionClip, target: Target, contacts: NDArray[np.bool_] | None = None) -> Quality:
    """The quality of a clip of the target's own joints.

    Args:
        clip: the motion. target: whose.
        contacts: when the left and the right foot bear on the floor, (T, 2), by default as found in this motion itself. Of two
            versions of a motion both are measured on the same frames.

    Raises:
        SettingError: the clip is not the target's; retarget it first.
    """
    missing = set(target.skeleton.names) - set(clip.skeleton.names)
    if missing:
        raise SettingError(f"{clip.name}: has no joint '{sorted(missing)[0]}' of {target.name}; retarget it first")
    qpos = _qpos(clip, target)
    poses = target.poses(qpos)
    rate = clip.frame_rate
    feet = [target.sole_points(poses, foot).numpy() for foot in (0, 1)]
    if target.character is None:
        height = np.concatenate(feet, axis=1)[..., 2].min(axis=1)
    else:
        height = body_clearance(target.character, qpos.numpy()).min(axis=1)
    depth = np.maximum(0.0, -height)
    contacts = bearing(clip, target) if contacts is None else contacts
    slid = np.stack([_sliding(points, contacts[:, foot], rate) for foot, points in enumerate(feet)], axis=1)
    stands = ~np.isnan(slid)
    excess = _excess(target, qpos)
    return Quality(
        penetration=1e3 * float(depth.max()),
        sinking=1e3 * float(depth.mean()),
        sliding=1e3 * float(slid[stands].mean()) if stands.any() else 0.0,
        jitter=_jitter(poses, rate),
        violations=float((excess > 0.1).mean()),
        excess=float(excess.max()),
        series={"depth": 1e3 * depth, "sliding": 1e3 * np.nan_to_num(slid).max(axis=1)},
    )


def compare(made: Retargeted, target: Target) -> tuple[Quality, Quality]:
    """Before and after, on the frames in which the feet stand before."""
    contacts = bearing(made.plain, target)
    return measure(made.plain, target, contacts), measure(made.clip, target, contacts)


def _qpos(clip: MotionClip, target: Target) -> Tensor:
    """Its poses, angles out of their limits included."""
    if target.character is not None:
        return target.character.to_qpos(clip)
    model = target.model
    qpos = torch.as_tensor(model.qpos0.copy()).expand(clip.num_frames, -1).clone()
    qpos[:, :3] = torch.as_tensor(clip.root_position.copy())
    for joint, body in enumerate(target.bodies):
        start = int(model.jnt_qposadr[model.body_jntadr[body]]) + (3 if joint == 0 else 0)
        qpos[:, start : start + 4] = torch.as_tensor(clip.rotations[:, clip.skeleton.names.index(target.skeleton.names[joint])].copy())
    return qpos


def bearing(clip: MotionClip, target: Target) -> NDArray[np.bool_]:
    """When the left and the right foot bear on the floor, wherever that is, (T, 2)."""
    poses = target.poses(_qpos(clip, target))
    feet = [target.sole_points(poses, foot).numpy() for foot in (0, 1)]
    floor = cleanup.floor_height(np.concatenate(feet, axis=1), clip.frame_rate) * np.array([0.0, 0.0, 1.0])
    return cleanup.stances((feet[0] - floor, feet[1] - floor), clip.frame_rate, clip.loop == "wrap", clip.cycle_displacement).bears


def _sliding(points: Array, bears: NDArray[np.bool_], rate: float) -> Array:
    """How far a foot's lowest point goes along the floor until the next frame, per 1/30 s, (T,) m; NaN where it does not stand."""
    frames = np.arange(len(points) - 1)
    lowest = points[:-1, :, 2].argmin(axis=1)
    along = np.linalg.norm(points[frames + 1, lowest, :2] - points[frames, lowest, :2], axis=1) * rate / 30.0
    return np.append(np.where(bears[:-1] & bears[1:], along, np.nan), np.nan)


def _jitter(poses: Poses, rate: float) -> float:
    if len(poses.position) < 4:
        return 0.0
    return float((poses.position[:, 1:].diff(n=3, dim=0) * rate**3).norm(dim=-1).mean())


def _excess(target: Target, qpos: Tensor) -> Array:
    """By how much the worst joint is beyond its limits, (T,) degrees."""
    model, worst = target.model, torch.zeros(len(qpos), dtype=torch.float64)
    for joint in range(1, model.njnt):
        if not model.jnt_limited[joint]:
            continue
        start, (lower, upper) = int(model.jnt_qposadr[joint]), (float(limit) for limit in model.jnt_range[joint])
        if int(model.jnt_type[joint]) == _BALL:
            beyond = rot.to_rotation_vector(qpos[:, start : start + 4]).norm(dim=-1) - upper
        else:
            beyond = torch.maximum(qpos[:, start] - upper, lower - qpos[:, start])
        worst = torch.maximum(worst, beyond)
    return np.degrees(worst.numpy())


def row(quality: Quality) -> tuple[str, ...]:
    """Its figures as cells, in the order of `COLUMNS`."""
    return tuple(f"{getattr(quality, name):.0%}" if name == "violations" else f"{getattr(quality, name):.3g}" for name in COLUMNS)


def means(qualities: list[Quality]) -> Quality:
    """The mean of each figure over several motions; of the greatest depth and excess, the greatest."""
    values = {f.name: [getattr(quality, f.name) for quality in qualities] for f in fields(Quality) if f.name != "series"}
    greatest = ("penetration", "excess")
    return Quality(**{name: float(max(v) if name in greatest else np.mean(v)) for name, v in values.items()}, series={})


def plot(path: Path, title: str, before: Quality, after: Quality, rate: float) -> None:
    """A picture of depth and sliding over time, before and after.

    Raises:
        SettingError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    for axis, name, unit in zip(axes, ("depth", "sliding"), ("mm below the floor", "mm/frame (30 Hz) on contacts"), strict=True):
        for quality, label, style in ((before, "before", ":"), (after, "after", "-")):
            axis.plot(np.arange(len(quality.series[name])) / rate, quality.series[name], style, label=label)
        axis.set_ylabel(unit)
    axes[0].set_title(title)
    axes[0].legend()
    axes[1].set_xlabel("s")
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise SettingError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
