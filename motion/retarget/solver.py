"""Inverse kinematics for all frames at once: Gauss-Newton steps with damping, joint limits kept.

Differential inverse kinematics as in mink, in batches: each frame is a small least-squares problem of its own, started from the
directly transferred pose, and all of them are linearised and solved together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from mprl.motion import rotations as rot
from mprl.motion.retarget.target import Poses, Target, is_below
from mprl.motion.retarget.transfer import SPINE, Wanted

_BALL, _HINGE = int(mujoco.mjtJoint.mjJNT_BALL), int(mujoco.mjtJoint.mjJNT_HINGE)
ITERATIONS, CHUNK = 12, 512
_DAMPING = 1e-4
_LONGEST_STEP = 0.5  # rad
_LIMIT_ROUNDS = 4  # of finding which hinges a step would take beyond their limits
_CALM = 0.04  # s, of the filter over the angles of chains of hinges
_START, _PULL = 0.1, 1.0  # rad^-2, towards the angles that such chains start from, and then towards the filtered ones
_ENOUGH = 2e-4  # rad or m: no step longer than this is the end
# weights, rad^-2 and m^-2: a bone's direction, its turn about itself, a foot, the root's and the ankles' places
_DIRECTION, _TWIST, _FOOT, _ROOT, _ANKLE = 1.0, 0.003, 4.0, 50.0, 2000.0


def direct(target: Target, wanted: Wanted) -> Tensor:
    """The pose that takes over every rotation as far as the joints allow, from the root outwards, (T, nq).

    Ball joints turn their bodies as wanted; hinges take what lies about their axes. The root stands where the hips are right.
    """
    model, frames = target.model, len(wanted.hips)
    at = {body: column for column, body in enumerate(wanted.bodies)}
    qpos = torch.as_tensor(model.qpos0.copy()).expand(frames, -1).clone()
    world = torch.zeros(frames, model.nbody, 4, dtype=torch.float64)
    world[..., 0] = 1.0
    for body in range(1, model.nbody):
        first, count = int(model.body_jntadr[body]), int(model.body_jntnum[body])
        if body == 1:
            world[:, 1] = wanted.rotation[:, at[1]] if 1 in at else world[:, 0]
            qpos[:, 3:7] = rot.continuous(world[:, 1])
            continue
        at_rest = torch.as_tensor(model.body_quat[body].copy())
        still = rot.multiply(world[:, int(model.body_parentid[body])], at_rest.expand(frames, 4))
        turned = world[:, 0].clone()
        if count and body in at:
            turned = rot.multiply(rot.conjugate(still), wanted.rotation[:, at[body]])
            start = int(model.jnt_qposadr[first])
            axes = torch.as_tensor(model.jnt_axis[first : first + count].copy())
            if int(model.jnt_type[first]) == _BALL:
                qpos[:, start : start + 4] = turned = _within_cone(model, first, turned)
            else:
                turned = _hinges(model, first, axes, turned, qpos)
        world[:, body] = rot.multiply(still, turned)
    qpos[:, :3] = 0.0
    hips = target.poses(qpos).position[:, [target.roles["left_hip"], target.roles["right_hip"]]].mean(dim=1)
    qpos[:, :3] = wanted.hips - hips
    qpos[:, 3:7] = rot.continuous(qpos[:, 3:7])
    return qpos


def _within_cone(model: mujoco.MjModel, joint: int, rotation: Tensor) -> Tensor:
    """A ball joint's rotation, no further than its limit."""
    if not model.jnt_limited[joint]:
        return rotation
    vector = rot.to_rotation_vector(rotation)
    angle = vector.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    return rot.from_rotation_vector(vector * (float(model.jnt_range[joint, 1]) / angle).clamp(max=1.0))


def _hinges(model: mujoco.MjModel, first: int, axes: Tensor, rotation: Tensor, qpos: Tensor) -> Tensor:
    """Angles of a body's hinges that come closest to a rotation, put into qpos; returns the rotation that they make."""
    from mprl.motion.characters.character import _chain_angles

    angles = rot.hinge_angle(rotation, axes[0])[:, None] if len(axes) == 1 else _chain_angles(rotation, axes)
    made = torch.zeros_like(rotation)
    made[:, 0] = 1.0
    for k in range(len(axes)):
        joint = first + k
        if model.jnt_limited[joint]:
            middle = float(model.jnt_range[joint].mean())
            wrapped = torch.remainder(angles[:, k] - middle + torch.pi, 2 * torch.pi) - torch.pi + middle
            angles[:, k] = wrapped.clamp(*(float(limit) for limit in model.jnt_range[joint]))
        qpos[:, int(model.jnt_qposadr[joint])] = angles[:, k]
        made = rot.multiply(made, rot.from_axis_angle(axes[k].expand(len(angles), 3), angles[:, k]))
    return made


@dataclass(frozen=True)
class _Freedom:
    """The K degrees of freedom that are solved for: the root's place, then joints.

    Attributes:
        joint: of each, in the model, (K,); the root's free joint for its place.
        hinges: which of the K are hinges, and where their angles lie in qpos. lower, upper: their limits, rad.
        balls: which are the first of a ball joint's three, and where its quaternion begins in qpos.
        carrier: the body whose frame a ball joint's axis is in, (K,). unit: that axis, or of the world for the root's place, (K, 3).
        moves, turns: whether it moves a body, or turns it, (bodies, K).
    """

    joint: Tensor
    hinges: Tensor
    hinge_address: Tensor
    lower: Tensor
    upper: Tensor
    balls: tuple[tuple[int, int, int], ...]
    carrier: Tensor
    unit: Tensor
    moves: Tensor
    turns: Tensor


def _freedom(target: Target, wanted: Wanted) -> _Freedom:
    """What needs solving: the root's place, the legs, and where a limb has hinges all of it.

    Exact already are the root's rotation, and ball joints that carry no hinges and no foot; the spine, where it is of ball joints.
    """
    model = target.model
    ankles = [target.roles["left_ankle"], target.roles["right_ankle"]]
    spine = {target.roles[joint] for joint in SPINE if joint in target.roles}
    body_of = [int(body) for body in model.jnt_bodyid]
    rows, balls = [(0, axis) for axis in range(3)], []
    for joint in range(1, model.njnt):
        ball = int(model.jnt_type[joint]) == _BALL
        below = {body for body in range(1, model.nbody) if is_below(model, body, body_of[joint])}
        leg = any(ankle in below for ankle in ankles)
        hinged = any(int(model.jnt_type[j]) == _HINGE and body_of[j] in below for j in range(1, model.njnt))
        exact = ball and body_of[joint] in wanted.bodies and (body_of[joint] in spine or not (leg or hinged))
        if below.isdisjoint(wanted.bodies) or exact:
            continue
        if ball:
            balls.append((joint, len(rows), int(model.jnt_qposadr[joint])))
        rows += [(joint, axis) for axis in range(3 if ball else 1)]
    joints, axes = (torch.tensor(column) for column in zip(*rows, strict=True))
    hinges = torch.tensor([k for k, (joint, _) in enumerate(rows) if int(model.jnt_type[joint]) == _HINGE], dtype=torch.long)
    lower, upper = torch.as_tensor(model.jnt_range[joints[hinges].numpy()].reshape(-1, 2).copy()).unbind(1)
    limited = torch.as_tensor(model.jnt_limited[joints[hinges].numpy()].astype(bool).reshape(-1))
    moves = torch.tensor([[is_below(model, body, body_of[joint]) for joint, _ in rows] for body in range(model.nbody)])
    return _Freedom(
        joint=joints,
        hinges=hinges,
        hinge_address=torch.as_tensor(model.jnt_qposadr[joints[hinges].numpy()].reshape(-1).astype(np.int64)),
        lower=torch.where(limited, lower, -torch.inf),
        upper=torch.where(limited, upper, torch.inf),
        balls=tuple(balls),
        carrier=torch.tensor([0 if joint == 0 else body_of[joint] for joint, _ in rows]),
        unit=torch.eye(3, dtype=torch.float64)[axes],
        moves=moves,
        turns=moves & (joints > 0),
    )


def solve(
    target: Target, wanted: Wanted, qpos: Tensor, ankles: Tensor, frame_rate: float, tell: Callable[[int], object] | None = None
) -> Tensor:
    """Poses near `qpos` whose ankles are where they should be, and whose bones point as wanted, (T, nq).

    Args:
        target, wanted: as in `direct`, which makes the `qpos` to start from.
        qpos: (T, nq).
        ankles: left and right, (T, 2, 3) m.
        frame_rate: Hz.
        tell: called with the number of frames that are done, now and then.

    Chains of hinges with limits have several answers, between which frames that know nothing of each other jump; there the angles
    are smoothed over time, and everything is solved again near that.
    """
    free = _freedom(target, wanted)
    chosen = [
        m for m, body in enumerate(wanted.bodies) if bool(free.turns[body].any()) and _turns_itself(target.model, body, wanted.bodies)
    ]

    def all_frames(qpos: Tensor, pull: float, tell: Callable[[int], object] | None) -> Tensor:
        done = []
        for start in range(0, len(qpos), CHUNK):
            rows = slice(start, start + CHUNK)
            done.append(_solve(target, free, wanted, chosen, rows, qpos[rows].clone(), ankles[rows], pull))
            if tell:
                tell(len(done[-1]))
        return torch.cat(done)

    if not _is_ambiguous(target.model):
        return all_frames(qpos, 0.0, tell)
    found = all_frames(qpos, _START, None)
    angles = found[:, free.hinge_address].numpy()
    found[:, free.hinge_address] = torch.as_tensor(gaussian_filter1d(angles, _CALM * frame_rate, axis=0, mode="nearest"))
    return all_frames(found, _PULL, tell)


def _is_ambiguous(model: mujoco.MjModel) -> bool:
    """Whether hinges form chains or have limits."""
    hinges = model.jnt_type == _HINGE
    return bool((model.body_jntnum > 1).any() or model.jnt_limited[hinges].any())


def _solve(
    target: Target, free: _Freedom, wanted: Wanted, chosen: list[int], rows: slice, qpos: Tensor, ankles: Tensor, pull: float
) -> Tensor:
    bodies = torch.tensor([wanted.bodies[m] for m in chosen])
    aim = wanted.rotation[rows][:, chosen]
    bone = wanted.bone[chosen].expand(len(aim), -1, 3)
    pointing = rot.rotate(aim, bone)
    long = (wanted.bone[chosen].norm(dim=-1) > 0)[:, None]
    eye = torch.eye(3, dtype=qpos.dtype)
    feet = [target.roles[name] for name in ("left_ankle", "right_ankle")]
    weight = torch.tensor([_FOOT if any(is_below(target.model, b, foot) for foot in feet) else _DIRECTION for b in bodies.tolist()])
    place = qpos[:, :3].clone()
    turns, moves = free.turns[bodies], free.moves[feet]
    near = qpos[:, free.hinge_address].clone()
    for _ in range(ITERATIONS):
        poses = target.poses(qpos)
        axis, anchor = _axes(free, poses), poses.anchor[:, free.joint]
        error = rot.to_rotation_vector(rot.multiply(aim, rot.conjugate(poses.rotation[:, bodies])))
        # of a long bone the direction counts, and its turn about itself only a little
        now = rot.rotate(poses.rotation[:, bodies], bone)
        error = torch.where(long, _swing(now, pointing) + (error * now).sum(dim=-1, keepdim=True) * now, error)
        root = weight.sqrt()[:, None, None] * (eye + (np.sqrt(_TWIST) - 1.0) * now.unsqueeze(-1) * now.unsqueeze(-2))
        spin = axis[:, None] * turns[None, :, :, None]  # (T, M, K, 3)
        jacobian = [torch.einsum("tmij,tmkj->tmik", root, spin).flatten(1, 2)]
        residual = [torch.einsum("tmij,tmj->tmi", root, error).flatten(1)]
        at = poses.position[:, feet]
        arm = torch.linalg.cross(axis[:, None].expand(-1, 2, -1, -1), at[:, :, None] - anchor[:, None])
        arm = torch.where((free.joint == 0)[None, None, :, None], axis[:, None], arm) * moves[None, :, :, None]
        jacobian.append(np.sqrt(_ANKLE) * arm.transpose(2, 3).flatten(1, 2))
        residual.append(np.sqrt(_ANKLE) * (ankles - at).flatten(1))
        hold = torch.zeros(3, len(free.joint), dtype=qpos.dtype)
        hold[:, :3] = np.sqrt(_ROOT) * eye
        jacobian.append(hold.expand(len(qpos), -1, -1))
        residual.append(np.sqrt(_ROOT) * (place - qpos[:, :3]))
        if pull:
            jacobian.append((pull**0.5 * torch.eye(len(free.joint), dtype=qpos.dtype)[free.hinges]).expand(len(qpos), -1, -1))
            residual.append(pull**0.5 * (near - qpos[:, free.hinge_address]))
        step = _step(torch.cat(jacobian, dim=1), torch.cat(residual, dim=1), free, qpos)
        qpos = _moved(target.model, free, qpos, step)
        if float(step.abs().max()) < _ENOUGH:
            break
    return qpos


def _turns_itself(model: mujoco.MjModel, body: int, known: tuple[int, ...]) -> bool:
    """Whether there is a joint between a body and the next one above whose rotation is known; a fixed hand asks for nothing."""
    while not model.body_jntnum[body]:
        body = int(model.body_parentid[body])
        if body in known or body == 0:
            return False
    return True


def _swing(a: Tensor, b: Tensor) -> Tensor:
    """The shortest turn from directions a to b as rotation vectors, (..., 3); null for null vectors."""
    across = torch.linalg.cross(a, b)
    sine = across.norm(dim=-1, keepdim=True)
    return across * torch.where(sine > 1e-9, torch.atan2(sine, (a * b).sum(dim=-1, keepdim=True)) / sine.clamp(min=1e-9), 1.0)


def _axes(free: _Freedom, poses: Poses) -> Tensor:
    """World axis of each degree of freedom, (T, K, 3)."""
    axis = rot.rotate(poses.rotation[:, free.carrier], free.unit.expand(len(poses.position), -1, 3))
    axis[:, free.hinges] = poses.axis[:, free.joint[free.hinges]]
    return axis


def _step(jacobian: Tensor, residual: Tensor, free: _Freedom, qpos: Tensor) -> Tensor:
    """The damped least-squares step, (T, K). Hinges that it would take beyond a limit go just there, and the others make up for it."""
    hessian = jacobian.transpose(1, 2) @ jacobian
    hessian.diagonal(dim1=1, dim2=2).add_(_DAMPING)
    gradient = (jacobian.transpose(1, 2) @ residual.unsqueeze(-1)).squeeze(-1)
    step = torch.cholesky_solve(gradient.unsqueeze(-1), torch.linalg.cholesky(hessian)).squeeze(-1)
    angle, held = qpos[:, free.hinge_address], torch.zeros_like(gradient, dtype=torch.bool)
    for _ in range(_LIMIT_ROUNDS):
        wanted = angle + step[:, free.hinges]
        beyond = (wanted < free.lower - 1e-9) | (wanted > free.upper + 1e-9)
        if not bool(beyond.any()):
            break
        held[:, free.hinges] |= beyond
        known = torch.zeros_like(step)
        known[:, free.hinges] = (wanted.clamp(free.lower, free.upper) - angle) * held[:, free.hinges]
        loose = (~held).to(step.dtype)
        reduced = hessian * loose[:, :, None] * loose[:, None, :] + torch.diag_embed(1.0 - loose)
        rest = (gradient - (hessian @ known.unsqueeze(-1)).squeeze(-1)) * loose
        step = torch.cholesky_solve(rest.unsqueeze(-1), torch.linalg.cholesky(reduced)).squeeze(-1) + known
    return step * (_LONGEST_STEP / step.abs().amax(dim=1, keepdim=True).clamp(min=_LONGEST_STEP))


def _moved(model: mujoco.MjModel, free: _Freedom, qpos: Tensor, step: Tensor) -> Tensor:
    """Positions after a step, within the limits."""
    qpos = qpos.clone()
    qpos[:, :3] += step[:, :3]
    qpos[:, free.hinge_address] = (qpos[:, free.hinge_address] + step[:, free.hinges]).clamp(free.lower, free.upper)
    for joint, column, address in free.balls:
        turned = rot.multiply(qpos[:, address : address + 4], rot.from_rotation_vector(step[:, column : column + 3]))
        qpos[:, address : address + 4] = rot.unit(_within_cone(model, joint, turned))
    return qpos
