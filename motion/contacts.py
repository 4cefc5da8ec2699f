"""Where a moving character touches the floor: how deep it sinks into it, and which feet bear on it."""

from __future__ import annotations

import logging
from dataclasses import replace

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d

from mprl.motion.characters.character import Character
from mprl.motion.clip import MotionClip

log = logging.getLogger("mprl")

Array = NDArray[np.float64]
_SPHERE, _CAPSULE, _BOX = (int(g) for g in (mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_BOX))


def body_clearance(character: Character, qpos: Array) -> Array:
    """Height of each body's lowest point above the floor z = 0; negative inside it, (T, B) m.

    Spheres, capsules and boxes are exact; any other shape counts as its bounding sphere.

    Args:
        character: whose bodies.
        qpos: (T, nq).
    """
    model = character.model
    position, turned = _geom_poses(model, qpos)
    clearance = np.full((len(qpos), model.nbody - 1), np.inf)
    for g in range(model.ngeom):
        body = model.geom_bodyid[g] - 1
        if body >= 0:
            height = position[:, g, 2] + _lowest_point(model, g, turned[:, g])[:, 2]
            clearance[:, body] = np.minimum(clearance[:, body], height)
    return clearance


def _geom_poses(model: mujoco.MjModel, qpos: Array) -> tuple[Array, Array]:
    """Where all geoms are, (T, G, 3), and how they are turned, (T, G, 3, 3)."""
    data = mujoco.MjData(model)
    position, turned = np.empty((len(qpos), model.ngeom, 3)), np.empty((len(qpos), model.ngeom, 3, 3))
    for t, pose in enumerate(qpos):
        data.qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        position[t], turned[t] = data.geom_xpos, data.geom_xmat.reshape(-1, 3, 3)
    return position, turned


def _lowest_point(model: mujoco.MjModel, geom: int, turned: Array) -> Array:
    """From a geom's centre to its lowest point, (T, 3) m, world, where it is turned like `turned` (T, 3, 3)."""
    kind, size, up = model.geom_type[geom], model.geom_size[geom], turned[:, 2]
    if kind == _BOX:
        return np.einsum("tij,tj->ti", turned, -np.where(up < 0, -1.0, 1.0) * size)
    radius = size[0] if kind in (_SPHERE, _CAPSULE) else model.geom_rbound[geom]
    half_length = size[1] if kind == _CAPSULE else 0.0
    tip = -np.where(up[:, 2:] < 0, -1.0, 1.0) * half_length * turned[:, :, 2]
    return tip - np.array([0.0, 0.0, radius])


def lift_out_of_floor(clip: MotionClip, character: Character, window: float = 0.1) -> MotionClip:
    """The clip raised where the character would sink into the floor, with a message that says by how much.

    The lift is the smallest smooth one: the greatest depth within `window` seconds around a frame, averaged over the same
    window, so that it covers the depth at every frame and changes no frame that is far from a penetration.
    """
    depth = np.maximum(0.0, -body_clearance(character, character.to_qpos(clip).numpy()).min(axis=1))
    worst = int(depth.argmax())
    if depth[worst] < 1e-4:
        return clip
    width = 2 * round(window * clip.frame_rate) + 1
    # a cycle's last frame is its first one: smooth around the seam
    mode, ring = ("wrap", depth[:-1]) if clip.loop == "wrap" else ("nearest", depth)
    if clip.loop == "wrap":
        ring = np.maximum(ring, np.r_[depth[-1], np.zeros(len(ring) - 1)])
    lift = uniform_filter1d(maximum_filter1d(ring, width, mode=mode), width, mode=mode)
    if clip.loop == "wrap":
        lift = np.append(lift, lift[0])
    message = log.warning if depth[worst] > 1e-3 else log.debug
    message(
        "%s: the reference sinks %.0f mm into the floor at frame %d (%.2f s); raised by up to %.0f mm around there",
        clip.name, depth[worst] * 1e3, worst, worst / clip.frame_rate, lift.max() * 1e3,
    )  # fmt: skip
    root = clip.root_position.copy()
    root[:, 2] += lift
    return replace(clip, root_position=root)


def label_contacts(clip: MotionClip, character: Character, height: float = 0.055, speed: float = 1.2) -> MotionClip:
    """The clip with each foot labelled as bearing on the floor or not.

    A foot bears while its lowest point is within `height` m of the floor and is slower than `speed` m/s. The point itself, not
    the foot's middle, because a foot that rolls over its toes moves; and a generous height, because recorded feet in stance
    float up to 5 cm above the floor (DeepMimic's run and zombie walk do). A gap of less than .1 s is no step and is closed.
    """
    model = character.model
    position, turned = _geom_poses(model, character.to_qpos(clip).numpy())
    contacts = np.zeros((clip.num_frames, len(character.feet)), dtype=bool)
    for foot, name in enumerate(character.feet):
        for g in np.flatnonzero(model.geom_bodyid == model.body(name).id):
            arm = _lowest_point(model, int(g), turned[:, g])
            fixed = np.einsum("tji,tj->ti", turned[:, g], arm)  # the same point in the geom's own frame
            turning = np.einsum("tij,tj->ti", np.gradient(turned[:, g], axis=0), fixed)
            velocity = (np.gradient(position[:, g], axis=0) + turning) * clip.frame_rate
            near = position[:, g, 2] + arm[:, 2] < height
            contacts[:, foot] |= near & (np.linalg.norm(velocity, axis=-1) < speed)
    width = 2 * int(0.05 * clip.frame_rate) + 1
    mode, ring = ("wrap", contacts[:-1]) if clip.loop == "wrap" else ("nearest", contacts)
    closed = minimum_filter1d(maximum_filter1d(ring, width, axis=0, mode=mode), width, axis=0, mode=mode)
    if clip.loop == "wrap":
        closed = np.concatenate((closed, closed[:1]))
    return replace(clip, contacts=closed)
