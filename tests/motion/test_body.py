"""The SMPL body: its forward pass against smplx, and the free default body."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import SmplBody
from mprl.motion.body import skinning
from mprl.motion.body.joints import JOINTS, pose_to_rotations
from mprl.motion.kinematics import forward_kinematics


@pytest.fixture(scope="module")
def body() -> SmplBody:
    return SmplBody.default()


def random_inputs(size: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(scale * torch.randn(size, *shape, generator=generator) for scale, shape in ((1.5, (10,)), (0.5, (24, 3)), (1.0, (3,))))


def reference(body: SmplBody, betas: Tensor, pose: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
    """smplx's own layer on the same arrays."""
    smplx = pytest.importorskip("smplx")
    from smplx.utils import Struct

    model = smplx.SMPLLayer(model_path="", data_struct=Struct(**body.arrays()), dtype=betas.dtype)
    from smplx.lbs import lbs

    vertices, joints = lbs(
        betas, pose.flatten(1), model.v_template, model.shapedirs, model.posedirs, model.J_regressor, model.parents, model.lbs_weights
    )
    return vertices + translation[:, None], joints + translation[:, None]


def test_vertices_and_joints_are_those_of_smplx(body: SmplBody):
    inputs = random_inputs(70)
    inputs[1][:2] = 0  # the rest pose
    expected, expected_joints = reference(body, *inputs)
    vertices, joints = body(*inputs)
    assert (vertices - expected).abs().max() < 1e-5
    assert (joints - expected_joints).abs().max() < 1e-5
    assert (body.joints(*inputs) - expected_joints).abs().max() < 1e-5


def test_the_default_body_stands_in_the_t_pose_facing_z_with_y_up(body: SmplBody):
    vertices, joints = body()
    place = dict(zip(JOINTS, joints[0].tolist(), strict=True))
    assert 1.6 < np.ptp(vertices[0, :, 1].numpy()) < 1.8
    assert place["left_wrist"][0] > place["left_elbow"][0] > place["left_shoulder"][0] > 0.1
    assert place["left_foot"][2] > place["left_ankle"][2] + 0.1
    assert place["head"][1] > place["neck"][1] > place["spine3"][1] > place["spine2"][1] > place["spine1"][1] > place["pelvis"][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"betas": torch.zeros(1, 11)}, r"betas: expected \(batch, 10\) or fewer columns, found \(1, 11\)"),
        ({"pose": torch.zeros(1, 22, 3)}, r"pose: expected \(batch, 24, 3\) or \(batch, 72\), found \(1, 22, 3\)"),
        ({"betas": torch.zeros(2, 10), "pose": torch.zeros(3, 24, 3)}, "batches of 2, 3 and 1"),
    ],
)
def test_a_wrong_shape_is_one_line(body: SmplBody, arguments: dict[str, Tensor], message: str):
    with pytest.raises(SettingError, match=message):
        body(**arguments)


def test_gradients_are_exact_at_rest_and_in_a_pose():
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    vectors[0] = 0
    vectors[1] *= 1e-4
    assert torch.autograd.gradcheck(skinning.rotation_matrices, vectors.requires_grad_())

    small = SmplBody(_cut(SmplBody.default(), 30), dtype=torch.float64)
    inputs = [torch.randn(2, *shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in ((10,), (24, 3), (3,))]
    assert torch.autograd.gradcheck(lambda *x: tuple(small(*x)), inputs, fast_mode=True)
    assert torch.autograd.gradcheck(small.joints, inputs, fast_mode=True)


def _cut(body: SmplBody, vertices: int) -> dict[str, Any]:
    """A body of a few vertices, for derivatives by differences."""
    arrays = body.arrays()
    chosen = np.linspace(0, 6889, vertices).astype(int)
    cut = {key: arrays[key][chosen] for key in ("v_template", "shapedirs", "posedirs", "weights")}
    return arrays | cut | {"J_regressor": np.full((24, vertices), 1 / vertices), "f": np.zeros((1, 3))}


def test_rotations_are_those_of_scipy():
    vectors = np.random.default_rng(0).normal(0, 2, (100, 3))
    vectors[0], vectors[1] = 0, 1e-9
    found = skinning.rotation_matrices(torch.from_numpy(vectors))
    assert np.abs(found.numpy() - Rotation.from_rotvec(vectors).as_matrix()).max() < 1e-12


def test_corrections_that_are_not_local_are_added_too(body: SmplBody):
    arrays = body.arrays()
    arrays["posedirs"] = np.random.default_rng(0).normal(0, 1e-3, (6890, 3, 207)).astype(np.float32)
    dense = SmplBody(arrays)
    inputs = random_inputs(3)
    assert (dense(*inputs).vertices - reference(dense, *inputs)[0]).abs().max() < 1e-5
    assert dense._local is None
    assert body._local is not None


def test_one_body_goes_with_many_poses(body: SmplBody):
    betas, pose, translation = random_inputs(5)
    many = body(betas[:1].expand(5, -1), pose, translation)
    assert torch.equal(body(betas[:1], pose.flatten(1), translation).vertices, many.vertices)
    assert torch.equal(body(betas[0, :10], pose, translation).joints, many.joints)
    fewer = torch.cat((betas[:, :4], torch.zeros(5, 6)), dim=1)
    assert torch.equal(body(betas[:, :4], pose).joints, body(fewer, pose).joints)


def test_the_skeleton_is_the_body_at_rest_in_our_frame(body: SmplBody):
    betas = random_inputs(1)[0]
    skeleton = body.skeleton(betas)
    rest = body.rest_joints(betas)[0].double()
    identity = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).expand(24, 4)
    positions, _ = forward_kinematics(skeleton, rest[0, [2, 0, 1]], identity)
    assert (positions - rest[:, [2, 0, 1]]).abs().max() < 1e-6
    assert skeleton.names == JOINTS
    assert positions[JOINTS.index("left_wrist"), 1] > 0.5  # left is +y, up is +z
    assert positions[JOINTS.index("head"), 2] > positions[JOINTS.index("pelvis"), 2] + 0.5


def test_a_clip_moves_its_joints_as_the_body_does(body: SmplBody):
    """Rotations in our frame with the skeleton of the betas, and the pose in SMPL's frame, put the joints in the same places."""
    betas, pose, _ = random_inputs(1, seed=4)
    rotations = pose_to_rotations(pose[0].double())
    rest = body.rest_joints(betas)[0].double()
    positions, _ = forward_kinematics(body.skeleton(betas), rest[0, [2, 0, 1]], rotations)
    assert (positions - body.joints(betas, pose)[0, :, [2, 0, 1]].double()).abs().max() < 1e-5
