"""A recording of inertial sensors, and how their readings become those of the bones they are on.

World: z up, the same for all sensors, whichever way its x axis points. At the beginning the person stands still in a T-pose (arms
sideways, palms down, feet ahead); from that it is found how each sensor is turned on its bone, so sensors may be worn in any way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.errors import MotionFormatError, unknown_name
from mprl.motion import rotations as rot
from mprl.motion.clip import MAX_DURATION
from mprl.motion.fitting.imu.sensors import NAMES

Array = NDArray[np.float64]
LONGEST_GAP = 0.25  # s; what is missing for longer cannot be told from its ends
_STILL_ANGLE, _STILL_ACCELERATION = math.radians(15.0), 2.0  # m/s²; of a T-pose that is held
_SLOWEST, _SHORTEST = 10.0, 0.2  # Hz, below which limbs swing between two readings; s, of a T-pose whose mean is one
_MIXED = 0.3  # share of readings whose absence is no accident any more


@dataclass(frozen=True, eq=False)
class Readings:
    """A recording of S sensors, T frames. Immutable; what is missing for a moment is NaN when made, and filled.

    Attributes:
        sensors: names, of `sensors.NAMES`.
        orientation: of each sensor in the world, (T, S, 4) unit quaternions wxyz.
        acceleration: free acceleration: in the world's axes, without gravity, (T, S, 3) m/s². What an accelerometer feels, along its own
            axes and with gravity, becomes that by `mprl.motion.inertial.free_acceleration`; the readers of files do it.
        frame_rate: Hz, of all sensors.
        calibration: for so many seconds at the beginning the T-pose is held; 0: the orientations are the bones' own.
        heading: where the person faces in the T-pose, as an angle to the left from the world's x axis, rad.
        spacing: 1 for what sensors measured; n for synthetic accelerations made from positions n frames apart (4 in DIP's and
            TransPose's data).
        name: for messages.

    Raises:
        MotionFormatError: says which sensor and frame, what was expected and what was found.
    """

    sensors: tuple[str, ...]
    orientation: Array
    acceleration: Array
    frame_rate: float
    calibration: float = 1.0
    heading: float = 0.0
    spacing: int = 1
    name: str = "readings"

    def __post_init__(self) -> None:
        check_sensors(self.name, self.sensors)
        orientation, acceleration = (np.array(value, dtype=np.float64) for value in (self.orientation, self.acceleration))
        frames, count = len(orientation), len(self.sensors)
        if orientation.shape != (frames, count, 4) or acceleration.shape != (frames, count, 3):
            raise MotionFormatError(
                f"{self.name}: expected orientations ({frames}, {count}, 4) and accelerations ({frames}, {count}, 3), "
                f"found {orientation.shape} and {acceleration.shape}"
            )
        for what, value, least in (("frame rate", self.frame_rate, _SLOWEST), ("calibration", self.calibration, 0.0)):
            if not least <= value <= 1e4:
                raise MotionFormatError(f"{self.name}: {what}: expected a number of at least {least:g}, found {value:g}")
        if 0 < self.calibration < _SHORTEST:
            raise MotionFormatError(
                f"{self.name}: calibration: expected a T-pose of at least {_SHORTEST:g} s, or 0 for none, found {self.calibration:g}"
            )
        if not math.isfinite(self.heading):
            raise MotionFormatError(f"{self.name}: heading must be finite, found {self.heading}")
        if self.spacing < 1 or (self.spacing > 1 and 2 * self.spacing >= frames):
            raise MotionFormatError(
                f"{self.name}: spacing: expected at least 1 frame and less than half of the {frames} frames, found {self.spacing}"
            )
        needed = max(self.calibration, 0.0) + 0.5
        if frames / self.frame_rate < needed:
            raise MotionFormatError(
                f"{self.name}: {frames} frames at {self.frame_rate:g} Hz are too short: expected the T-pose of {self.calibration:g} s and "
                f"half a second of motion, {math.ceil(needed * self.frame_rate)} frames"
            )
        if frames / self.frame_rate > MAX_DURATION:
            raise MotionFormatError(f"{self.name}: expected a recording of at most an hour, found {frames / self.frame_rate:.6g} s")
        for s, sensor in enumerate(self.sensors):
            bad = ~(np.isfinite(orientation[:, s]).all(axis=-1) & np.isfinite(acceleration[:, s]).all(axis=-1))
            _fill(f"{self.name}, sensor '{sensor}'", orientation[:, s], acceleration[:, s], np.asarray(bad), self.frame_rate)
        length = np.linalg.norm(orientation, axis=-1)
        if (wrong := np.abs(length - 1) > 0.02).any():
            frame, s = np.argwhere(wrong)[0]
            raise MotionFormatError(
                f"{self.name}, sensor '{self.sensors[s]}', frame {frame}: orientation has length {length[frame, s]:.3g}, expected a unit "
                "quaternion wxyz"
            )
        if (wrong := np.abs(acceleration).max(axis=-1) > 1e4).any():
            frame, s = np.argwhere(wrong)[0]
            raise MotionFormatError(f"{self.name}, sensor '{self.sensors[s]}', frame {frame}: above 1e4 m/s²; is that the unit?")
        for key, array in (("orientation", orientation / length[..., None]), ("acceleration", acceleration)):
            array.flags.writeable = False
            object.__setattr__(self, key, array)
        if self.calibration:
            self._check_still()

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.orientation)

    def only(self, sensors: tuple[str, ...]) -> Readings:
        """Those of some of the sensors.

        Raises:
            UnknownNameError: one that is not in the recording.
        """
        for sensor in sensors:
            if sensor not in self.sensors:
                raise unknown_name("sensor", sensor, self.sensors, f"{self.name} has {', '.join(self.sensors)}")
        at = [self.sensors.index(sensor) for sensor in sensors]
        return replace(self, sensors=tuple(sensors), orientation=self.orientation[:, at], acceleration=self.acceleration[:, at])

    def bone_rotations(self) -> Tensor:
        """How the bones are turned in the world, (T, S, 4) float64: each sensor's turn since the T-pose, in which all face `heading`."""
        orientation = torch.as_tensor(self.orientation.copy())
        if not self.calibration:
            return orientation
        rest = _mean(orientation[: self._calibration_frames()])
        facing = rot.about_vertical(torch.tensor(self.heading, dtype=torch.float64))
        mount = rot.multiply(rot.conjugate(rest), facing.expand_as(rest))
        return rot.unit(rot.multiply(orientation, mount.expand_as(orientation)))

    def free_accelerations(self) -> Tensor:
        """Accelerations (T, S, 3) float64, less what is felt on average in the T-pose, in which nothing accelerates."""
        acceleration = torch.as_tensor(self.acceleration.copy())
        return acceleration - acceleration[: self._calibration_frames()].mean(dim=0) if self.calibration else acceleration

    def _calibration_frames(self) -> int:
        return max(2, round(self.calibration * self.frame_rate))

    def _check_still(self) -> None:
        frames = self._calibration_frames()
        orientation = torch.as_tensor(self.orientation[:frames].copy())
        turned = rot.angle(orientation, _mean(orientation).expand_as(orientation)).amax(dim=0)
        s = int(turned.argmax())
        held = f"{self.name}: no calibration pose: in the first {self.calibration:g} s sensor"
        say = "hold a T-pose there, or say calibration=0 (--calibration 0) where orientations are the bones' own"
        if float(turned[s]) > _STILL_ANGLE:
            raise MotionFormatError(f"{held} '{self.sensors[s]}' turns by {math.degrees(float(turned[s])):.0f} degrees; {say}")
        mean = self.acceleration[:frames].mean(axis=0)
        s = int(np.linalg.norm(mean, axis=-1).argmax())
        if (size := float(np.linalg.norm(mean[s]))) > _STILL_ACCELERATION:
            raise MotionFormatError(
                f"{held} '{self.sensors[s]}' accelerates by {size:.1f} m/s² along ({', '.join(f'{x:.1f}' for x in mean[s])}); expected "
                "about 0: is gravity still in it (acceleration: specific_force), or is the world not z up?"
            )


def check_sensors(name: str, sensors: tuple[str, ...]) -> None:
    """Raise an error of one line, that begins with `name`, unless these are some of the six sensors, each once."""
    if not sensors:
        raise MotionFormatError(f"{name}: holds no sensor; known are {', '.join(NAMES)}")
    for sensor in sensors:
        if sensor not in NAMES:
            raise unknown_name("sensor", sensor, NAMES, f"{name}; known are {', '.join(NAMES)}")
    if len(set(sensors)) < len(sensors):
        twice = next(sensor for sensor in sensors if sensors.count(sensor) > 1)
        raise MotionFormatError(f"{name}: the sensor '{twice}' is there twice")


def _fill(where: str, orientation: Array, acceleration: Array, bad: NDArray[np.bool_], frame_rate: float) -> None:
    """Put in place what is missing for a moment: turned evenly from one end of the gap to the other, and as linear accelerations."""
    if not bad.any():
        return
    if bad.mean() > _MIXED:
        raise MotionFormatError(
            f"{where}: {bad.mean():.0%} of its readings are missing; is it slower (mixed rates)? Bring all to one rate first"
        )
    edges = np.flatnonzero(np.diff(np.concatenate(([False], bad, [False]))))
    starts, ends = edges[::2], edges[1::2]
    longest = int((ends - starts).argmax())
    if ends[longest] - starts[longest] > LONGEST_GAP * frame_rate:
        raise MotionFormatError(
            f"{where}, frames {starts[longest]} to {ends[longest] - 1}: nothing for {(ends[longest] - starts[longest]) / frame_rate:.2f} "
            f"s, expected gaps of at most {LONGEST_GAP:g} s; cut the recording there"
        )
    good = np.flatnonzero(~bad)
    at = np.flatnonzero(bad)
    for axis in range(3):
        acceleration[at, axis] = np.interp(at, good, acceleration[good, axis])
    right = good[np.searchsorted(good, at).clip(max=len(good) - 1)]
    left = good[(np.searchsorted(good, at) - 1).clip(min=0)]
    share = np.where(right > left, (at - left) / np.maximum(right - left, 1), 0.0).clip(0, 1)
    before, after = (rot.unit(torch.as_tensor(orientation[side])) for side in (left, right))
    orientation[at] = rot.slerp(before, after, torch.as_tensor(share)).numpy()


def _mean(orientation: Tensor) -> Tensor:
    """Of orientations that differ little, (T, S, 4) -> (S, 4)."""
    return rot.unit(rot.continuous(orientation).mean(dim=0))
