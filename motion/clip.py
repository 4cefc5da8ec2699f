"""One motion: a skeleton's root path and joint rotations over time.

World z up, x forward; metres, seconds, radians; quaternions (w, x, y, z), each joint's relative to its parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mprl.errors import MotionFormatError

# s; a file that claims more is broken, and laying it out would only fill the memory
MAX_DURATION = 3600.0
MAX_ROTATIONS = 2**24  # frames times joints; an hour of a body with fingers at 60 Hz

Loop = Literal["wrap", "none"]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Skeleton:
    """Joints of a body at rest.

    Attributes:
        names: joint names; joint 0 is the root.
        parents: parent of each joint, -1 for the root; a parent comes before its children.
        offsets: position of each joint in its parent's frame at rest, (J, 3) m.
        rest_pose: what all-identity rotations look like, "T-pose" for our own characters.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Array
    rest_pose: str = "T-pose"

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", _frozen(self.offsets))
        joints = len(self.names)
        if len(self.parents) != joints or self.offsets.shape != (joints, 3):
            raise ValueError(f"skeleton: {joints} names, {len(self.parents)} parents, offsets of shape {self.offsets.shape}")
        if joints == 0 or self.parents[0] != -1 or any(not 0 <= p < i for i, p in enumerate(self.parents) if i):
            raise ValueError("skeleton: joint 0 must be the only root, and each parent must come before its children")
        if not np.isfinite(self.offsets).all():
            raise ValueError("skeleton: offsets must be finite, found NaN or infinity")


@dataclass(frozen=True)
class Provenance:
    """Where a motion comes from, and under what terms it may be used."""

    source: str = ""
    licence: str = ""
    author: str = ""


@dataclass(frozen=True)
class MotionClip:
    """One motion. Immutable: its arrays are read-only; `dataclasses.replace` makes a changed copy.

    Attributes:
        name: short name, for messages and tables.
        skeleton: the J joints that move.
        frame_rate: frames per second, Hz. T frames last (T - 1) / frame_rate seconds.
        root_position: (T, 3) m, world.
        rotations: (T, J, 4) unit quaternions wxyz, relative to the parent; the root's relative to the world.
        loop: "wrap": the motion is a cycle, continued from its last frame with the root's displacement over one cycle; the last
            frame is the first one of the next cycle. "none": it ends.
        contacts: which feet bear on the floor, (T, feet) bool, or None where not labelled.
        betas, gender: shape of the SMPL body it was recorded from, where known.
        provenance: source, licence, author.
    """

    name: str
    skeleton: Skeleton
    frame_rate: float
    root_position: Array
    rotations: Array
    loop: Loop = "none"
    contacts: NDArray[np.bool_] | None = None
    betas: Array | None = None
    gender: str = "neutral"
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        for key in ("root_position", "rotations", "betas"):
            value = getattr(self, key)
            if value is not None:
                object.__setattr__(self, key, _frozen(value))
        frames, joints = len(self.root_position), len(self.skeleton.names)
        if frames < 2:
            raise MotionFormatError(f"{self.name}: a motion needs at least 2 frames, found {frames}")
        if self.root_position.shape != (frames, 3) or self.rotations.shape != (frames, joints, 4):
            raise MotionFormatError(
                f"{self.name}: expected root positions ({frames}, 3) and rotations ({frames}, {joints}, 4), "
                f"found {self.root_position.shape} and {self.rotations.shape}"
            )
        object.__setattr__(self, "frame_rate", float(self.frame_rate))  # not NumPy's, whose text no other program reads
        if not (np.isfinite(self.frame_rate) and self.frame_rate > 0):
            raise MotionFormatError(f"{self.name}: frame rate must be positive, found {self.frame_rate}")
        if self.duration > MAX_DURATION:
            raise MotionFormatError(f"{self.name}: expected a motion of at most an hour, found {self.duration:.6g} s")
        if self.loop not in ("wrap", "none"):
            raise MotionFormatError(f"{self.name}: loop must be 'wrap' or 'none', found '{self.loop}'")
        _check_finite(self.name, self.root_position, self.rotations)
        if self.contacts is not None:
            contacts = np.array(self.contacts, dtype=bool)
            if contacts.ndim != 2 or len(contacts) != frames:
                raise MotionFormatError(f"{self.name}: expected contacts ({frames}, feet), found {contacts.shape}")
            contacts.flags.writeable = False
            object.__setattr__(self, "contacts", contacts)
        if self.betas is not None and not (self.betas.ndim == 1 and np.isfinite(self.betas).all()):
            raise MotionFormatError(f"{self.name}: betas must be a vector of finite numbers")
        with np.errstate(over="ignore"):  # an infinite length is no unit length
            norm = np.linalg.norm(self.rotations, axis=-1)
        if np.abs(norm - 1).max() > 1e-3:
            frame, joint = np.argwhere(np.abs(norm - 1) > 1e-3)[0]
            raise MotionFormatError(
                f"{self.name}, frame {frame}: rotation of '{self.skeleton.names[joint]}' has length {norm[frame, joint]:.3g}, expected 1"
            )

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.root_position)

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last; of a cycle, its period."""
        return (self.num_frames - 1) / self.frame_rate

    @property
    def cycle_displacement(self) -> Array:
        """How far one cycle carries the root, (3,) m: horizontal, as a cycle neither climbs nor sinks; 0 if it does not loop."""
        if self.loop == "none":
            return np.zeros(3)
        step = self.root_position[-1] - self.root_position[0]
        return np.array([step[0], step[1], 0.0])

    def raised(self, height: float) -> MotionClip:
        """The same motion `height` metres higher."""
        return replace(self, root_position=self.root_position + np.array([0.0, 0.0, height]))


def _frozen(value: object) -> Array:
    array = np.array(value, dtype=np.float64)
    array.flags.writeable = False
    return array


def _check_finite(name: str, root_position: Array, rotations: Array) -> None:
    for what, values in (("root position", root_position), ("rotations", rotations)):
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if bad.any():
            raise MotionFormatError(f"{name}, frame {int(np.argmax(bad))}: {what} must be finite, found NaN or infinity")


def resample(times: Sequence[float] | Array, frame_rate: float, root_position: Array, rotations: Array) -> tuple[Array, Array]:
    """Bring frames at uneven times to an even rate: linear in position, slerp in rotation.

    The rate is changed a little so that the last frame falls on the last sample: a cycle keeps its exact period.

    Args:
        times: time of each frame, (T,) s, increasing.
        frame_rate: about how many frames per second to make, Hz.
        root_position: (T, 3) m.
        rotations: (T, J, 4) wxyz.

    Returns:
        Root positions (N, 3) and rotations (N, J, 4); N - 1 = round(duration * frame_rate), at least 1.
    """
    from scipy.spatial.transform import Rotation, Slerp

    times = np.asarray(times, dtype=np.float64)
    count = max(1, round((times[-1] - times[0]) * frame_rate)) + 1
    at = np.linspace(times[0], times[-1], count)
    positions = np.stack([np.interp(at, times, root_position[:, k]) for k in range(3)], axis=1)
    turned = np.empty((count, rotations.shape[1], 4))
    for j in range(rotations.shape[1]):
        turned[:, j] = Slerp(times, Rotation.from_quat(rotations[:, j], scalar_first=True))(at).as_quat(scalar_first=True)
    return positions, turned
