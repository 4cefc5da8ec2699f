"""Pose-dependent corrections: what linear blend skinning of 24 joints gets wrong, learned from posed registrations.

For every posed registration the skinning is undone vertex by vertex; what then differs from the body at rest is the correction that
this pose wanted. It is regressed on the entries of the joint rotations, less the identity's, by ridge regression: towards no
correction, as in SMPL (Loper et al. 2015, eq. 9). A vertex hears only the joints between the bones that move it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.motion import rotations as rot
from mprl.motion.body import skinning
from mprl.motion.body.joints import JOINTS, PARENTS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# How far joints of people turn, rad: lowest and highest rotation vector, for the left side; in SMPL's frame.
_RANGES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "hip": ((-2.1, -0.7, -0.4), (0.6, 0.7, 0.9)), "knee": ((-0.1, -0.3, -0.1), (2.4, 0.3, 0.1)),
    "ankle": ((-0.7, -0.4, -0.4), (0.8, 0.4, 0.4)), "foot": ((-0.7, -0.1, -0.1), (0.3, 0.1, 0.1)),
    "spine": ((-0.3, -0.35, -0.3), (0.5, 0.35, 0.3)), "neck": ((-0.5, -0.6, -0.4), (0.5, 0.6, 0.4)),
    "head": ((-0.5, -0.6, -0.4), (0.5, 0.6, 0.4)), "collar": ((-0.1, -0.3, -0.2), (0.1, 0.3, 0.5)),
    "shoulder": ((-1.2, -1.5, -1.5), (1.2, 0.7, 1.2)), "elbow": ((-1.2, -2.4, -0.1), (1.2, 0.1, 0.1)),
    "wrist": ((-0.8, -0.5, -1.0), (0.8, 0.5, 1.0)), "hand": ((-0.1, -0.1, -0.6), (0.1, 0.1, 0.2)),
}  # fmt: skip


def random_poses(count: int, rng: np.random.Generator) -> Tensor:
    """Rotations of the 24 joints within what people can do, each joint at rest in a third of the poses, (count, 24, 4) wxyz."""
    pose = np.zeros((count, 24, 3))
    for joint, name in enumerate(JOINTS[1:], start=1):
        low, high = _range(name)
        turn = rng.uniform(low, high, (count, 3)) * (rng.random((count, 1)) < 0.67)
        pose[:, joint] = turn * (np.array([1.0, -1.0, -1.0]) if name.startswith("right") else 1.0)
    return rot.from_rotation_vector(torch.from_numpy(pose))


def joint_ranges() -> tuple[Floats, Floats]:
    """Lowest and highest rotation vectors that people reach, in SMPL's frame, (24, 3) rad each; 0 for the pelvis."""
    low, high = np.zeros((2, len(JOINTS), 3))
    for joint, name in enumerate(JOINTS[1:], start=1):
        low[joint], high[joint] = _range(name)
        if name.startswith("right"):  # in a mirror turns about y and z change their sign: the lowest becomes the highest
            low[joint, 1:], high[joint, 1:] = -high[joint, 1:], -low[joint, 1:]
    return low, high


def _range(name: str) -> tuple[Floats, Floats]:
    """Of a joint, as it is on the left side."""
    low, high = next(limits for part, limits in _RANGES.items() if part in name)
    return np.array(low), np.array(high)


def mirrored(rotations: Tensor, joint_mirror: Ints) -> Tensor:
    """The same pose in a mirror that swaps left and right."""
    return rotations[:, joint_mirror] * torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=rotations.dtype)


def pose_feature(rotations: Tensor) -> Tensor:
    """Entries of the 23 rotation matrices, less the identity's, (N, 24, 4) -> (N, 207)."""
    matrices = skinning.rotation_matrices(rot.to_rotation_vector(rotations[:, 1:]))
    return (matrices - torch.eye(3, dtype=matrices.dtype)).flatten(1)


def unskinned(posed: Tensor, rotations: Tensor, joints: Tensor, weights: Tensor) -> Tensor:
    """Where the vertices of posed bodies would have to be at rest for linear blend skinning to put them there, (N, V, 3)."""
    matrices = skinning.rotation_matrices(rot.to_rotation_vector(rotations))
    world, places = skinning.forward_kinematics(matrices, joints, skinning.Tree(PARENTS))
    blended = torch.einsum("vj,njab->nvab", weights, skinning.bone_transforms(world, places, joints))
    return torch.linalg.solve(blended[..., :3], (posed - blended[..., 3]).unsqueeze(-1)).squeeze(-1)


def audible_joints(frames: Bools) -> Bools:
    """The joints that can bend each vertex, (V, 23): those with some, but not all, of the frames it follows (V, 24) at or below them."""
    below = np.eye(24, dtype=bool)  # below[k, j]: j is k or one of its descendants
    for joint in range(23, 0, -1):
        below[PARENTS[joint]] |= below[joint]
    some = (frames[:, None, :] & below[None]).any(axis=2)
    some_not = (frames[:, None, :] & ~below[None]).any(axis=2)
    return np.asarray(some & some_not)[:, 1:]


def regress(features: Floats, offsets: Floats, audible: Bools, ridge: float) -> Floats:
    """Corrections by ridge regression.

    Args:
        features: (N, 207).
        offsets: corrections wanted at rest, (N, V, 3) m.
        audible: joints that a vertex hears, (V, 23).
        ridge: weight of the squared coefficients, in units of the number of poses.

    Returns:
        (V, 3, 207) m.
    """
    directions = np.zeros((offsets.shape[1], 3, features.shape[1]))
    patterns, group = np.unique(audible, axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        columns = np.flatnonzero(np.repeat(pattern, 9))
        vertices = np.flatnonzero(group.ravel() == index)
        x = features[:, columns]
        y = offsets[:, vertices].reshape(len(x), -1)
        solved = np.linalg.solve(x.T @ x + ridge * len(x) * np.eye(len(columns)), x.T @ y)
        directions[vertices[:, None], :, columns[None]] = solved.reshape(len(columns), len(vertices), 3).transpose(1, 0, 2)
    return directions


def errors(features: Floats, offsets: Floats, posedirs: Floats) -> tuple[float, float, float, float]:
    """Distance of vertices, m, from posed registrations: mean and 99th percentile without corrections, then with them."""
    left = offsets - (features @ posedirs.reshape(-1, features.shape[1]).T).reshape(offsets.shape)
    without, corrected = (np.linalg.norm(x, axis=-1) for x in (offsets, left))
    return tuple(float(f(x)) for x in (without, corrected) for f in (np.mean, lambda e: np.percentile(e, 99)))  # type: ignore[return-value]
