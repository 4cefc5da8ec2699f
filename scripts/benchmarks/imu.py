"""Inertial sensors to SMPL: on motion capture that nothing was learned from, with the truth known.

Readings are simulated from each motion on the SMPL body, a T-pose before it; what is fitted is judged from where the motion begins.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import MotionClip, SmplBody, SmplCharacter, edit, kinematics, load
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS, from_smpl, pose_to_rotations
from mprl.motion.fitting.imu import LEVELS, NAMES, Readings, fit, simulate
from mprl.motion.fitting.imu.fitter import infer, shipped_network
from mprl.motion.fitting.imu.network import RATE
from mprl.motion.fitting.imu.pose import PREDICTED, local, quaternions
from mprl.motion.fitting.imu.prior import shipped
from mprl.motion.fitting.imu.signals import resampled, signals
from mprl.motion.fitting.imu.simulation import unrolled, with_t_pose
from mprl.motion.fitting.imu.translation import translate
from mprl.motion.retarget import retarget, target_of
from mprl.scripts.benchmarks.environment import Measured
from mprl.scripts.benchmarks.report import Figure, Overview
from mprl.scripts.reading import progress

SUBSETS = {
    "six": NAMES,
    "no head": tuple(name for name in NAMES if name != "head"),
    "four": ("left_forearm", "right_forearm", "left_shank", "pelvis"),
    "three": ("left_forearm", "right_forearm", "head"),
}
_HOLD, _OVER = 1.0, 1.0  # s: of the T-pose and of going over from it
_SIP = [JOINTS.index(name) for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")]
_ALL = [joint for joint in PREDICTED if joint]


class Errors(NamedTuple):
    """Of a fitted motion against the true one.

    Attributes:
        sip: mean angle between the upper legs and arms in the world, degrees. angle: of all bones but the pelvis, hands and feet.
        place: mean distance of the joints, seen from the pelvis, mm. jitter: mean length of the joints' third derivative, 100 m/s³.
        drift: how far off the root is at the end, m. travelled: how far it went, m.
    """

    sip: float
    angle: float
    place: float
    jitter: float
    drift: float
    travelled: float


def errors(true: MotionClip, found: MotionClip, first: int) -> Errors:
    """Of frames from `first` on, where both roots are taken to be at one place."""
    (a, turned), (b, other) = _posed(true), _posed(found)
    angle = rot.angle(turned, other)[first:].rad2deg()
    place = ((a - a[:, :1]) - (b - b[:, :1])).norm(dim=-1)[first:]
    jerk = (b[3:] - 3 * b[2:-1] + 3 * b[1:-2] - b[:-3])[first:].norm(dim=-1) * found.frame_rate**3
    moved = [clip.root_position[first:] - clip.root_position[first] for clip in (true, found)]
    travelled = float(np.linalg.norm(np.diff(moved[0][:, :2], axis=0), axis=1).sum())
    return Errors(
        float(angle[:, _SIP].mean()), float(angle[:, _ALL].mean()), 1e3 * float(place[:, 1:].mean()), float(jerk.mean()) / 100,
        float(np.linalg.norm(moved[0][-1] - moved[1][-1])), travelled,
    )  # fmt: skip


def held_out(folder: Path | None, seconds: float) -> list[MotionClip]:
    """Motion capture on the SMPL body, cycles gone through for so many seconds.

    Raises:
        SettingError: there is none.
    """
    files = sorted(folder.glob("*.txt")) if folder is not None and folder.is_dir() else []
    if not files:
        raise SettingError(
            "needs motion capture that nothing was learned from: --mocap DIR (or $MPRL_MOCAP) with DeepMimic's humanoid3d_*.txt"
        )
    target = target_of(SmplCharacter())
    return [unrolled(edit.resample(retarget(load(file), target), RATE), seconds) for file in files]


def mean_pose(readings: Readings) -> MotionClip:
    """The floor that a method has to beat: the pelvis as its sensor says, all else as our clips are on average."""
    body = SmplBody.default()
    given = signals(readings)
    rotations = pose_to_rotations(shipped().mean.view(1, 23, 3)).expand(len(given.rotation), -1, -1)
    if "pelvis" in given.sensors:
        root = given.rotation[:, given.sensors.index("pelvis")]
    else:
        root = rot.about_vertical(torch.full((len(rotations),), readings.heading))
    rotations = torch.cat((root[:, None], rotations), dim=1).double()
    return MotionClip("mean", body.skeleton(), given.frame_rate, np.zeros((len(rotations), 3)), rot.unit(rotations).numpy())


def causal(readings: Readings) -> MotionClip:
    """The network that knows the past only; its root's path is found afterwards, from all frames."""
    body = SmplBody.default()
    given = resampled(signals(readings), RATE)
    world, contact, velocity = infer(given, shipped_network(causal=True))
    sole = float(from_smpl(body().vertices)[0, :, 2].min())
    root = translate(given, world, from_smpl(body.rest_joints())[0], sole, contact, velocity)
    return MotionClip("causal", body.skeleton(), RATE, root.numpy(), rot.unit(quaternions(local(world)).double()).numpy())


METHODS: dict[str, Callable[[Readings], MotionClip]] = {
    "mean pose": mean_pose,
    "causal": causal,
    "network": lambda readings: fit(readings, "network").clip,
    "sip": lambda readings: fit(readings, "sip").clip,
    "both": lambda readings: fit(readings, "both").clip,
}


def measure(mocap: Path | None, seconds: float, methods: tuple[str, ...], most: int, seed: int, threads: int) -> Measured:
    """All figures of `mprl benchmark imu`.

    Args:
        mocap: folder of DeepMimic's files.
        seconds: how long cycles go on.
        methods: of `METHODS`.
        most: motions to use at most.
        seed: of the sensors' faults.
        threads: of torch, for the record.
    """
    clips = held_out(mocap, seconds)[:most]
    cases = [("six", level) for level in LEVELS] + [(subset, "typical") for subset in list(SUBSETS)[1:]]
    figures, rows = [], []
    with progress("{task.description}") as bar:
        task = bar.add_task("", total=len(cases) * len(methods) * len(clips))
        for subset, level in cases:
            for method in methods:
                found, took, frames = [], 0.0, 0
                for clip in clips:
                    bar.update(task, description=f"{method}, {subset} sensors, faults {level}: {clip.name}")
                    readings = simulate(clip, SUBSETS[subset], LEVELS[level], calibration=_HOLD, seed=seed)
                    began = time.process_time()
                    made = METHODS[method](readings)
                    took, frames = took + time.process_time() - began, frames + made.num_frames
                    found.append(errors(with_t_pose(clip, _HOLD, _OVER), made, round((_HOLD + _OVER) * RATE)))
                    bar.advance(task)
                figures += _figures(method, subset, level, found, frames / took)
                rows.append(_row(method, subset, level, found, frames / took))
    against = ("sensors", "faults", "method", "SIP error", "angles", "joints", "jitter, 100 m/s³", "drift", "frames/s")
    return Measured(figures, {"motions": len(clips), "cycles": f"{seconds:g} s", "seed": seed, "threads": threads}, Overview(against, rows))


def _means(found: list[Errors]) -> Errors:
    return Errors(*(float(np.mean(values)) for values in zip(*found, strict=True)))


def _row(method: str, subset: str, level: str, found: list[Errors], rate: float) -> tuple[str, ...]:
    mean = _means(found)
    path = "–" if method == "mean pose" else f"{mean.drift:.2f} m of {mean.travelled:.1f}"
    told = (f"{mean.sip:.1f}°", f"{mean.angle:.1f}°", f"{mean.place:.0f} mm", f"{mean.jitter:.1f}", path, f"{rate:,.0f}")
    return (subset, level, method, *told)


def _figures(method: str, subset: str, level: str, found: list[Errors], rate: float) -> list[Figure]:
    key = "_".join(("imu", method, subset, level)).replace(" ", "_")
    what = f"{method}, {subset} sensors, faults {level}"
    less: dict[str, Any] = {"less_is_better": True}
    scale = "TransPose 17.1 and PIP 15.0 on DIP-IMU, real sensors and other motions: for scale only"
    mean = _means(found)
    figures = [
        Figure(f"{key}_sip", f"{what}: SIP error", "degrees", mean.sip, against=scale, rounds={"ours": [one.sip for one in found]}, **less),
        Figure(f"{key}_place", f"{what}: joints", "mm", mean.place, rounds={"ours": [one.place for one in found]}, **less),
    ]
    if math.isfinite(rate) and (subset, level) == ("six", "typical"):
        figures.append(Figure(f"{key}_rate", f"{what}: speed", "frames/s", rate))
    return figures


def _posed(clip: MotionClip) -> tuple[Tensor, Tensor]:
    """Joints (T, 24, 3) and bones (T, 24, 4) in the world."""
    return kinematics.forward_kinematics(clip.skeleton, torch.as_tensor(clip.root_position.copy()), torch.as_tensor(clip.rotations.copy()))
