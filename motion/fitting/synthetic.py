"""Evidence whose truth is known: a clip's keypoints as cameras see them, with noise and misses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS
from mprl.motion.body.smpl import SmplBody
from mprl.motion.clip import MotionClip
from mprl.motion.fitting import cameras as cams
from mprl.motion.fitting.points import BodyPoints
from mprl.perception.pose2d import layouts
from mprl.perception.pose2d.keypoints import Keypoints


def true_points(clip: MotionClip, names: Sequence[str], body: SmplBody | None = None) -> tuple[Tensor, Tensor]:
    """Joints (T, 24, 3) and named points (T, K, 3) of a clip of SMPL's joints, m, in the world.

    Raises:
        SettingError: another skeleton than SMPL's.
    """
    if set(clip.skeleton.names) != set(JOINTS):
        raise SettingError(f"{clip.name}: its joints are not SMPL's; retarget it first: mprl motion retarget FILE OUT --character smpl")
    rotations = torch.tensor(clip.rotations[:, [clip.skeleton.names.index(name) for name in JOINTS]], dtype=torch.float32)
    vectors, points = rot.to_rotation_vector(rotations), BodyPoints(names, body)
    betas = torch.zeros(points.num_betas)
    if clip.betas is not None:
        known = torch.tensor(clip.betas[: points.num_betas], dtype=torch.float32)
        betas[: len(known)] = known
    place = torch.tensor(clip.root_position, dtype=torch.float32)
    upright = torch.eye(3).expand(len(place), 3, 3)
    return points(betas, upright, vectors[:, 0], vectors[:, 1:], place)


def around(
    clip: MotionClip, views: int = 1, image_size: tuple[int, int] = (960, 720), height: float = 0.7, azimuth: float = 50.0
) -> cams.Cameras:
    """Cameras that see a whole clip, a right angle between neighbours.

    Args:
        clip: of SMPL's joints.
        views: how many.
        image_size: px.
        height: share of the picture's height that a standing person takes where the clip is nearest on average.
        azimuth: where the first one looks, degrees.
    """
    joints = true_points(clip, ())[0]
    middle = 0.5 * (joints.flatten(0, 1).amax(dim=0) + joints.flatten(0, 1).amin(dim=0))
    reach = float((joints[..., :2] - middle[:2]).norm(dim=-1).max())
    focal = 1.2 * image_size[1]
    distance = max(1.75 * focal / (height * image_size[1]), 1.1 * reach * 2 * focal / image_size[0])
    return cams.together(
        [cams.looking_at(middle.tolist(), azimuth + 90.0 * view, -8.0, distance, focal, image_size) for view in range(views)]
    )


def evidence(
    clip: MotionClip,
    cameras: cams.Cameras,
    image_size: tuple[int, int] = (960, 720),
    layout: str = "body_25",
    noise: float = 2.0,
    dropped: float = 0.1,
    seed: int = 0,
    body: SmplBody | None = None,
) -> Keypoints:
    """What a detector would see of a clip.

    Args:
        clip: of SMPL's joints.
        cameras: one for each view.
        image_size: px.
        layout: of the keypoints.
        noise: standard deviation along each axis, px.
        dropped: probability that a keypoint is missed, in each frame and view anew.
        seed: of both.
        body: of the clip; by default the free one.

    Raises:
        SettingError: somebody is behind a camera.
    """
    _, points = true_points(clip, layouts.points(layout), body)
    pixels, depth = cameras.project(points)
    if bool((depth <= 0).any()):
        raise SettingError(f"{clip.name}: in frame {int((depth <= 0).nonzero()[0, 1])} a part of the person is behind the camera")
    random = np.random.default_rng(seed)
    seen = random.random(tuple(depth.shape)) >= dropped
    positions = (pixels.numpy() + noise * random.standard_normal(tuple(pixels.shape))).astype(np.float32)
    return Keypoints(positions, seen.astype(np.float32), layout, (image_size,) * len(cameras), clip.frame_rate, clip.name)
