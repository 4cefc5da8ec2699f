"""Triangles that hang on the parts of a body: a model's geoms, a skeleton's bones, skin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray

from mprl.motion.body.joints import from_smpl
from mprl.motion.body.smpl import SmplBody
from mprl.motion.clip import Skeleton
from mprl.motion.kinematics import forward_kinematics
from mprl.motion.viewing import shapes
from mprl.motion.viewing.shapes import Triangles

Array = NDArray[np.float64]
Color = tuple[int, int, int]

BODY, SKELETON, SHAPES = "body", "skeleton", "shapes"  # layers: what it looks like, its bones, and what the simulation collides with
PALETTE: tuple[Color, ...] = ((104, 143, 199), (222, 148, 84), (116, 172, 122), (192, 112, 134), (146, 124, 190), (196, 168, 92))
BONE: Color = (58, 66, 84)
SHAPE: Color = (214, 96, 84)
_PLAIN = (0.5, 0.5, 0.5, 1.0)  # MuJoCo's colour where nobody chose one
INFLUENCES = 4  # parts that a vertex may hang on, as many as SMPL needs


class Mesh(NamedTuple):
    """Triangles of one colour that move with the parts of an actor.

    Attributes:
        layer: "body", "skeleton" or "shapes".
        color: red, green, blue, 0 to 255.
        triangles: V vertices where they are when no part is turned and part p is at bind[p].
        parts: those that each vertex hangs on, (V, K).
        weights: how much, (V, K), rows summing to 1.
        bind: (P, 3) m.
    """

    layer: str
    color: Color
    triangles: Triangles
    parts: NDArray[np.int64]
    weights: Array
    bind: Array

    @property
    def used(self) -> list[int]:
        """The parts that something hangs on."""
        return np.unique(self.parts[self.weights > 0]).tolist()


def skin_of(body: SmplBody, betas: Array, color: Color) -> Mesh:
    """The skin of a body of one shape, (S,), on SMPL's joints."""
    rest, joints = (from_smpl(points[0].detach().double().cpu()).numpy() for points in body(torch.as_tensor(betas)[None]))
    every = body.weights.detach().double().cpu().numpy()
    strongest = every.argsort(axis=1)[:, ::-1][:, :INFLUENCES]
    weights = np.take_along_axis(every, strongest, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    return Mesh(BODY, color, Triangles(rest, body.faces.cpu().numpy()), strongest, weights, joints)


def geoms_of(model: mujoco.MjModel, parts: Sequence[int], layer: str, color: Color) -> list[Mesh]:
    """The geoms of a model whose body b + 1 is part parts[b]; those that MuJoCo hides (groups 3 to 5) only where there are no others."""
    geoms = [index for index in range(model.ngeom) if model.geom_bodyid[index] > 0 and model.geom_rgba[index, 3] > 0]
    geoms = [index for index in geoms if model.geom_group[index] < 3] or geoms
    found: dict[Color, list[tuple[int, Triangles]]] = {}
    for index in geoms:
        shape = shapes.geom(model, index)
        if shape is not None:
            material = int(model.geom_matid[index])
            rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[index]
            own = color if np.allclose(rgba, _PLAIN) else tuple(round(255 * float(c)) for c in rgba[:3])
            found.setdefault(own, []).append((parts[int(model.geom_bodyid[index]) - 1], shape))  # type: ignore[arg-type]
    if len(found) == 1:  # of one colour: the actor's, which tells it from the others
        found = {color: next(iter(found.values()))}
    return [rigid(layer, own, hung, max(parts) + 1) for own, hung in found.items()]


def bones_of(skeleton: Skeleton, layer: str, color: Color) -> Mesh:
    """From each joint a rod to its children: thin with a ball at each joint in the skeleton's layer, as thick as limbs in the body's."""
    reach = forward_kinematics(skeleton, torch.zeros(3).double(), torch.tensor([1.0, 0, 0, 0]).double().repeat(len(skeleton.names), 1))[0]
    size = float((reach.max(dim=0).values - reach.min(dim=0).values).max()) or 1.0
    hung = []
    for joint, (parent, offset) in enumerate(zip(skeleton.parents, skeleton.offsets, strict=True)):
        length = float(np.linalg.norm(offset))
        if joint and length > 1e-3 * size:
            thick = min(0.03 * size, 0.16 * length) if layer == BODY else 0.006 * size
            hung.append((parent, shapes.rod(offset, thick, 12 if layer == BODY else 6)))
        if layer == SKELETON or joint == 0:
            hung.append((joint, shapes.capsule(0.011 * size, 0.0, 10)))
    return rigid(layer, color, hung, len(skeleton.names))


def rigid(layer: str, color: Color, hung: list[tuple[int, Triangles]], count: int) -> Mesh:
    """Triangles in the frames of the parts that they hang on."""
    parts = np.concatenate([np.full((len(triangles.vertices), 1), part) for part, triangles in hung])
    return Mesh(layer, color, shapes.joined([triangles for _, triangles in hung]), parts, np.ones(parts.shape), np.zeros((count, 3)))
