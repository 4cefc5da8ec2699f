"""A detector in the loop: people are drawn where the bodies are, and a trained model of 2-D pose finds keypoints in the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.envs.imitation.seen import Shown
from mprl.envs.people.camera import Camera
from mprl.envs.people.scenes import SINGLE, Picture, Scenery, Studio
from mprl.motion import rotations as rot
from mprl.motion.body.joints import from_smpl, to_smpl
from mprl.motion.fitting.cameras import Cameras
from mprl.perception.plug import Perception
from mprl.perception.pose2d.detector import Detector

LAYOUT = "coco_17"  # of the detector's keypoints


class RenderedDetector:
    """Detects keypoints in pictures that are drawn in each step; for `Seen(detect=RenderedDetector(...), layout=LAYOUT, ...)`.

    Each world has its own person: clothes, light and background, the same from step to step and from camera to camera.

    Args:
        model: of 2-D pose, of one person or several (`mprl pose train`).
        cameras: of `seen.on_rails`, for pictures of `image_size`.
        image_size: width and height, px.
        betas: shape of the bodies, (S,).
        seed: of what people and pictures are like.
        scenery: of pictures; nothing is in them but the person.
    """

    def __init__(
        self, model: Perception, cameras: Cameras, image_size: tuple[int, int], betas: Tensor, seed: int = 0, scenery: Scenery = SINGLE
    ) -> None:  # fmt: skip
        width, height = image_size
        alone = replace(scenery, width=width, height=height, people=1, boxes=0.0)
        self._studio, self._detector, self._seed = Studio(None, alone), Detector(model), seed
        self._betas = betas
        self._pelvis = from_smpl(self._studio.body.rest_joints(betas[None]))[0, 0]
        self._views = [
            Camera(
                (-rotation.T @ translation).numpy(), rotation.numpy(), float(focal), (float(centre[0]), float(centre[1]))
            )
            for focal, centre, rotation, translation in zip(
                cameras.focal, cameras.centre, cameras.rotation, cameras.translation, strict=True
            )
        ]  # fmt: skip
        self._frames: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._found: dict[tuple[int, int], Iterator[Tensor]] = {}
        self.pictures: list[list[Picture]] = []  # of each view, the last that were drawn

    def __call__(self, true: Tensor, shown: Shown) -> tuple[Tensor, Tensor]:
        pose = to_smpl(rot.to_rotation_vector(shown.rotations)).numpy()
        moved = to_smpl(shown.place - self._pelvis).numpy()
        people = self._studio.posed(pose, self._betas.double().expand(len(pose), -1).numpy(), moved)
        found, sure = torch.zeros_like(true), torch.zeros(true.shape[:-1])
        self.pictures = []
        for view, camera in enumerate(self._views):
            row = [self._studio.shot([one], camera, 0, np.random.default_rng([self._seed, world])) for world, one in enumerate(people)]
            self.pictures.append(row)
            for world, picture in enumerate(row):
                at = view, world
                self._frames[at] = picture.image
                if shown.begins:
                    self._found[at] = self._detector.follow(self._film(at))
                for best in next(self._found[at])[:1]:
                    found[view, world], sure[view, world] = best[:, :2], best[:, 2]
        return found, sure

    def _film(self, at: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
        while True:
            yield self._frames[at]
