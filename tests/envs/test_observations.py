"""What the policy sees, entry by entry, and that it looks the same wherever the character goes and faces."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mprl.envs.imitation import observations
from mprl.envs.imitation.observations import Targets
from mprl.motion import rotations as rot

BALLS, HINGES, NV, NU, KEYS, AHEAD = 8, 4, 34, 28, 5, 3
UP = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)


def scene(seed: int = 0) -> dict[str, Tensor]:
    """Three worlds, everything random."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(3, *shape, generator=generator, dtype=torch.float64)

    def turns(*shape: int) -> Tensor:
        return torch.nn.functional.normalize(numbers(*shape, 4), dim=-1)

    return dict(
        root=numbers(3), rotations=turns(1 + BALLS), hinges=numbers(HINGES), velocity=numbers(NV), keys=numbers(KEYS, 3),
        target_root=numbers(AHEAD, 3), target_rotation=turns(AHEAD), control=numbers(AHEAD, NU),
    )  # fmt: skip


def observe(s: dict[str, Tensor]) -> Tensor:
    targets = Targets(s["target_root"], s["target_rotation"], s["control"])
    return observations.observe(s["root"], s["rotations"], s["hinges"], s["velocity"], s["keys"], targets)


def carried(s: dict[str, Tensor], yaw: float, x: float, y: float) -> dict[str, Tensor]:
    """The same scene turned about the vertical and moved along the floor."""
    turn = rot.from_rotation_vector(yaw * UP)
    place = torch.tensor([x, y, 0.0], dtype=torch.float64)

    def point(p: Tensor) -> Tensor:
        return rot.rotate(turn.expand(*p.shape[:-1], 4), p) + place

    def rotation(q: Tensor) -> Tensor:
        return rot.multiply(turn.expand_as(q), q)

    rotations, velocity = s["rotations"].clone(), s["velocity"].clone()
    rotations[:, 0] = rotation(rotations[:, 0])  # joints are relative to their parents
    velocity[:, :3] = point(velocity[:, :3]) - place  # angular velocities are in the body
    return s | dict(
        root=point(s["root"]), rotations=rotations, velocity=velocity, keys=point(s["keys"]), target_root=point(s["target_root"]),
        target_rotation=rotation(s["target_rotation"]),
    )  # fmt: skip


@settings(max_examples=50)
@given(st.floats(-math.pi, math.pi), st.floats(-100, 100), st.floats(-100, 100))
def test_it_is_the_same_wherever_the_character_goes_and_faces(yaw, x, y):
    assert torch.allclose(observe(carried(scene(), yaw, x, y)), observe(scene()), atol=1e-5)


def test_a_reference_elsewhere_is_seen():
    away = scene()
    away["target_root"] = away["target_root"] + torch.tensor([0.1, 0, 0], dtype=torch.float64)
    assert (observe(away) - observe(scene())).abs().max() > 0.05


def test_height_is_seen():
    """Up by a metre: the root, the key bodies; the targets, relative to the root, sink."""
    higher = scene()
    higher["root"] = higher["root"] + UP
    difference = observe(higher) - observe(scene())
    assert difference[:, 0].tolist() == pytest.approx([1, 1, 1])
    assert difference.abs().sum(dim=1).tolist() == pytest.approx([1 + AHEAD] * 3)


def test_the_length_is_the_documented_one():
    """108 + 37 for each target frame (the environment's docstring)."""
    assert observe(scene()).shape == (3, 108 + 37 * AHEAD)
    for ahead in (1, 2, 5):
        assert observations.size(BALLS, HINGES, NV, NU, KEYS, ahead) == 108 + 37 * ahead


def test_every_entry_is_where_the_docstring_says():
    """A character at (1, 2, .9) that faces y: ahead of it is y, to its left -x."""
    s = {key: torch.zeros_like(value) for key, value in scene().items()}
    s["root"][:] = torch.tensor([1, 2, 0.9])
    s["rotations"][..., 0] = 1
    s["rotations"][:, 0] = rot.from_rotation_vector(math.pi / 2 * UP)
    s["hinges"][:] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    s["velocity"][:, :3] = torch.tensor([0.0, 1.5, 0.2])  # forward and up
    s["velocity"][:, 3:6] = torch.tensor([4.0, 5, 6])
    s["velocity"][:, 6:] = torch.arange(28)
    s["keys"][:] = torch.tensor([1, 2.5, 1.2])  # half a metre ahead, 1.2 m above the floor
    s["target_root"][:] = torch.tensor([0, 2, 1.0])  # a metre to the left, .1 m up
    s["target_rotation"][:] = rot.from_rotation_vector(math.pi / 2 * UP)
    s["control"][:] = 0.1 * torch.arange(3)[:, None] + 0.01 * torch.arange(28)
    seen, at_rest = observe(s)[0], [1, 0, 0, 0, 1, 0]  # the first two columns of a unit matrix
    parts = [
        [0.9], at_rest, [1.5, 0, 0.2], [0.5, 0, 1.2] * KEYS, [0, 1, 0.1] * AHEAD, at_rest * AHEAD, [4, 5, 6], at_rest * BALLS,
        [0.1, 0.2, 0.3, 0.4], [0.1 * i for i in range(28)], *[[0.1 * k + 0.01 * i for i in range(28)] for k in range(AHEAD)],
    ]  # fmt: skip
    assert seen.tolist() == pytest.approx([value for part in parts for value in part], abs=1e-6)


def test_a_quaternion_s_sign_is_not_seen():
    s = scene()
    flipped = s | {"rotations": -s["rotations"], "target_rotation": -s["target_rotation"]}
    assert torch.allclose(observe(flipped), observe(s), atol=1e-12)
