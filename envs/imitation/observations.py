"""What the policy sees: the character's own state, and where the reference will be, both in the character's heading frame.

The heading frame sits on the floor below the root and turns with the character's yaw, so that a motion looks the same wherever
it goes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from mprl.motion import rotations as rot

# Joint velocities are an order of magnitude larger than everything else.
VELOCITY_SCALE = 0.1


class Targets(NamedTuple):
    """The reference at K coming moments: positions (W, K, 3) m, quaternions (W, K, 4), actuator targets (W, K, nu) rad."""

    root_position: Tensor
    root_rotation: Tensor
    control: Tensor


def heading(root_six_d: Tensor) -> Tensor:
    """Unit vector (cos, sin) of the yaw, from the first column of the root's rotation matrix, (..., 6) -> (..., 2)."""
    return rot.unit(root_six_d[..., :2])


def heading_of(root_rotation: Tensor) -> Tensor:
    """The same from the root's quaternion, (..., 4) -> (..., 2)."""
    w, x, y, z = root_rotation.unbind(-1)
    return rot.unit(torch.stack((1 - 2 * (y * y + z * z), 2 * (w * z + x * y)), dim=-1))


def to_heading_frame(vectors: Tensor, direction: Tensor) -> Tensor:
    """Turn world vectors (W, N, 3) by minus the yaw whose (cos, sin) is `direction` (W, 2)."""
    cos, sin = direction[:, None, 0], direction[:, None, 1]
    x, y, z = vectors.unbind(-1)
    return torch.stack((cos * x + sin * y, cos * y - sin * x, z), dim=-1)


def _on_the_floor(position: Tensor) -> Tensor:
    return pad(position[..., :2], (0, 1))


def local_end_effectors(root_position: Tensor, direction: Tensor, end_effectors: Tensor) -> Tensor:
    """End effectors (W, E, 3) relative to the root in its heading frame, but with their height above the ground."""
    relative = end_effectors - _on_the_floor(root_position).unsqueeze(1)
    return to_heading_frame(relative, direction)


def observe(
    root_position: Tensor, rotations: Tensor, hinges: Tensor, velocity: Tensor | None, key_bodies: Tensor, targets: Targets
) -> Tensor:
    """The observation, (W, 28 + 6 balls + hinges + (nv - 6) + 3 (key bodies - 5) + K (9 + nu)).

    In this order: root height; root rotation (6-D) and linear velocity in the heading frame, angular velocity in the body;
    rotations of the ball joints (6-D); hinge angles; joint velocities x .1; key bodies relative to the point below the root;
    for each target its root position relative to the root and its root rotation (6-D), in the heading frame, and its actuator
    targets. Without `velocity` those of the root and of the joints are left out: nv numbers fewer.

    Args:
        root_position: (W, 3) m. rotations: root and ball joints, (W, 1 + balls, 4). hinges: (W, hinges) rad.
        velocity: (W, nv), or None. key_bodies: hands, feet, head, (W, N, 3) m, world. targets: K coming moments of the reference.
    """
    worlds, balls, ahead = len(root_position), rotations.shape[1] - 1, targets.root_position.shape[1]
    six_d = rot.to_six_d(torch.cat((rotations, targets.root_rotation), dim=1))
    own, joints, coming = six_d.split((1, balls, ahead), dim=1)
    ground = _on_the_floor(root_position).unsqueeze(1)
    vectors = torch.cat(
        (
            own.reshape(worlds, 2, 3),
            *(() if velocity is None else (velocity[:, None, :3],)),
            key_bodies - ground,
            targets.root_position - root_position.unsqueeze(1),
            coming.reshape(worlds, 2 * ahead, 3),
        ),
        dim=1,
    )
    turned = to_heading_frame(vectors, heading(own[:, 0])).flatten(1)
    return torch.cat(
        (
            root_position[:, 2:],
            turned,
            *(() if velocity is None else (velocity[:, 3:6],)),
            joints.flatten(1),
            hinges,
            *(() if velocity is None else (velocity[:, 6:] * VELOCITY_SCALE,)),
            targets.control.flatten(1),
        ),
        dim=1,
    )


def size(balls: int, hinges: int, nv: int, nu: int, key_bodies: int, ahead: int, velocity: bool = True) -> int:
    """Length of what `observe` returns."""
    return 1 + 3 * (2 + key_bodies + 3 * ahead) + 6 * balls + hinges + velocity * nv + ahead * nu
