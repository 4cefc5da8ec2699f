"""The SMPL body: its forward pass against smplx, and the free default body."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import SmplBody
from mprl.motion.body.joints import JOINTS


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
