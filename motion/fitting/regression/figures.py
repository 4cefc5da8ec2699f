"""What the networks tell of a body, as one row of numbers, and where its points are then.

A row holds the rotation of each bone in the turned camera's frame (x ahead, y left, z up) as its first two columns (Zhou et al. 2019), the
shape, and a weak perspective camera: how much further away the person is than one of usual size would be, as a logarithm, and where
the pelvis is seen. Bones turn in the camera's frame, not their parent's: then a joint is a sum over the bones that lead to it, which
costs one matrix product, and each gradient is that of the bone alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mprl.motion.body.joints import JOINTS
from mprl.motion.fitting.imu import pose as bones_of
from mprl.motion.fitting.points import BODY_JOINTS, BodyPoints
from mprl.motion.fitting.regression.views import POINTS

BONES = BODY_JOINTS + 1  # hands turn with their wrists
USUAL = 0.45  # m: root mean square distance of a standing person's keypoints from their middle


class Figure(NamedTuple):
    """Of B rows.

    Attributes:
        bones: (B, 22, 3, 3), in the turned camera's frame. betas: (B, S).
        camera: logarithm of the distance's factor, and the pelvis right and down of the picture's middle in units of its size, (B, 3).
    """

    bones: Tensor
    betas: Tensor
    camera: Tensor

    def local(self) -> Tensor:
        """Rotations of the joints 1 to 21 relative to their parents, (B, 21, 3, 3)."""
        above = self.bones[:, [bones_of.PARENTS[joint] for joint in range(1, BONES)]]
        return above.transpose(-1, -2) @ self.bones[:, 1:]

    def place(self, size: Tensor) -> Tensor:
        """Of the pelvis before the turned camera, (B, 3) m, where the person is of this size, (B,)."""
        scale, right, down = self.camera.unbind(-1)
        distance = USUAL * scale.clamp(-1.5, 1.5).exp() / size
        return torch.stack((distance, -distance * size * right, -distance * size * down), dim=-1)


def camera_of(place: Tensor, size: Tensor) -> Tensor:
    """The camera's three numbers for a pelvis at `place`, (B, 3) m: undoes `Figure.place`."""
    distance, left, up = place.unbind(-1)
    return torch.stack(((distance * size / USUAL).log(), -left / (distance * size), -up / (distance * size)), dim=-1)


class Figures:
    """Rows of numbers and bodies.

    Args:
        points: of `POINTS`, by default on the free body.

    Attributes:
        numbers: of a row.
    """

    def __init__(self, points: BodyPoints | None = None) -> None:
        self.points = points = points or BodyPoints(POINTS)
        none = torch.zeros(points.num_betas)
        self._arms = points.offsets(none)
        self._shapes = torch.stack([points.offsets(one) - self._arms for one in torch.eye(points.num_betas)])
        joints, everything = points.beyond.shape
        leads = torch.zeros(everything, everything)
        leads[:joints] = points.beyond
        leads[joints:, joints:] = torch.eye(everything - joints)
        self._leads = torch.cat((leads[:, :joints], leads[:, points.order]), dim=1)
        self._holder = points.holder.clamp(max=BONES - 1)
        self._holder[points.holder == len(JOINTS)] = 0  # whose arm is 0
        for hand, wrist in (("left_hand", "left_wrist"), ("right_hand", "right_wrist")):
            self._holder[points.holder == JOINTS.index(hand)] = JOINTS.index(wrist)
        self.numbers = 6 * BONES + points.num_betas + 3

    def rest(self) -> Tensor:
        """A row: the T-pose, facing the camera, of mean shape and usual size, (numbers,)."""
        back = torch.diag(torch.tensor([-1.0, -1.0, 1.0])).expand(1, BONES, 3, 3)
        return self.row(Figure(back, torch.zeros(1, self.points.num_betas), torch.zeros(1, 3)))[0]

    def row(self, figure: Figure) -> Tensor:
        """(B, numbers)."""
        return torch.cat((bones_of.six_d(figure.bones).flatten(1), figure.betas, figure.camera), dim=1)

    def figure(self, row: Tensor) -> Figure:
        """What a row (B, numbers) tells."""
        six, betas, camera = row.split((6 * BONES, self.points.num_betas, 3), dim=1)
        return Figure(bones_of.from_six_d(six.unflatten(1, (BONES, 6))), betas, camera)

    def body(self, figure: Figure) -> tuple[Tensor, Tensor]:
        """Joints (B, 24, 3) and points (B, K, 3) relative to the pelvis, m."""
        arms = self._arms + torch.einsum("bs,spc->bpc", figure.betas, self._shapes)
        turned = (figure.bones.index_select(1, self._holder) @ arms.unsqueeze(-1)).squeeze(-1)
        placed = (turned.transpose(1, 2) @ self._leads).transpose(1, 2)
        return placed[:, : len(JOINTS)], placed[:, len(JOINTS) :]

    def seen(self, points: Tensor, place: Tensor, size: Tensor) -> Tensor:
        """Where points relative to the pelvis are seen, (B, K, 2), in units of the person's size."""
        there = points + place.unsqueeze(1)
        return -there[..., 1:] / there[..., :1].clamp(min=0.05) / size[:, None, None]


def reprojection(found: Tensor, seen: Tensor, confidence: Tensor) -> Tensor:
    """½ Σ c² r² / Σ c² of keypoints, (B, K, 2) in units of the person's size -> (B,)."""
    weight = confidence.square()
    return 0.5 * (weight * (found - seen).square().sum(dim=-1)).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-6)
