"""A simulated character as parts that meshes hang on: what it looks like in any state of its model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mprl.motion.body.joints import JOINTS
from mprl.motion.body.smpl import SmplBody
from mprl.motion.characters.character import Character
from mprl.motion.characters.smpl import SmplCharacter
from mprl.motion.clip import Skeleton
from mprl.motion.viewing.meshes import BODY, BONE, SHAPE, SHAPES, SKELETON, Array, Color, Mesh, bones_of, geoms_of, skin_of


@dataclass(frozen=True, eq=False)
class Puppet:
    """The parts of a MuJoCo model, P of them, and what hangs on them.

    Attributes:
        model: the character.
        bodies: of the model, which the parts are, (P,).
        meshes: what hangs on the parts.
    """

    model: mujoco.MjModel
    bodies: NDArray[np.int64]
    meshes: tuple[Mesh, ...]

    def poses(self, qpos: ArrayLike) -> tuple[Array, Array]:
        """Where the parts are in T states (T, nq): positions (T, P, 3) m and rotations (T, P, 4) wxyz, in the world."""
        rows, data = np.atleast_2d(np.asarray(qpos, dtype=np.float64)), mujoco.MjData(self.model)
        positions, rotations = (np.empty((len(rows), len(self.bodies), width)) for width in (3, 4))
        for row, (position, rotation) in zip(rows, zip(positions, rotations, strict=True), strict=True):
            data.qpos[:] = row
            mujoco.mj_kinematics(self.model, data)
            position[:], rotation[:] = data.xpos[self.bodies], data.xquat[self.bodies]
        return positions, rotations

    def coloured(self, color: Color) -> Puppet:
        """The same in one colour."""
        return replace(self, meshes=tuple(mesh._replace(color=color) for mesh in self.meshes))


def puppet_of(character: Character, color: Color) -> Puppet:
    """A character's own geoms; of SMPL's the skin of its shape."""
    model = character.model
    if isinstance(character, SmplCharacter):
        assert character.body is not None and character.betas is not None
        bodies = np.array([model.body(name).id for name in JOINTS])
        return Puppet(model, bodies, tuple(skinned(character.body, np.asarray(character.betas), color)))
    offsets = model.body_pos[1:].copy()
    skeleton = Skeleton(character.body_names, character.skeleton.parents, offsets)
    bones = bones_of(skeleton, SKELETON, BONE)
    geoms = geoms_of(model, range(model.nbody - 1), BODY, color)  # joined by the bones: many a model's limbs do not touch
    meshes = [*geoms, bones._replace(layer=BODY)] if geoms else [bones_of(skeleton, BODY, color)]
    return Puppet(model, np.arange(1, model.nbody), (*meshes, bones))


def skinned(body: SmplBody, betas: Array, color: Color) -> list[Mesh]:
    """A body of one shape, (S,): its skin, its bones, and what the simulation collides with, on SMPL's joints."""
    import torch

    model = SmplCharacter(betas, body=body).model
    parts = [JOINTS.index(model.body(index).name) for index in range(1, model.nbody)]
    bones = bones_of(body.skeleton(torch.as_tensor(betas)[None]), SKELETON, BONE)
    return [skin_of(body, betas, color), bones, *geoms_of(model, parts, SHAPES, SHAPE)]
