"""Makes a sketched motion physically consistent: trajectory optimisation through inverse dynamics.

A sketch says roughly which poses are taken when, and which parts of the body bear on the floor when. Sought is the motion nearest to
it that needs no hand from the sky: what inverse dynamics asks of the root, which has no motor, must come from forces at the bearing
points, pushing and within the friction cone. In flight there are none, so that the centre of mass falls with g and the angular
momentum stays; on the ground the force stays within the feet. Bearing points do not slide, nothing sinks into the floor, joints stay
within their limits, and of all such motions that of small joint torques and jerks is taken.

This is direct transcription (Betts 2010): the unknowns are the poses of all frames, velocities and accelerations are differences.
Every requirement is a weighted residual of a least-squares problem (`problem.py`), solved by Levenberg-Marquardt with block-banded
normal equations. Derivatives of inverse dynamics are MuJoCo's (`mjd_inverseFD`).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

from mprl.motion.clips.problem import Normal, Problem
from mprl.motion.clips.sketch import Sketch
from mprl.motion.clips.supports import Array


def optimize(sketch: Sketch, start: Array | None = None, iterations: int = 60, verbose: bool = False, tolerance: float = 1e-3) -> Array:
    """The consistent motion nearest to a sketch, (T, nq), sought from `start` (T, nq) or from the sketch itself.

    Args:
        iterations: at most.
        verbose: print the costs of each.
        tolerance: it ends when two in a row improve the cost by less than this share.
    """
    problem = Problem(sketch)
    n, nv = problem.frames, problem.nv
    qpos = (sketch.qpos if start is None else start)[:n].copy()
    damping, still = 1.0, 0
    for iteration in range(iterations):
        normal = Normal.zeros(n, nv)
        costs = problem.cost(qpos, normal)
        total = sum(costs.values())
        improved, attempt, step = 0.0, 0, np.zeros((n, nv))
        for attempt in range(12):
            # shorter steps along the way first: forces that would have to pull bend it where the model of the cost sees none
            if attempt % 4 == 0:
                step = solve(normal, damping * 100 ** (attempt // 4), sketch.loop)
                step *= min(1.0, 0.5 / float(np.abs(step).max()))
            trial = problem.tangents.moved(qpos, 0.3 ** (attempt % 4) * step)
            found = sum(problem.cost(trial).values())
            if found < total:
                improved, qpos = total - found, trial
                break
        if verbose:
            parts = ", ".join(f"{key} {value:.4g}" for key, value in costs.items())
            print(f"{iteration}: {total:.5g} -> {total - improved:.5g}, damping {damping:.1g}: {parts}", flush=True)
        damping = float(np.clip(damping * (0.25 if attempt == 0 else 4.0 ** (attempt - 1)), 1e-4, 1e2))
        still = still + 1 if improved < tolerance * total else 0
        if still == 2:
            break
        problem.tighten()
    return np.concatenate((qpos, qpos[:1] + problem.displacement)) if sketch.loop else qpos


def refined(sketch: Sketch, qpos: Array) -> Array:
    """A motion (T, nq) at twice the sketch's frame rate, (2 T - 1, nq), by cubic interpolation."""
    problem = Problem(sketch)
    n = problem.frames
    step = problem.steps(qpos[:n])
    before, after = np.roll(step, 1, axis=0), np.roll(step, -1, axis=0)
    if not sketch.loop:
        before[0] = 0.0
    middle = problem.tangents.moved(qpos[:n], 0.5 * step + (before - after) / 16)
    out = np.empty((2 * len(qpos) - 1, qpos.shape[1]))
    out[::2], out[1::2] = qpos, middle[: len(qpos) - 1]
    return out


def solve(normal: Normal, damping: float, loop: bool) -> Array:
    """The step (N, nv) of the damped normal equations: a banded Cholesky factor, and a cycle's last frames as a border."""
    n, spread, nv, _ = normal.hessian.shape
    border = min(spread - 1, n - 1) if loop else 0
    inner = n - border
    band = np.zeros((spread * nv, inner * nv))
    p, q = np.meshgrid(np.arange(nv), np.arange(nv), indexing="ij")  # row p of frame a, column q of frame a + k
    for k in range(spread):
        blocks = normal.hessian[: inner - k if k else inner, k]
        if k == 0:
            keep = q >= p
            depth, columns, values = (q - p)[keep], p[keep], blocks[:, keep]
        else:
            depth, columns, values = (k * nv + q - p).ravel(), p.ravel(), blocks.reshape(len(blocks), -1)
        at = columns[None] + nv * np.arange(len(blocks))[:, None]
        band[np.broadcast_to(depth, at.shape), at] = values
    band[0] += damping * (1 + 1e-3 * band[0])
    factor = cholesky_banded(band, lower=True)
    right = -normal.gradient[:inner].reshape(-1)
    if not border:
        return cho_solve_banded((factor, True), right).reshape(n, nv)
    coupling = np.zeros((inner, nv, border, nv))
    corner = np.zeros((border, nv, border, nv))
    for a in range(n):
        for k in range(spread):
            b, block = (a + k) % n, normal.hessian[a, k]
            if a < inner and b >= inner:
                coupling[a, :, b - inner] += block
            elif a >= inner and b < inner:
                coupling[b, :, a - inner] += block.T
            elif a >= inner and b >= inner:
                corner[a - inner, :, b - inner] += block
                if k:
                    corner[b - inner, :, a - inner] += block.T
    side = coupling.reshape(inner * nv, border * nv)
    solved = cho_solve_banded((factor, True), np.column_stack((right, side)))
    square = corner.reshape(border * nv, border * nv)
    schur = square + damping * np.diag(1 + 1e-3 * np.diag(square)) - side.T @ solved[:, 1:]
    end = np.linalg.solve(schur, -normal.gradient[inner:].reshape(-1) - side.T @ solved[:, 0])
    return np.concatenate((solved[:, 0] - solved[:, 1:] @ end, end)).reshape(n, nv)
