"""What inertial sensors feel, where it is known from mechanics."""

from __future__ import annotations

import math

import torch

from mprl.motion import inertial
from mprl.motion import rotations as rot

GRAVITY = torch.tensor(inertial.GRAVITY, dtype=torch.float64)
RATE = 60.0


def circle(radius: float, omega: float, frames: int = 90) -> torch.Tensor:
    angle = omega * torch.arange(frames, dtype=torch.float64) / RATE
    return radius * torch.stack((angle.cos(), angle.sin(), torch.zeros_like(angle)), dim=-1)


def test_at_rest_a_sensor_feels_gravity_upwards_and_in_free_fall_nothing():
    turned = rot.unit(torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    at_rest = inertial.specific_force(turned, torch.zeros(5, 3, dtype=torch.float64), GRAVITY)
    assert torch.allclose(rot.rotate(turned, at_rest), torch.tensor([0.0, 0.0, 9.81], dtype=torch.float64).expand(5, 3))
    assert torch.allclose(inertial.specific_force(turned, GRAVITY.expand(5, 3), GRAVITY), torch.zeros(5, 3, dtype=torch.float64))


def test_free_acceleration_undoes_specific_force():
    random = torch.Generator().manual_seed(1)
    turned = rot.unit(torch.randn(7, 4, generator=random, dtype=torch.float64))
    acceleration = torch.randn(7, 3, generator=random, dtype=torch.float64)
    force = inertial.specific_force(turned, acceleration, GRAVITY)
    assert torch.allclose(inertial.free_acceleration(turned, force, GRAVITY), acceleration)


def test_on_a_circle_the_acceleration_points_to_the_middle():
    """The second difference of cos(w t) is -(2 - 2 cos(w n dt)) / (n dt)² cos(w t), which tends to -w² cos(w t)."""
    place = circle(0.7, 3.0)
    for spacing in (1, 4):
        step = spacing / RATE
        factor = (2 - 2 * math.cos(3.0 * step)) / step**2
        found = inertial.second_difference(place, RATE, spacing)[spacing:-spacing]
        assert torch.allclose(found, -factor * place[spacing:-spacing])
        assert abs(factor / 3.0**2 - 1) < 0.01


def test_a_thrown_ball_accelerates_by_g_whatever_the_spacing():
    time = torch.arange(40, dtype=torch.float64)[:, None] / RATE
    place = torch.tensor([1.0, -2.0, 5.0], dtype=torch.float64) * time + 0.5 * GRAVITY * time.square()
    for spacing in (1, 3, 4):
        assert torch.allclose(inertial.second_difference(place, RATE, spacing), GRAVITY.expand(40, 3))


def test_a_triangle_of_differences_between_neighbours_is_the_difference_over_more_frames():
    place = torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64).cumsum(0)
    smooth = inertial.triangle(inertial.second_difference(place, RATE), 4)
    assert torch.allclose(smooth[4:-4], inertial.second_difference(place, RATE, 4)[4:-4])


def test_a_triangle_leaves_what_is_constant():
    assert torch.allclose(inertial.triangle(torch.full((9, 3), 2.5), 4), torch.full((9, 3), 2.5))


def test_the_angle_of_a_random_turn_has_the_deviation_asked_for():
    random = torch.Generator().manual_seed(3)
    turns = inertial.random_turn(torch.randn(20000, 3, generator=random), torch.randn(20000, 1, generator=random), 0.2)
    assert abs(float(turns.square().sum(-1).mean().sqrt()) - 0.2) < 0.005 and float(turns.mean(0).norm()) < 0.005
