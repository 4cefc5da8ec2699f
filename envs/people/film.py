"""One person through one camera, frame after frame of a clip: a video of which everything is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mprl.envs.people.poses import on_body
from mprl.envs.people.scenes import SINGLE, Picture, Scenery, Studio, view
from mprl.motion.body.joints import from_smpl, rotations_to_pose, to_smpl
from mprl.motion.clip import MotionClip


def film(studio: Studio, clip: MotionClip, seed: int = 0, scenery: Scenery = SINGLE) -> list[Picture]:
    """A picture of each frame of a clip. The camera stands still and sees all of it; clothes, light and background stay the same.

    Args:
        studio: whose body is filmed.
        clip: any motion of a person; others than SMPL's joints are retargeted.
        seed: of shape, clothes, camera, light and background.
        scenery: what pictures are like; nobody and nothing else is in them.

    Raises:
        SettingError, UnknownNameError: a clip whose joints cannot be told.
    """
    alone = Studio(studio.poses, replace(scenery, people=1, boxes=0.0), studio.body)
    rng = np.random.default_rng(seed)
    clip = on_body(clip)
    betas = np.repeat(rng.normal(0.0, scenery.shape, (1, studio.body.num_betas)), clip.num_frames, axis=0)
    pelvis = from_smpl(studio.body.rest_joints(torch.as_tensor(betas[:1]).float()))[0, 0]
    moved = to_smpl(torch.tensor(clip.root_position).float() - pelvis)
    people = alone.posed(rotations_to_pose(torch.tensor(clip.rotations)).float().numpy(), betas, moved.numpy())
    camera = view(np.concatenate([one.vertices[::7] for one in people]), rng, scenery)
    return [alone.shot([one], camera, 0, np.random.default_rng([seed, 1])) for one in people]
