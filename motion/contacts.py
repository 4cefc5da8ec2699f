"""Where a moving character touches the floor: how deep it sinks into it, and which feet bear on it."""

from __future__ import annotations

import logging
from dataclasses import replace

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d

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
    data = mujoco.MjData(model)
    geoms = [g for g in range(model.ngeom) if model.geom_bodyid[g] != 0]
    clearance = np.full((len(qpos), model.nbody - 1), np.inf)
    for t, pose in enumerate(qpos):
        data.qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        for g in geoms:
            up, size = data.geom_xmat[g].reshape(3, 3)[2], model.geom_size[g]
            kind = model.geom_type[g]
            if kind == _SPHERE:
                reach = size[0]
            elif kind == _CAPSULE:
                reach = abs(up[2]) * size[1] + size[0]
            elif kind == _BOX:
                reach = np.abs(up) @ size
            else:
                reach = model.geom_rbound[g]
            body = model.geom_bodyid[g] - 1
            clearance[t, body] = min(clearance[t, body], data.geom_xpos[g, 2] - reach)
    return clearance


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
    log.info(
        "%s: the reference sinks %.0f mm into the floor at frame %d (%.2f s); raised by up to %.0f mm around there",
        clip.name, depth[worst] * 1e3, worst, worst / clip.frame_rate, lift.max() * 1e3,
    )  # fmt: skip
    root = clip.root_position.copy()
    root[:, 2] += lift
    return replace(clip, root_position=root)


def label_contacts(clip: MotionClip, character: Character, height: float = 0.025, speed: float = 0.6) -> MotionClip:
    """The clip with each foot labelled as bearing on the floor or not.

    A foot bears when its lowest point is within `height` m of the floor and the foot moves slower than `speed` m/s.
    """
    qpos = character.to_qpos(clip).numpy()
    feet = [character.body_names.index(name) for name in character.feet]
    clearance = body_clearance(character, qpos)[:, feet]
    data = mujoco.MjData(character.model)
    position = np.empty((len(qpos), len(feet), 3))
    for t, pose in enumerate(qpos):
        data.qpos[:] = pose
        mujoco.mj_kinematics(character.model, data)
        position[t] = data.xipos[1:][feet]
    velocity = np.gradient(position, 1.0 / clip.frame_rate, axis=0)
    return replace(clip, contacts=(clearance < height) & (np.linalg.norm(velocity, axis=-1) < speed))
