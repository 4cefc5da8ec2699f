"""The least-squares problem of a sketch: its cost at a motion, and the block-banded normal equations there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from mprl.motion.characters.humanoid import HUMANOID
from mprl.motion.clips.keyposes import times
from mprl.motion.clips.mechanics import Frame, Mechanics
from mprl.motion.clips.sketch import Sketch
from mprl.motion.clips.supports import Array, schedule
from mprl.motion.clips.tangents import Tangents

SPREAD = 4  # frames that one residual depends on at most: a jerk's


@dataclass
class Normal:
    """Normal equations: H (N, SPREAD, nv, nv), where H[a, k] couples frames a and a + k, and the gradient (N, nv)."""

    hessian: Array
    gradient: Array

    @classmethod
    def zeros(cls, frames: int, nv: int) -> Normal:
        return cls(np.zeros((frames, SPREAD, nv, nv)), np.zeros((frames, nv)))


class Problem:
    """Of a sketch.

    Attributes:
        frames: N; a cycle's last frame, which is its first, is not counted.
        bears: which supports bear, (N, S).
        torque: at the last cost, (N, nv): the joints'; of the root what nobody gives.
    """

    def __init__(self, sketch: Sketch) -> None:
        self.sketch = sketch
        self.mechanics = Mechanics(sketch.weights, sketch.friction)
        self.tangents = Tangents(self.mechanics.model)
        self.nv = self.tangents.nv
        self.dt = 1.0 / sketch.frame_rate
        self.frames = len(sketch.qpos) - sketch.loop
        self.displacement = np.zeros(sketch.qpos.shape[1])
        self.displacement[:3] = sketch.qpos[-1, :3] - sketch.qpos[0, :3]
        self.bears = schedule(sketch.contacts, times(self.frames - 1, 1.0) * self.dt)
        self.clear = self._clearance()
        self.torque = np.zeros((self.frames, self.nv))
        w = sketch.weights
        self._share = 1 / (w.torque * self.mechanics.torque_limit[6:])
        self._weight = np.tile(np.concatenate(([1 / w.force] * 3, [1 / w.moment] * 3, self._share)), (self.frames, 1))
        self._fidelity = 1 / np.concatenate(([w.place] * 3, [w.turn] * 3, [w.angle] * (self.nv - 6)))

    def _clearance(self) -> Array:
        """How high supports have to be that do not bear, (N, S) m: swinging soles, from soon after they left until shortly before
        they land."""
        clear = np.zeros(self.bears.shape)
        for name in HUMANOID.feet:
            columns = np.flatnonzero(self.mechanics.moves == self.mechanics.model.body(name).id)
            down = np.atleast_1d(self.bears[:, columns].any(axis=1))
            if down.any() and not down.all():
                around = np.tile(down, 3) if self.sketch.loop else np.pad(down, len(down), mode="edge")
                apart = distance_transform_edt(~around)[len(down) : 2 * len(down)] * self.dt
                clear[:, columns] = np.clip(0.2 * (apart - 0.02), 0.0, self.sketch.clearance)[:, None]
        return clear

    def tighten(self) -> None:
        """Weigh torques that come near their limits more, from now on."""
        ratio = np.abs(self.torque[:, 6:]) / self.mechanics.torque_limit[6:]
        wanted = self._share * (1 + 4 * np.clip(ratio - 0.8, 0.0, 1.0))
        self._weight[:, 6:] = np.sqrt(self._weight[:, 6:] * wanted)  # half way, or they would swing

    def steps(self, qpos: Array) -> Array:
        """The motion from each frame to the next, (N, nv); none from the last one unless it is a cycle."""
        after = np.concatenate((qpos[1:], qpos[:1] + self.displacement if self.sketch.loop else qpos[-1:]))
        return self.tangents.difference(qpos, after)

    def coordinates(self, qpos: Array) -> Array:
        """Rotation vectors and angles of the joints, (N, nv); zero for the root."""
        rest = np.zeros_like(qpos)
        rest[:, self.tangents.turning[:, 0]] = 1.0
        values = self.tangents.difference(rest, qpos)
        values[:, :6] = 0.0
        return values

    def cost(self, qpos: Array, normal: Normal | None = None) -> dict[str, float]:
        """Cost by requirement at poses (N, nq); where there is a `normal`, its derivatives are added to it."""
        step = self.steps(qpos)
        last = self._shifted(step, 1)
        velocity, acceleration = 0.5 * (step + last) / self.dt, (step - last) / self.dt**2
        frames = [
            self.mechanics.frame(q, v, a, bears, clear, weight, normal is not None)
            for q, v, a, bears, clear, weight in zip(qpos, velocity, acceleration, self.bears, self.clear, self._weight, strict=True)
        ]
        self.torque = np.array([frame.torque for frame in frames])
        before, after = self.tangents.jacobians(step) if normal is not None else (np.zeros((0, 0, 0)),) * 2
        if normal is not None and not self.sketch.loop:
            before[-1], after[-1] = 0.0, 0.0
        costs = {key: sum(frame.cost[key] for frame in frames) for key in frames[0].cost}
        costs["contact"] += self._slide(frames, step, before, after, normal)
        costs["sketch"], costs["limit"] = self._stay_near(qpos, normal), self._stay_within(qpos, normal)
        change = (self._shifted(acceleration, -1) - acceleration)[:, 3:] if self.sketch.loop else np.diff(acceleration[:, 3:], axis=0)
        jerk = np.zeros_like(step[:, 3:])
        jerk[: len(change)] = change / self.dt / self.sketch.weights.jerk
        costs["jerk"] = 0.5 * float(np.square(jerk).sum())
        if normal is not None:
            # how velocity and acceleration change with the poses before, at and after each frame, (N, nv, 3, nv)
            last_before, last_after = self._shifted(before, 1), self._shifted(after, 1)
            faster = 0.5 * np.stack((last_before, last_after + before, after), axis=2) / self.dt
            sooner = np.stack((-last_before, before - last_after, after), axis=2) / self.dt**2
            self._add_mechanics(normal, frames, faster, sooner)
            self._add_jerk(normal, jerk, sooner)
        return costs

    def _shifted(self, rows: Array, by: int) -> Array:
        """Rows of the frames before (1) or after (-1); zero beyond the ends of a motion that is no cycle."""
        shifted = np.roll(rows, by, axis=0)
        if not self.sketch.loop:
            shifted[0 if by > 0 else -1] = 0.0
        return shifted

    def _stay_near(self, qpos: Array, normal: Normal | None) -> float:
        """To the sketch."""
        off = self.tangents.difference(self.sketch.qpos[: self.frames], qpos)
        if normal is not None:
            jacobian = self.tangents.jacobians(off)[1] * self._fidelity[:, None]
            self._add(normal, jacobian[:, :, None], off * self._fidelity, 0)
        return 0.5 * float(np.square(off * self._fidelity).sum())

    def _stay_within(self, qpos: Array, normal: Normal | None) -> float:
        """The joints' limits."""
        values, (low, high), width = self.coordinates(qpos), self.sketch.limits.T, self.sketch.weights.limit
        beyond = (np.minimum(values - low, 0.0) + np.maximum(values - high, 0.0)) / width
        if normal is not None and beyond.any():
            jacobian = self.tangents.jacobians(values)[1] * (beyond != 0)[:, :, None] / width
            self._add(normal, jacobian[:, :, None], beyond, 0)
        return 0.5 * float(np.square(beyond).sum())

    def _slide(self, frames: list[Frame], step: Array, before: Array, after: Array, normal: Normal | None) -> float:
        """Bearing points stay from frame to frame: corners where they are, round parts by rolling."""
        width, total, n = self.sketch.weights.slide, 0.0, self.frames
        for t in range(n if self.sketch.loop else n - 1):
            u = (t + 1) % n
            now, then = frames[t], frames[u]
            for s in np.flatnonzero(self.bears[t] & self.bears[u]).tolist():
                rolls = now.touching[s][:2] / width
                if self.mechanics.radii[s]:
                    moved = rolls @ step[t]
                else:
                    moved = (then.points[s] - now.points[s] + (self.displacement[:3] if u == 0 else 0.0))[:2] / width
                total += 0.5 * float(moved @ moved)
                if normal is None:
                    continue
                if self.mechanics.radii[s]:
                    a, b = rolls @ before[t] + step[t] @ now.rolling[s] / width, rolls @ after[t]
                else:
                    a, b = -now.jacobians[s][:2] / width, then.jacobians[s][:2] / width
                normal.hessian[t, 0] += a.T @ a
                normal.hessian[u, 0] += b.T @ b
                normal.hessian[t, 1] += a.T @ b
                normal.gradient[t] += a.T @ moved
                normal.gradient[u] += b.T @ moved
        return total

    def _add_mechanics(self, normal: Normal, frames: list[Frame], faster: Array, sooner: Array) -> None:
        by_velocity, by_acceleration = (np.array([getattr(f, name) for f in frames]) for name in ("by_velocity", "by_acceleration"))
        jacobian = np.einsum("nij,njkl->nikl", by_velocity, faster) + np.einsum("nij,njkl->nikl", by_acceleration, sooner)
        jacobian[:, :, 1] += np.array([frame.by_pose for frame in frames])
        self._add(normal, jacobian, np.array([f.slope for f in frames]), -1, np.array([f.metric for f in frames]))
        normal.hessian[:, 0] += np.array([frame.hessian for frame in frames])
        normal.gradient += np.array([frame.gradient for frame in frames])

    def _add_jerk(self, normal: Normal, jerk: Array, sooner: Array) -> None:
        jacobian = np.zeros((self.frames, self.nv - 3, 4, self.nv))
        jacobian[:, :, 1:] += np.roll(sooner, -1, axis=0)[:, 3:]
        jacobian[:, :, :3] -= sooner[:, 3:]
        if not self.sketch.loop:
            jacobian[-1] = 0.0
        self._add(normal, jacobian / self.dt / self.sketch.weights.jerk, jerk, -1)

    def _add(self, normal: Normal, jacobian: Array, residual: Array, first: int, metric: Array | None = None) -> None:
        """Add residuals (N, m) of each frame that depend on the frames from t + first on by jacobian (N, m, k, nv).

        With a metric (N, m, m) of the second derivative, `residual` is the slope, already multiplied by its own.
        """
        n, k = self.frames, jacobian.shape[2]
        weighted = jacobian if metric is None else np.einsum("nij,njkl->nikl", metric, jacobian)
        rows = np.arange(n)
        where = [(rows + first + j) % n if self.sketch.loop else np.clip(rows + first + j, 0, n - 1) for j in range(k)]
        for j in range(k):
            np.add.at(normal.gradient, where[j], np.einsum("nm,nmp->np", residual, jacobian[:, :, j]))
            for i in range(j, k):
                block = np.matmul(jacobian[:, :, j].swapaxes(1, 2), weighted[:, :, i])
                apart = (where[i] - where[j]) % n
                same = (apart == 0) & (i > j)  # at the ends of a motion that is no cycle
                block[same] += block[same].swapaxes(1, 2)
                np.add.at(normal.hessian, (where[j], apart), block)
