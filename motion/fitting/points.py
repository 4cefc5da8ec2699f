"""Where the keypoints of a layout are on an SMPL body: joints, and landmarks of the skin that go with one joint.

A landmark (nose, eyes, ears, toes, heels) is a vertex of SMPL's. On the free body each of them follows a single joint, so it is a
point fixed to that joint, moved by the shape; on others the joint with the greatest weight is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion.body import skinning
from mprl.motion.body.joints import JOINTS, PARENTS, from_smpl
from mprl.motion.body.landmarks import SMPL_INDEX
from mprl.motion.body.smpl import SmplBody
from mprl.motion.fitting.placing import Place

BODY_JOINTS = 21  # of SMPL's joints, those that move more than a hand, the pelvis left out: 1 to 21


class BodyPoints:
    """Points of a body as a function of shape and pose, in our frame (z up, facing +x in the T-pose).

    Args:
        names: of the points: SMPL's joints and landmarks, `body.landmarks.SMPL_INDEX`.
        body: by default the free one.

    Attributes:
        names: as given.
        holder: the joint that turns the arm of each joint and landmark, (24 + M,); 24 for the pelvis', which is 0.
        beyond: which joints and landmarks move with each joint, (24, 24 + M) in {0, 1}.
        order: number of each named point among joints and landmarks, (K,).

    Raises:
        SettingError: a point that the body does not have.
    """

    def __init__(self, names: Sequence[str], body: SmplBody | None = None) -> None:
        body = body or SmplBody.default()
        self.names, self.body, self.num_betas = tuple(names), body, body.num_betas
        unknown = [name for name in names if name not in JOINTS and name not in SMPL_INDEX]
        if unknown:
            raise SettingError(f"the body has no keypoint '{unknown[0]}'")
        like = body.v_template
        self._tree = skinning.Tree(PARENTS, like.device)
        shapes = torch.eye(self.num_betas, dtype=like.dtype, device=like.device)
        mean = body.rest_joints()
        # places at rest as a linear function of the shape, (1 + S, 24, 3): the mean, and what each beta adds
        joints = from_smpl(torch.cat((mean, body.rest_joints(shapes) - mean)))
        vertices = [SMPL_INDEX[name] for name in names if name not in JOINTS]
        holders = body.weights[vertices].argmax(dim=1).tolist() if vertices else []
        marks = from_smpl(torch.cat((body.v_template[vertices][None], body.shapedirs[vertices].permute(2, 0, 1)))) - joints[:, holders]
        arms = torch.cat((torch.zeros_like(joints[:, :1]), joints[:, 1:] - joints[:, PARENTS[1:]]), dim=1)
        offsets = torch.cat((arms, marks), dim=1)
        self._mean, self._shapes = offsets[0], offsets[1:].flatten(1)
        # the joint that turns each point's offset; and which points move when a joint is placed elsewhere
        self.holder = torch.tensor([len(JOINTS), *PARENTS[1:], *holders], device=like.device)
        beyond = torch.eye(len(JOINTS), dtype=like.dtype, device=like.device)
        for joint, parent in reversed(list(enumerate(PARENTS))):
            if parent >= 0:
                beyond[parent] += beyond[joint]
        self.beyond = torch.cat((beyond, beyond[:, holders]), dim=1)
        rest = iter(range(len(JOINTS), len(JOINTS) + len(vertices)))
        order = [JOINTS.index(name) if name in JOINTS else next(rest) for name in names]
        self.order = torch.tensor(order, dtype=torch.long, device=like.device)

    def offsets(self, betas: Tensor) -> Tensor:
        """Of all joints and landmarks of a shape (S,) in their holders' frames, (24 + M, 3) m; the pelvis' is 0."""
        return self._mean + (betas @ self._shapes).unflatten(0, (-1, 3))

    def __call__(self, betas: Tensor, root: Tensor, turn: Tensor, pose: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Place the body.

        Args:
            betas: one shape, (S,).
            root: rotation of the pelvis, (B, 3, 3).
            turn: rotation vector applied after it, (B, 3) rad.
            pose: rotation vectors of the other 23 joints, or of the first of them, (B, <= 23, 3) rad.
            place: of the pelvis, (B, 3) m.

        Returns:
            The joints (B, 24, 3) m and the points (B, K, 3) m.
        """
        still = pose.new_zeros(len(pose), len(JOINTS) - 1 - pose.shape[1], 3)
        vectors = torch.cat((turn.unsqueeze(1), pose, still), dim=1)
        everything = Place.apply(self._tree, self.holder, self.beyond, root, vectors, self.offsets(betas), place)
        return everything[:, : len(JOINTS)], everything.index_select(1, self.order)
