"""What a fit makes small: one function of shape, pose and camera, whose terms are in `terms.py`.

objective = Objective(points, keypoints, cameras, prior)
energy = objective(parameters)                   # (), nats, differentiable
objective.of_frames(parameters)                  # (T,), each frame by itself, without what ties frames together
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from mprl.motion.body import skinning
from mprl.motion.fitting import terms
from mprl.motion.fitting.cameras import Cameras
from mprl.motion.fitting.evidence import Evidence
from mprl.motion.fitting.points import BodyPoints
from mprl.motion.fitting.priors import Prior


class Parameters(NamedTuple):
    """What is fitted.

    Attributes:
        betas: shape of all frames, (S,).
        log_focal: logarithm of a factor on the cameras' focal lengths, ().
        root: rotation of the pelvis that steps start from, (T, 3, 3).
        turn: rotation vector applied after it, (T, 3) rad: it stays small, so that it has no singularity near.
        pose: rotation vectors of joints 1 to 21, (T, 21, 3) rad.
        place: of the pelvis, (T, 3) m.
    """

    betas: Tensor
    log_focal: Tensor
    root: Tensor
    turn: Tensor
    pose: Tensor
    place: Tensor

    def turned(self) -> Tensor:
        """The pelvis' rotation, (T, 3, 3)."""
        return skinning.rotation_matrices(self.turn) @ self.root

    def settled(self) -> Parameters:
        """The same with `turn` taken into `root`, apart from any graph."""
        detached = Parameters(*(value.detach() for value in self))
        return detached._replace(root=detached.turned(), turn=torch.zeros_like(detached.turn))

    def at(self, frames: Tensor | slice) -> Parameters:
        """Some of the frames."""
        return self._replace(root=self.root[frames], turn=self.turn[frames], pose=self.pose[frames], place=self.place[frames])


@dataclass(frozen=True)
class Weights:
    """Of the terms. A weight of 1 takes an energy as it is: nats of the model that the term stands for."""

    data: float = 1.0
    prior: float = 0.3
    shape: float = 1.0
    hinges: float = 0.3
    speed: float = 0.02
    acceleration: float = 0.05
    pose_speed: float = 0.1
    turning: float = 1.0
    standing: float = 1.0
    interpenetration: float = 1.0
    focal: float = 1.0
    robust: float = 100.0  # ρ, px for a person of 500 px


class Objective:
    """The energy of parameters.

    Args:
        points: of the keypoints' layout.
        evidence: what was seen.
        cameras: one for each view.
        prior: of poses.
        weights: of the terms.
    """

    def __init__(self, points: BodyPoints, evidence: Evidence, cameras: Cameras, prior: Prior, weights: Weights | None = None) -> None:
        self.points, self.evidence, self.cameras, self.prior = points, evidence, cameras, prior
        self.weights = weights or Weights()

    def __call__(self, p: Parameters) -> Tensor:
        """The whole energy divided by the number of frames, nats, ()."""
        found = self.terms(p)
        return torch.stack([value.sum() for value in found.values()]).sum() / len(p.pose)

    def of_frames(self, p: Parameters) -> Tensor:
        """The energy of each frame by itself, (T,) nats."""
        return torch.stack(list(self._own(p, *self.placed(p)).values())).sum(dim=0)

    def placed(self, p: Parameters) -> tuple[Tensor, Tensor]:
        """Joints (T, 24, 3) and points (T, K, 3), m."""
        joints: tuple[Tensor, Tensor] = self.points(p.betas, p.root, p.turn, p.pose, p.place)
        return joints

    def terms(self, p: Parameters) -> Mapping[str, Tensor]:
        """Each term with its weight; of frames, of steps between them, or single numbers."""
        w, rate = self.weights, self.evidence.frame_rate
        joints, points = self.placed(p)
        found = dict(self._own(p, joints, points))
        found["shape"] = w.shape * terms.shape(p.betas)
        found["focal"] = w.focal * 0.5 * (p.log_focal / 0.3).square()
        if len(p.pose) > 1:
            found["speed"] = w.speed * terms.joint_steps(joints, rate)
            found["pose_speed"] = w.pose_speed * terms.pose_steps(p.pose, rate)
            found["standing"] = w.standing * terms.standing(points, self.evidence.stands, rate)
        if len(p.pose) > 2:
            found["acceleration"] = w.acceleration * terms.joint_accelerations(joints, rate)
            found["turning"] = w.turning * terms.turning(p.turned(), p.pose, rate)
        return found

    def _own(self, p: Parameters, joints: Tensor, points: Tensor) -> Mapping[str, Tensor]:
        w, e = self.weights, self.evidence
        cameras = replace(self.cameras, focal=self.cameras.focal * p.log_focal.exp())
        pixels, depth = cameras.project(points)
        found = {
            "data": w.data * terms.reprojection(pixels, e.seen, e.confidence, w.robust, e.deviation),
            "prior": w.prior * self.prior(p.pose),
            "hinges": w.hinges * terms.hinges(p.pose),
        }
        # a body behind the camera would look as if it were upside down in front of it
        found["data"] = found["data"] + 10.0 * (0.3 - depth).clamp(min=0.0).sum(dim=(0, 2))
        if w.interpenetration:
            found["interpenetration"] = w.interpenetration * terms.interpenetration(joints)
        return found
