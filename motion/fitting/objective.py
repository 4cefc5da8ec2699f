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

from mprl.motion.fitting import terms
from mprl.motion.fitting.cameras import Cameras
from mprl.motion.fitting.evidence import Evidence
from mprl.motion.fitting.placing import Turn
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
        turned: Tensor = Turn.apply(self.turn, self.root)
        return turned

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
        # in memory frames come last, as in what a body's points are made of
        self._seen = evidence.seen.permute(0, 3, 2, 1).contiguous().movedim(1, -1)  # (V, K, T, 2)
        self._confidence = evidence.confidence.transpose(1, 2).contiguous()
        self._steps, self._feet = evidence.steps(), evidence.stands.any(dim=0).nonzero().squeeze(1)
        self._stands = evidence.stands[:, self._feet]

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
        w, steps = self.weights, self._steps
        joints, points = self.placed(p)
        found = dict(self._own(p, joints, points))
        found["shape"] = w.shape * terms.shape(p.betas)
        found["focal"] = w.focal * 0.5 * (p.log_focal / 0.3).square()
        if len(p.pose) < 2:
            return found
        moving, turning = terms.velocities(joints, steps), terms.velocities(p.pose, steps)
        found["speed"] = w.speed * terms.speed(moving, 1.0)
        found["pose_speed"] = w.pose_speed * terms.speed(turning, 3.0)
        if len(self._feet):
            feet = terms.velocities(points.index_select(1, self._feet), steps)
            found["standing"] = w.standing * terms.standing(feet, self._stands)
        if len(p.pose) > 2:
            root = terms.angular_velocities(p.turned(), steps)
            found["acceleration"] = w.acceleration * terms.acceleration(moving, steps, 10.0)
            found["turning"] = w.turning * terms.acceleration(turning, steps, 50.0)
            found["root_turning"] = w.turning * terms.acceleration(root, steps, 50.0)
        return found

    def _own(self, p: Parameters, joints: Tensor, points: Tensor) -> Mapping[str, Tensor]:
        w = self.weights
        cameras = replace(self.cameras, focal=self.cameras.focal * p.log_focal.exp())
        pixels, depth = cameras.project(points.transpose(0, 1))  # (V, K, T, 2) and (V, K, T)
        found = {
            "data": w.data * terms.reprojection(pixels, self._seen, self._confidence, w.robust, self.evidence.deviation),
            "prior": w.prior * self.prior(p.pose),
            "hinges": w.hinges * terms.hinges(p.pose),
        }
        # a body behind the camera would look as if it were upside down in front of it
        found["data"] = found["data"] + 10.0 * (0.3 - depth).clamp(min=0.0).sum(dim=(0, 1))
        if w.interpenetration:
            found["interpenetration"] = w.interpenetration * terms.interpenetration(joints)
        return found
