"""Fitting while it happens: keypoints frame by frame in, the poses and velocities of now out, of many people at once.

    pose_filter = PoseFilter(points, cameras, 30.0, deviation)
    pose_filter.begin(now)                          # what is believed of the frame before
    now = pose_filter(seen, confidence)             # again and again

An iterated extended Kalman filter. Its state is turns of the pelvis and of 21 joints, the pelvis' place, and how fast they change; between
frames they go on but for random accelerations. Keypoints are measured with weights that fall for outliers (Geman & McClure, reweighted),
and the likeliest Gaussian of the pose prior counts as one weak measurement more.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mprl.motion.body import skinning
from mprl.motion.fitting import priors
from mprl.motion.fitting.cameras import Cameras
from mprl.motion.fitting.imu import pose as bones
from mprl.motion.fitting.placing import left_jacobian
from mprl.motion.fitting.points import BODY_JOINTS, BodyPoints
from mprl.motion.fitting.priors.mixture import Mixture

NUMBERS = 3 + 3 * BODY_JOINTS + 3  # the pelvis' turn, the joints', its place
_TURNING, _MOVING = 30.0, 10.0  # standard deviations of random accelerations, rad/s² and m/s²
_PRIOR = 0.3  # weight of the prior in each frame: of .1, .3 and 1 the best
_ROBUST = 20.0  # deviations at which a keypoint counts for a quarter
_ROUNDS = 2
_NEAR = 0.1  # m: nothing is nearer to a camera
_SURE = (0.02, 0.5)  # deviation of what a beginning believes: rad and m, and of their velocities


class Estimate(NamedTuple):
    """Of W people.

    Attributes:
        root: rotation of the pelvis, (W, 3, 3).
        pose: rotation vectors of joints 1 to 21, (W, 21, 3) rad.
        place: of the pelvis, (W, 3) m.
        rates: of the pelvis about the world's axes, rad/s, of `pose`, rad/s, and of `place`, m/s: (W, `NUMBERS`).
    """

    root: Tensor
    pose: Tensor
    place: Tensor
    rates: Tensor


class PoseFilter:
    """See the module. It reckons in double precision.

    Args:
        points: of the keypoints' layout.
        cameras: of V views, the same for all people.
        frame_rate: Hz.
        deviation: of the detector along each axis, px, of each view, (V,).
        betas: shape of all people, (S,); by default the mean.
    """

    def __init__(self, points: BodyPoints, cameras: Cameras, frame_rate: float, deviation: Tensor, betas: Tensor | None = None) -> None:
        betas = torch.zeros(points.num_betas) if betas is None else betas
        self._offsets = points.offsets(betas).double()
        self._holder, self._beyond, self._order = points.holder, points.beyond.double(), points.order
        self._cameras = Cameras(*(value.double() for value in (cameras.focal, cameras.centre, cameras.rotation, cameras.translation)))
        self._deviation = deviation.double()
        prior = priors.load("gmm")
        assert isinstance(prior, Mixture)
        self._prior = Mixture(*(value.double() for value in (prior.log_weights, prior.means, prior.factors)))
        self._covariances = torch.cholesky_inverse(self._prior.factors)  # Σ⁻¹ = L Lᵀ
        step, eye = 1.0 / frame_rate, torch.eye(NUMBERS, dtype=torch.float64)
        random = torch.full((NUMBERS,), _TURNING**2, dtype=torch.float64)
        random[-3:] = _MOVING**2
        self._step = step
        self._transition = torch.cat((torch.cat((eye, step * eye), dim=1), torch.cat((0 * eye, eye), dim=1)))
        push = torch.cat((0.5 * step**2 * eye, step * eye))
        self._process_noise = push @ random.diag() @ push.T

    def begin(self, now: Estimate) -> None:
        """Believe what the frame before was like."""
        self._now = Estimate(*(value.double() for value in now))
        sure = torch.cat([torch.full((NUMBERS,), deviation**2, dtype=torch.float64) for deviation in _SURE])
        self._covariance = sure.diag().expand(len(now.root), -1, -1)

    def __call__(self, seen: Tensor, confidence: Tensor, rails: Tensor | None = None) -> Estimate:
        """What is believed of now, given its keypoints.

        Args:
            seen: (V, W, K, 2) px.
            confidence: (V, W, K) in [0, 1]; 0 is not seen.
            rails: by how much each person's cameras have moved, (W, 3) m.
        """
        before, covariance = self._carried_on()
        now, seen, confidence = before, seen.double(), confidence.double()
        rails = torch.zeros_like(before.place) if rails is None else rails.double()
        for _ in range(_ROUNDS):
            residual, jacobian, variance = self._measured(now, seen, confidence, rails)
            # what was expected, seen from where the jacobian is taken
            back = torch.cat(
                (bones.vectors(before.root @ now.root.transpose(1, 2)), (before.pose - now.pose).flatten(1), before.place - now.place),
                dim=1,
            )
            residual = residual - (jacobian @ back.unsqueeze(-1)).squeeze(-1)
            towards = covariance[:, :, :NUMBERS] @ jacobian.transpose(1, 2)
            spread = jacobian @ towards[:, :NUMBERS] + variance
            gain = torch.linalg.solve(spread, towards.transpose(1, 2)).transpose(1, 2)
            now = self._moved(before, (gain @ residual.unsqueeze(-1)).squeeze(-1))
        covariance = covariance - gain @ towards.transpose(1, 2)
        self._covariance = 0.5 * (covariance + covariance.transpose(1, 2))
        self._now = now
        return Estimate(*(value.float() for value in now))

    def _carried_on(self) -> tuple[Estimate, Tensor]:
        now = self._now
        ahead = self._moved(now, torch.cat((self._step * now.rates, torch.zeros_like(now.rates)), dim=1))
        spin = self._step * now.rates[:, :3]
        carried = self._transition.repeat(len(spin), 1, 1)
        # how far off the pelvis' rotation is goes round with it: exp(ω t + dω t) exp(δ) = exp(J_l(ω t) dω t + exp(ω t) δ) exp(ω t)
        carried[:, :3, :3] = skinning.rotation_matrices(spin)
        carried[:, :3, NUMBERS : NUMBERS + 3] = self._step * left_jacobian(spin)
        return ahead, carried @ self._covariance @ carried.transpose(1, 2) + self._process_noise

    @staticmethod
    def _moved(now: Estimate, by: Tensor) -> Estimate:
        """By (W, 2 `NUMBERS`)."""
        turn, pose, place, rates = by.split((3, 3 * BODY_JOINTS, 3, NUMBERS), dim=1)
        root = bones.from_six_d(bones.six_d(skinning.rotation_matrices(turn) @ now.root))  # else rounding grows from frame to frame
        return Estimate(root, now.pose + pose.unflatten(1, (BODY_JOINTS, 3)), now.place + place, now.rates + rates)

    def _measured(self, now: Estimate, seen: Tensor, confidence: Tensor, rails: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What differs (W, M), how it changes with the state (W, M, `NUMBERS`), and its variance (W, M, M)."""
        points, jacobian = self._points(now)
        there = torch.einsum("vij,wkj->vwki", self._cameras.rotation, points - rails.unsqueeze(1))
        across, down, far = (there + self._cameras.translation[:, None, None]).unbind(-1)
        depth = far.clamp(min=_NEAR)
        pixels = self._cameras.focal[:, None, None, None] * torch.stack((across, down), dim=-1) / depth.unsqueeze(-1)
        pixels = pixels + self._cameras.centre[:, None, None]
        views, people, count = confidence.shape
        zero, one = torch.zeros_like(depth), torch.ones_like(depth)
        nearer = (far > _NEAR).to(depth) / depth  # what is nearer than `_NEAR` is drawn as if there: its depth changes nothing
        flat = torch.stack((torch.stack((one, zero, -across * nearer), -1), torch.stack((zero, one, -down * nearer), -1)), dim=-2)
        flat = flat * (self._cameras.focal[:, None, None] / depth)[..., None, None]
        jacobians = flat @ self._cameras.rotation[:, None, None] @ jacobian  # (V, W, K, 2, NUMBERS)
        residual = torch.where(confidence.unsqueeze(-1) > 0, seen - pixels, 0.0)  # else what is not seen would pull to where it is not
        squared = residual.square().sum(dim=-1) / self._deviation[:, None, None].square()
        weight = confidence.square() * (_ROBUST**2 / (squared + _ROBUST**2)).square()
        variance = self._deviation[:, None, None].square() / weight.clamp(min=1e-8)
        rows = lambda x: x.permute(1, 0, *range(2, x.ndim)).reshape(people, 2 * views * count, *x.shape[4:])  # noqa: E731
        flat_pose = now.pose.flatten(1)
        which = self._prior.log_probabilities(flat_pose).argmax(dim=1)
        usual = torch.zeros(people, 3 * BODY_JOINTS, NUMBERS, dtype=torch.float64)
        usual[:, :, 3:-3] = torch.eye(3 * BODY_JOINTS, dtype=torch.float64)
        size = 2 * views * count
        spread = torch.zeros(people, size + 3 * BODY_JOINTS, size + 3 * BODY_JOINTS, dtype=torch.float64)
        spread[:, :size, :size] = torch.diag_embed(rows(variance[..., None].expand(*variance.shape, 2)))
        spread[:, size:, size:] = self._covariances[which] / _PRIOR
        return (
            torch.cat((rows(residual), self._prior.means[which] - flat_pose), dim=1), torch.cat((rows(jacobians), usual), dim=1), spread
        )  # fmt: skip

    def _points(self, now: Estimate) -> tuple[Tensor, Tensor]:
        """Keypoints (W, K, 3) m and how they change with the state, (W, K, 3, `NUMBERS`)."""
        people = len(now.root)
        still = now.pose.new_zeros(people, 2, 3)
        local = skinning.rotation_matrices(torch.cat((now.pose, still), dim=1))
        world = bones.worlds(torch.cat((now.root.unsqueeze(1), local), dim=1))
        holders = torch.cat((world, torch.eye(3, dtype=torch.float64).expand(people, 1, 3, 3)), dim=1)[:, self._holder]
        arms = (holders @ self._offsets.unsqueeze(-1)).squeeze(-1)
        joints = len(self._beyond)
        points = torch.einsum("wjc,jk->wkc", arms[:, :joints], self._beyond)
        points[:, joints:] += arms[:, joints:]
        points = points + now.place.unsqueeze(1)
        chosen, beyond = points[:, self._order], self._beyond[: BODY_JOINTS + 1, self._order]
        lever = (chosen.unsqueeze(1) - points[:, : BODY_JOINTS + 1].unsqueeze(2)) * beyond[..., None]  # (W, J, K, 3)
        parents = torch.cat(
            (torch.eye(3, dtype=torch.float64).expand(people, 1, 3, 3), world[:, bones.PARENTS[1 : BODY_JOINTS + 1]]), dim=1
        )
        vectors = torch.cat((torch.zeros_like(now.pose[:, :1]), now.pose), dim=1)
        axes = (parents @ left_jacobian(vectors)).transpose(2, 3)  # (W, J, a, 3): each axis in the world
        turns = torch.linalg.cross(axes[:, :, None], lever[:, :, :, None], dim=-1)  # (W, J, K, a, 3)
        turns = turns.permute(0, 2, 4, 1, 3).flatten(3)  # (W, K, 3, 3 J)
        eye = torch.eye(3, dtype=torch.float64).expand(*turns.shape[:2], 3, 3)
        return chosen, torch.cat((turns, eye), dim=-1)
