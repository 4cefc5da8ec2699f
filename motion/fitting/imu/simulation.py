"""Readings as six sensors would give them, made from motions, with the faults that real ones have."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from mprl.errors import SettingError, number
from mprl.motion import inertial, kinematics
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS
from mprl.motion.clip import MAX_DURATION, MotionClip
from mprl.motion.fitting.imu.readings import Readings, check_sensors
from mprl.motion.fitting.imu.sensors import NAMES, bones, places_of


@dataclass(frozen=True)
class Faults:
    """How well the sensors measure, and how they are worn. Without faults they measure exactly.

    Attributes:
        orientation_noise: standard deviation of white noise about a random axis, rad.
        heading_drift: random walk of the orientation about the vertical, rad after 1 s and growing with the square root of time.
        accelerometer_noise: of white noise, m/s². accelerometer_drift: random walk of the bias, m/s² after 1 s.
        misplacement: standard deviation of where a sensor is along each axis, m. misalignment: of how it is turned on its bone about each
            axis, rad; the T-pose tells it, and it does no harm but for what the next one says.
        calibration_error: by how much each bone is turned otherwise in the person's T-pose than in ours, about each axis, rad.
        dropout: share of readings that are missing.
    """

    orientation_noise: float = 0.0
    heading_drift: float = 0.0
    accelerometer_noise: float = 0.0
    accelerometer_drift: float = 0.0
    misplacement: float = 0.0
    misalignment: float = 0.0
    calibration_error: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            number(field.name, getattr(self, field.name), 0.0)
        if self.dropout > 0.2:
            raise SettingError(f"dropout must be at most .2, found {self.dropout:g}")


# what sensors of a few hundred euros and a hasty T-pose are like; and bad ones
TYPICAL = Faults(0.01, 0.002, 0.1, 0.01, 0.02, 0.3, 0.05, 0.01)
POOR = Faults(0.03, 0.006, 0.5, 0.05, 0.05, 0.3, 0.15, 0.03)
LEVELS = {"none": Faults(), "typical": TYPICAL, "poor": POOR}


def simulate(
    clip: MotionClip,
    sensors: tuple[str, ...] = NAMES,
    faults: Faults | None = None,
    *,
    calibration: float = 1.0,
    seed: int = 0,
) -> Readings:
    """What the sensors would read during a motion of SMPL's joints, with a T-pose before it.

    Args:
        clip: any motion of SMPL's joints; others are retargeted first.
        sensors: which are worn.
        faults: of the sensors.
        calibration: for so many seconds the T-pose is held, and in one second more the person goes over to the motion (`with_t_pose`);
            0: no T-pose, the sensors sit along their bones' axes.
        seed: of the faults.

    Raises:
        SettingError: the clip's joints are not SMPL's, it is too short, or no time that a T-pose can be held for.
        UnknownNameError: no such sensor.
    """
    faults = faults or Faults()
    check_sensors(clip.name, sensors)
    if not 0.0 <= calibration <= 60.0:
        raise SettingError(f"calibration must be 0 to 60 s, found {calibration:g}")
    if clip.skeleton.names != JOINTS:
        raise SettingError(f"{clip.name}: its joints are not SMPL's; retarget it first (mprl motion retarget FILE OUT --character smpl)")
    heading = _heading(clip)
    if calibration:
        clip = with_t_pose(clip, calibration)
    random = torch.Generator().manual_seed(seed)
    count = len(sensors)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    position, rotation = kinematics.forward_kinematics(
        clip.skeleton, torch.as_tensor(clip.root_position.copy()), torch.as_tensor(clip.rotations.copy())
    )
    at = bones(sensors)
    place = places_of(torch.as_tensor(clip.skeleton.offsets.copy()), sensors) + faults.misplacement * normal(count, 3)
    worn = position[:, at] + rot.rotate(rotation[:, at], place.expand(len(position), -1, -1))
    acceleration = inertial.second_difference(worn, clip.frame_rate)
    # a bone that is turned otherwise in the person's T-pose than in ours is taken for one that is not; the same as if it were all the time
    error = rot.from_rotation_vector(faults.calibration_error * normal(count, 3))
    orientation, acceleration = disturbed(rotation[:, at], acceleration, clip.frame_rate, faults, random)
    if calibration:
        hold = round(calibration * clip.frame_rate)
        orientation[hold:] = rot.multiply(orientation[hold:], error.expand_as(orientation[hold:]))
    mount = rot.from_rotation_vector(faults.misalignment * normal(count, 3))
    orientation = rot.multiply(orientation, mount.expand_as(orientation))
    missing = torch.rand(orientation.shape[:2], generator=random) < faults.dropout
    orientation[missing] = float("nan")
    return Readings(
        sensors, orientation.numpy(), acceleration.numpy(), clip.frame_rate, calibration, heading if calibration else 0.0, name=clip.name
    )


def disturbed(rotation: Tensor, acceleration: Tensor, frame_rate: float, faults: Faults, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Orientations (T, ..., 4) and free accelerations (T, ..., 3) with noise and drift."""
    like = {"generator": random, "dtype": rotation.dtype}
    step = frame_rate**-0.5
    if faults.orientation_noise:
        axis, angle = torch.randn(acceleration.shape, **like), torch.randn(*acceleration.shape[:-1], 1, **like)  # type: ignore[call-overload]
        rotation = rot.multiply(rotation, rot.from_rotation_vector(inertial.random_turn(axis, angle, faults.orientation_noise)))
    if faults.heading_drift:
        walk = (faults.heading_drift * step * torch.randn(acceleration.shape[:-1], **like)).cumsum(dim=0)  # type: ignore[call-overload]
        rotation = rot.multiply(rot.about_vertical(walk), rotation)
    if faults.accelerometer_noise:
        acceleration = acceleration + faults.accelerometer_noise * torch.randn(acceleration.shape, **like)  # type: ignore[call-overload]
    if faults.accelerometer_drift:
        bias = (faults.accelerometer_drift * step * torch.randn(acceleration.shape, **like)).cumsum(dim=0)  # type: ignore[call-overload]
        acceleration = acceleration + rot.rotate(rotation, bias)
    return rotation, acceleration


def with_t_pose(clip: MotionClip, hold: float = 1.0, over: float = 1.0) -> MotionClip:
    """The motion with a T-pose held before it for `hold` seconds, and `over` seconds in which the person goes from one to the other."""
    first = torch.as_tensor(clip.rotations[0].copy())
    pose = torch.zeros_like(first)
    pose[:, 0] = 1.0
    pose[0] = rot.about_vertical(torch.tensor(_heading(clip), dtype=torch.float64))
    still, frames = round(hold * clip.frame_rate), round(over * clip.frame_rate)
    share = torch.arange(1, frames + 1, dtype=torch.float64) / (frames + 1)
    share = torch.cat((torch.zeros(still, dtype=torch.float64), share.square() * (3.0 - 2.0 * share)))
    before = rot.slerp(pose.expand(len(share), -1, -1), first.expand(len(share), -1, -1), share[:, None])
    # upright, feet on the floor: the legs' length above where the motion's floor is taken to be
    heights = kinematics.forward_kinematics(clip.skeleton, torch.zeros(1, 3, dtype=torch.float64), pose[None])[0][0, :, 2]
    floor = float(_lowest_joint(clip))
    root = clip.root_position[0] * np.array([1.0, 1.0, 0.0]) + np.array([0.0, 0.0, floor - float(heights.min())])
    eased = share.numpy()[:, None]
    return replace(
        clip,
        root_position=np.concatenate(((1 - eased) * root + eased * clip.root_position[0], clip.root_position)),
        rotations=np.concatenate((before.numpy(), clip.rotations)),
        contacts=None,
        loop="none",
    )


def unrolled(clip: MotionClip, least: float) -> MotionClip:
    """A cycle gone through again and again for at least so many seconds, an hour at most; any other clip as it is."""
    if not 0.0 <= least <= MAX_DURATION:
        raise SettingError(f"seconds must be 0 to {MAX_DURATION:g}, found {least:g}")
    if clip.loop != "wrap":
        return clip
    times = max(1, math.ceil(least / clip.duration))
    root = np.concatenate([clip.root_position[:-1] + k * clip.cycle_displacement for k in range(times)])
    return replace(clip, root_position=root, rotations=np.tile(clip.rotations[:-1], (times, 1, 1)), contacts=None, loop="none")


def _heading(clip: MotionClip) -> float:
    """Where the pelvis faces at first, rad: its x axis seen from above; of a pelvis that faces up or down, its z axis, head first."""
    root = torch.as_tensor(clip.rotations[0, 0].copy())
    ahead = rot.rotate(root, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    if float(ahead[:2].norm()) < 0.3:
        ahead = rot.rotate(root, torch.tensor([0.0, 0.0, -float(torch.sign(ahead[2]))], dtype=torch.float64))
    return float(torch.atan2(ahead[1], ahead[0]))


def _lowest_joint(clip: MotionClip) -> float:
    position = kinematics.forward_kinematics(
        clip.skeleton, torch.as_tensor(clip.root_position.copy()), torch.as_tensor(clip.rotations.copy())
    )[0]
    return float(position[..., 2].min())
