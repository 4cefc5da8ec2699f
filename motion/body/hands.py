"""SMPL-H and SMPL-X with SMPL's 24 joints: the fingers rest in the mean pose of the file, jaw and eyes belong to the head.

The mesh stays the file's own. What the resting fingers do is linear in the shape, so it is written into template, shape and pose
directions once; with hand joints unturned the result is the full model's with that hand pose.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mprl.motion.body import skinning
from mprl.motion.body.joints import PARENTS

_BODY = 22  # joints before the fingers (and SMPL-X' jaw and eyes), the same in all three models
_FINGERS = 15  # joints of a hand, three of each finger
_HEAD = 15
_KNUCKLE = 3  # the middle finger's first joint: where SMPL's own hand joint is


def without_fingers(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays of 52 or 55 joints -> of 24."""
    parents = [-1, *(int(parent) for parent in arrays["kintree_table"][0][1:])]
    joints = len(parents)
    left, right = joints - 2 * _FINGERS, joints - _FINGERS
    template, shapes, poses, weights, regressor = (
        torch.from_numpy(np.asarray(arrays[key], dtype=np.float64))
        for key in ("v_template", "shapedirs", "posedirs", "weights", "J_regressor")
    )
    pose = torch.zeros(joints, 3, dtype=torch.float64)
    for start, key in ((left, "hands_meanl"), (right, "hands_meanr")):
        if key in arrays:
            pose[start : start + _FINGERS] = torch.from_numpy(np.asarray(arrays[key], dtype=np.float64)).reshape(_FINGERS, 3)
    rotations = skinning.rotation_matrices(pose)
    corrected = template + poses @ (rotations[1:] - torch.eye(3)).flatten()
    tree = skinning.Tree(parents)

    def rest(points: Tensor, places: Tensor) -> Tensor:
        """Points (N, V, 3) with resting fingers, for joints (N, J, 3): linear in both."""
        turned = rotations.expand(len(points), -1, -1, -1)
        world, moved = skinning.forward_kinematics(turned, places, tree)
        return skinning.blend_skinning(points.transpose(1, 2), skinning.bone_transforms(world, moved, places), weights.T).transpose(1, 2)

    shape_rows, pose_rows = shapes.permute(2, 0, 1), poses[..., : 9 * (_BODY - 1)].permute(2, 0, 1)
    template = rest(corrected[None], (regressor @ template)[None])[0]
    new_shapes = rest(shape_rows, regressor @ shape_rows)
    new_poses = rest(pose_rows, torch.zeros(len(pose_rows), joints, 3, dtype=torch.float64))

    rows = [*range(_BODY), left + _KNUCKLE, right + _KNUCKLE]
    hands = torch.stack([weights[:, start : start + _FINGERS].sum(dim=1) for start in (left, right)], dim=1)
    new_weights = torch.cat((weights[:, :_BODY], hands), dim=1)
    new_weights[:, _HEAD] += weights[:, _BODY:left].sum(dim=1)
    wanted = torch.cat(((regressor @ torch.as_tensor(arrays["v_template"], dtype=torch.float64))[None], regressor @ shape_rows))[:, rows]
    kept = {key: value for key, value in arrays.items() if not key.startswith("hands_")}
    return kept | {
        "v_template": template.numpy(),
        "shapedirs": new_shapes.permute(1, 2, 0).numpy(),
        "posedirs": torch.cat((new_poses.permute(1, 2, 0), torch.zeros(len(template), 3, 18, dtype=torch.float64)), dim=2).numpy(),
        "weights": new_weights.numpy(),
        "J_regressor": _refit(regressor[rows], torch.cat((template[None], new_shapes)), wanted).numpy(),
        "kintree_table": np.stack((np.array(PARENTS) % 2**32, np.arange(24))),
    }


def _refit(regressor: Tensor, meshes: Tensor, joints: Tensor) -> Tensor:
    """The nearest regressor, rows summing to 1, that puts the joints (S + 1, J, 3) where they were before the fingers moved."""
    conditions = torch.cat((meshes.permute(0, 2, 1).flatten(0, 1), torch.ones(1, meshes.shape[1], dtype=meshes.dtype)))
    target = torch.cat((joints.permute(1, 0, 2).flatten(1), torch.ones(len(regressor), 1, dtype=meshes.dtype)), dim=1)
    return regressor + (target - regressor @ conditions.T) @ torch.linalg.pinv(conditions).T
