"""Our few quaternion functions agree with roma and SciPy, at the edges too.

roma and SciPy order quaternions (x, y, z, w); ours are (w, x, y, z), as MuJoCo's.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import roma
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor

from mprl.motion import rotations as rot

IDENTITY = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
X, Y, Z = torch.eye(3, dtype=torch.float64)


def quaternions(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 4, generator=generator, dtype=torch.float64), dim=-1)


def xyzw(q: Tensor) -> Tensor:
    return torch.cat((q[..., 1:], q[..., :1]), dim=-1)


def wxyz(q: Tensor) -> Tensor:
    return torch.cat((q[..., 3:], q[..., :3]), dim=-1)


def same_rotation(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> bool:
    """q and -q are one rotation."""
    return bool(torch.minimum((a - b).norm(dim=-1), (a + b).norm(dim=-1)).max() < tolerance)


unit = st.tuples(st.floats(0, math.pi), st.floats(-math.pi, math.pi)).map(
    lambda s: torch.tensor([math.sin(s[0]) * math.cos(s[1]), math.sin(s[0]) * math.sin(s[1]), math.cos(s[0])], dtype=torch.float64)
)
# the places where formulas for rotations break: nothing, next to nothing, half a turn and just short of it
angles = st.one_of(st.sampled_from([0.0, 1e-300, 1e-16, 1e-9, 1e-8, 2e-8, 1e-4, math.pi - 1e-9, math.pi]), st.floats(0, math.pi))


# ------------------------------------------------------------------------------------------------------------------ against roma


def test_product_is_that_of_roma():
    a, b = quaternions(200), quaternions(200, seed=1)
    assert torch.allclose(rot.multiply(a, b), wxyz(roma.quat_product(xyzw(a), xyzw(b))), atol=1e-14)


def test_a_product_turns_by_the_right_factor_first():
    quarter_x, quarter_z = rot.from_rotation_vector(X * math.pi / 2), rot.from_rotation_vector(Z * math.pi / 2)
    # y turned about x is z, and z stays where it is about z
    assert torch.allclose(rot.rotate(rot.multiply(quarter_z, quarter_x), Y), Z, atol=1e-14)
    # the other way round: y turned about z is -x, and x stays where it is about x
    assert torch.allclose(rot.rotate(rot.multiply(quarter_x, quarter_z), Y), -X, atol=1e-14)


def test_rotate_is_that_of_roma_and_of_scipy():
    q, v = quaternions(200), torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(rot.rotate(q, v), roma.quat_action(xyzw(q), v), atol=1e-13)
    np.testing.assert_allclose(rot.rotate(q, v), Rotation.from_quat(q.numpy(), scalar_first=True).apply(v), atol=1e-13)


def test_rotate_broadcasts_one_rotation_over_many_vectors():
    quarter = rot.from_rotation_vector(Z * math.pi / 2)
    assert torch.allclose(rot.rotate(quarter.expand(3, 4), torch.eye(3, dtype=torch.float64)), torch.stack((Y, -X, Z)), atol=1e-14)


def test_conjugate_undoes():
    q = quaternions(100)
    assert torch.allclose(rot.multiply(q, rot.conjugate(q)), IDENTITY.expand(100, 4), atol=1e-14)


def test_angle_is_that_of_scipy_and_blind_to_signs():
    a, b = quaternions(200), quaternions(200, seed=1)
    relative = Rotation.from_quat(a.numpy(), scalar_first=True).inv() * Rotation.from_quat(b.numpy(), scalar_first=True)
    np.testing.assert_allclose(rot.angle(a, b), relative.magnitude(), atol=1e-7)
    assert torch.equal(rot.angle(a, b), rot.angle(-a, b))


def test_rotation_vectors_are_those_of_roma_and_of_scipy():
    q = quaternions(500)
    np.testing.assert_allclose(rot.to_rotation_vector(q), Rotation.from_quat(q.numpy(), scalar_first=True).as_rotvec(), atol=1e-12)
    assert torch.allclose(rot.to_rotation_vector(q), roma.unitquat_to_rotvec(xyzw(q)), atol=1e-12)
    v = 2 * torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert same_rotation(rot.from_rotation_vector(v), wxyz(roma.rotvec_to_unitquat(v)))


def test_six_d_is_the_matrix_s_first_two_columns():  # Zhou et al. 2019
    q = quaternions(200)
    matrix = roma.unitquat_to_rotmat(xyzw(q))
    assert torch.allclose(rot.to_six_d(q), torch.cat((matrix[..., 0], matrix[..., 1]), dim=-1), atol=1e-6)
    assert torch.allclose(rot.to_six_d(-q), rot.to_six_d(q), atol=1e-12)


def test_slerp_is_that_of_scipy():
    a, b = quaternions(50), quaternions(50, seed=1)
    for t in (0.0, 0.1, 0.5, 0.9, 1.0):
        ours = rot.slerp(a, b, torch.full((50,), t, dtype=torch.float64))
        for i in range(50):
            theirs = Slerp([0, 1], Rotation.from_quat(np.stack((a[i], b[i])), scalar_first=True))(t).as_quat(scalar_first=True)
            assert same_rotation(ours[i], torch.as_tensor(theirs)), (i, t)


# ---------------------------------------------------------------------------------------------------------------------- at the edges


@given(unit, angles)
def test_a_rotation_vector_survives_the_round_trip(axis, radians):
    back = rot.to_rotation_vector(rot.from_rotation_vector(axis * radians))
    if radians < math.pi - 1e-6:
        assert (back - axis * radians).abs().max() < 1e-9
    else:  # half a turn: the axis may point either way
        assert min((back - axis * radians).norm(), (back + axis * radians).norm()) < 1e-5


@given(unit, angles, st.sampled_from([torch.float32, torch.float64]))
def test_the_exponential_map_gives_finite_unit_quaternions(axis, radians, dtype):
    q = rot.from_rotation_vector((axis * radians).to(dtype))
    assert q.isfinite().all() and abs(float(q.norm()) - 1) < (1e-6 if dtype == torch.float32 else 1e-14)
    assert rot.to_rotation_vector(q).isfinite().all() and rot.to_six_d(q).isfinite().all()


@given(unit, angles)
def test_a_small_turn_keeps_its_size(axis, radians):
    """Angles far below single precision's resolution of 1 are not rounded to nothing."""
    back = rot.to_rotation_vector(rot.from_rotation_vector((axis * radians).float())).norm()
    assert float(back) == pytest.approx(radians, rel=1e-5, abs=1e-18)


@given(unit, angles, unit, angles, st.floats(0, 1))
def test_slerp_runs_evenly_along_the_shorter_arc(axis, radians, axis_b, radians_b, t):
    a, b = rot.from_rotation_vector(axis * radians), rot.from_rotation_vector(axis_b * radians_b)
    middle = rot.slerp(a, b, torch.tensor(t, dtype=torch.float64))
    whole = float(rot.angle(a, b))
    assert float(rot.angle(a, middle)) == pytest.approx(t * whole, abs=1e-6)
    assert float(rot.angle(middle, b)) == pytest.approx((1 - t) * whole, abs=1e-6)


@given(unit, st.floats(-3.1, 3.1))
def test_a_hinge_s_angle_is_found_again_whatever_the_sign(axis, radians):
    q = rot.from_axis_angle(axis, torch.tensor(radians, dtype=torch.float64))
    assert float(rot.hinge_angle(q, axis)) == pytest.approx(radians, abs=1e-9)
    assert float(rot.hinge_angle(-q, axis)) == pytest.approx(radians, abs=1e-9)
    assert float(rot.hinge_angle(q, -axis)) == pytest.approx(-radians, abs=1e-9)


def test_a_hinge_s_angle_is_the_twist_and_ignores_the_swing():
    swing, twist = rot.from_rotation_vector(0.7 * X), rot.from_rotation_vector(0.4 * Z)
    assert float(rot.hinge_angle(rot.multiply(swing, twist), Z)) == pytest.approx(0.4, abs=1e-12)


def test_continuous_changes_signs_only_and_leaves_no_jump():
    turn = torch.linspace(0, 4 * math.pi, 100, dtype=torch.float64)
    smooth = torch.stack((torch.cos(turn / 2), *(0 * turn, 0 * turn), torch.sin(turn / 2)), dim=-1)
    flips = torch.where(torch.rand(100, 1, generator=torch.Generator().manual_seed(4)) < 0.5, -1.0, 1.0).double()
    mended = rot.continuous(smooth * flips)
    assert torch.equal(mended.abs(), smooth.abs())
    assert (mended[1:] - mended[:-1]).norm(dim=-1).max() < 0.1


def test_about_vertical_turns_x_towards_y():
    quarter = rot.about_vertical(torch.tensor([torch.pi / 2]))
    torch.testing.assert_close(rot.rotate(quarter, torch.tensor([[1.0, 0.0, 2.0]])), torch.tensor([[0.0, 1.0, 2.0]]))
