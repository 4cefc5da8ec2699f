"""What a pose, its velocity and its acceleration ask of the motors and of the floor at one frame, and how that changes with them.

The floor pushes at the bearing points, within a friction pyramid. Its forces enter linearly: those are taken that leave the least of
the weighted joint torques and of the root's force, which nothing else can give (non-negative least squares). They are eliminated
so, frame by frame (variable projection, Golub & Pereyra 1973), and the derivatives are those of what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clips.sketch import Weights
from mprl.motion.clips.supports import Array, Support, all_supports, overlap_pairs

# cost, in the metric alone, of as much change in a force of the floor as there is of it, squared (affine scaling)
BARRIER = 0.3


@dataclass
class Frame:
    """One frame's part of a problem.

    Attributes:
        cost: by requirement.
        points: middles of all supports, (S, 3) m. touching: Jacobians of where each bearing one touches the floor, {s: (3, nv)}.
        torque: what is left of the generalised forces once the floor has pushed, (nv,); the root's first six nobody gives.
        slope: d cost / d torque, (nv,). metric: second derivative with the floor's share taken out, (nv, nv).
        by_pose, by_velocity, by_acceleration: d torque with the floor's forces as they are, (nv, nv) each.
        jacobians: of the points that bear or sink, {s: (3, nv)}. rolling: how `touching` changes with the pose where a round part
            bears, {s: (2, nv, nv)}. gradient, hessian: of the costs that need no other frame.
    """

    cost: dict[str, float]
    points: Array
    touching: dict[int, Array]
    torque: Array
    slope: Array
    metric: Array
    by_pose: Array
    by_velocity: Array
    by_acceleration: Array
    jacobians: dict[int, Array] = field(default_factory=dict)
    rolling: dict[int, Array] = field(default_factory=dict)
    gradient: Array = field(default_factory=lambda: np.zeros(0))
    hessian: Array = field(default_factory=lambda: np.zeros((0, 0)))


class Mechanics:
    """Of the humanoid without damping: the motors' torque limit counts what damping takes as theirs, as the environment does."""

    def __init__(self, weights: Weights, friction: float) -> None:
        spec = HUMANOID.spec()
        spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
        self.model = model = spec.compile()
        model.dof_damping[:] = 0.0
        self.data = mujoco.MjData(model)
        self.weights, self.nv = weights, int(model.nv)
        self.supports = all_supports()
        self.moves = np.array([support.body for support in self.supports])
        self.local = np.array([support.point for support in self.supports])
        self.radii = np.array([support.radius for support in self.supports])
        self.cone = np.array([[friction, 0.0, 1.0], [-friction, 0.0, 1.0], [0.0, friction, 1.0], [0.0, -friction, 1.0]])
        self.pairs = np.array(overlap_pairs())
        self.pair_reach = model.geom_rbound[self.pairs].sum(axis=1)
        self.torque_limit = np.abs(HUMANOID.along_actuators(np.eye(self.nv))) @ HUMANOID.model.actuator_forcerange[:, 1]
        self.chains = {int(body): self._chain(int(body)) for body in set(self.moves)}
        owners = {body: model.dof_bodyid[dofs] for body, (dofs, _, _) in self.chains.items()}
        self.nearer = {body: of[None, :] <= of[:, None] for body, of in owners.items()}

    def _chain(self, body: int) -> tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.int_]]:
        """The degrees of freedom that turn a body, from the root on, their joints, and their axes (3: a hinge's own)."""
        found: list[int] = []
        while body > 0:
            first, count = int(self.model.body_dofadr[body]), int(self.model.body_dofnum[body])
            found = [*range(first, first + count), *found]
            body = int(self.model.body_parentid[body])
        dofs = np.array(found[3:])  # the root's translations turn nothing
        joints = self.model.dof_jntid[dofs]
        hinges = self.model.jnt_type[joints] == mujoco.mjtJoint.mjJNT_HINGE
        return dofs, joints, np.where(hinges, 3, (dofs - self.model.jnt_dofadr[joints]) % 3)

    def frame(self, qpos: Array, qvel: Array, qacc: Array, bears: Array, clear: Array, weight: Array, derivatives: bool) -> Frame:
        """One frame.

        Args:
            bears: which supports do, (S,) bool. clear: how high the others have to be, (S,) m.
            weight: of each generalised force, (nv,).
            derivatives: whether to find them.
        """
        model, data, w, nv = self.model, self.data, self.weights, self.nv
        data.qpos[:], data.qvel[:], data.qacc[:] = qpos, qvel, qacc
        mujoco.mj_inverse(model, data)
        asked = data.qfrc_inverse.copy()
        changes = [np.zeros((nv, nv)) for _ in range(3)]
        if derivatives:
            mujoco.mjd_inverseFD(model, data, 1e-6, False, *changes, None, None, None, None)
        points = data.xpos[self.moves] + np.einsum("sij,sj->si", data.xmat.reshape(-1, 3, 3)[self.moves], self.local)
        costs = dict.fromkeys(("dynamics", "contact", "sink", "overlap"), 0.0)
        by_pose, by_velocity, by_acceleration = (change.T for change in changes)
        out = Frame(costs, points, {}, asked, asked, np.diag(weight**2), by_pose, by_velocity, by_acceleration)
        if derivatives:
            out.gradient, out.hessian = np.zeros(nv), np.zeros((nv, nv))
        height = points[:, 2] - self.radii - clear
        for s in np.flatnonzero(bears | (height < 0)).tolist():
            width = w.slide if bears[s] else w.sink
            out.cost["contact" if bears[s] else "sink"] += 0.5 * (height[s] / width) ** 2
            if bears[s]:
                out.touching[s] = self._jacobian(points[s] - [0.0, 0.0, self.radii[s]], self.moves[s])
            if derivatives and bears[s] and self.radii[s]:
                out.rolling[s] = np.array([self._turned(self.supports[s], points[s], axis) for axis in np.eye(3)[:2]])
            if derivatives:
                out.jacobians[s] = self._jacobian(points[s], self.moves[s])
                _add_row(out, out.jacobians[s][2] / width, height[s] / width)
        if out.touching:
            self._push(out, weight, derivatives)
        out.cost["dynamics"] += 0.5 * float(((weight * out.torque) ** 2).sum())
        out.slope = weight**2 * out.torque
        self._overlaps(out, derivatives)
        return out

    def _jacobian(self, point: Array, body: int) -> Array:
        jacobian = np.zeros((3, self.nv))
        mujoco.mj_jac(self.model, self.data, jacobian, None, point, int(body))
        return jacobian

    def _push(self, out: Frame, weight: Array, derivatives: bool) -> None:
        """The floor's forces: take them from the torques, and what they can make up for from the metric."""
        least = 1 / self.weights.contact
        edges = np.concatenate([self.cone @ jacobian for jacobian in out.touching.values()]).T  # (nv, 4 for each point)
        columns, count = edges * weight[:, None], edges.shape[1]
        system = np.vstack((columns, least * np.eye(count)))
        share, _ = nnls(system, np.concatenate((out.torque * weight, np.zeros(count))), maxiter=50 * count)
        out.torque = out.torque - edges @ share
        out.cost["dynamics"] += 0.5 * least**2 * float(share @ share)
        active = share > 1e-9
        if not derivatives or not active.any():
            return
        some = columns[:, active] * weight[:, None]
        # a force that is small cannot make up for much: it must not turn into a pull
        stiff = least**2 + BARRIER / share[active] ** 2
        inner = columns[:, active].T @ columns[:, active] + np.diag(stiff)
        out.metric = out.metric - some @ np.linalg.solve(inner, some.T)
        for s, force in zip(out.touching, share.reshape(-1, 4) @ self.cone, strict=True):
            if force.any():
                out.by_pose -= self._turned(self.supports[s], out.points[s], force)

    def _turned(self, support: Support, centre: Array, force: Array) -> Array:
        """d (J^T f) / dq, (nv, nv), for a force that stays the same in the world, where a support touches the floor.

        J_i = z_i x (p - o_i). Of two joints the one nearer to the root, k, turns the other's axis: then dJ_i / dq_k is
        z_k x (z_i x (p - o_i)); otherwise it moves the point alone: z_i x (z_k x (p - o_k)). Written out in inner products.
        """
        dofs, joints, own = self.chains[support.body]
        axes = self.data.xmat.reshape(-1, 3, 3)[self.model.jnt_bodyid[joints], :, own % 3]
        hinge = own == 3
        axes[hinge] = self.data.xaxis[joints[hinge]]
        arm = centre - self.data.xanchor[joints]
        along, reach, cosine, lead = axes @ force, arm @ force, axes @ axes.T, axes @ arm.T
        nearer = self.nearer[support.body]  # [i, k]
        change = np.where(nearer, along[:, None] * lead.T - reach[:, None] * cosine, along[None, :] * lead - reach[None, :] * cosine)
        if support.radius:  # the floor pushes below the middle, which is what the joints move
            below = -support.radius * axes[:, 2]
            change += np.where(nearer, along[:, None] * below[None, :] - along[None, :] * below[:, None], 0.0)
        out = np.zeros((self.nv, self.nv))
        out[dofs[:, None], dofs] = change
        return out

    def _overlaps(self, out: Frame, derivatives: bool) -> None:
        """Pairs of limbs that reach into each other."""
        model, data, width = self.model, self.data, self.weights.overlap
        ends = np.zeros(6)
        apart = data.geom_xpos[self.pairs[:, 0]] - data.geom_xpos[self.pairs[:, 1]]
        for g, h in self.pairs[np.square(apart).sum(axis=1) < self.pair_reach**2]:
            gap = mujoco.mj_geomDistance(model, data, g, h, 0.02, ends)
            if gap >= 0:
                continue
            out.cost["overlap"] += 0.5 * (gap / width) ** 2
            if derivatives:
                line = (ends[:3] - ends[3:]) / max(float(np.linalg.norm(ends[:3] - ends[3:])), 1e-9)  # they overlap: second to first
                one, other = (self._jacobian(end, model.geom_bodyid[geom]) for end, geom in ((ends[:3], g), (ends[3:], h)))
                _add_row(out, line @ (other - one) / width, gap / width)


def _add_row(out: Frame, row: Array, residual: float) -> None:
    out.hessian += np.outer(row, row)
    out.gradient += row * residual
