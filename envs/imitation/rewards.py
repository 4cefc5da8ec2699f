"""How well a character imitates: error measures, and the published rewards made of them.

Each reward is a weighted sum of terms w exp(-k error). The errors are pure functions over a batch of worlds; `RELEASE`, `PAPER` and
`MIMICKIT` say in one place which terms a reward has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mprl.motion import rotations as rot


class Motion(NamedTuple):
    """What rewards compare, of the simulated character or of the reference; W worlds, world frame.

    Attributes:
        root_position: (W, 3) m. rotations: of the root and the ball joints, (W, 1 + balls, 4) wxyz.
        hinges: (W, hinges) rad.
        velocity: generalised velocity in MuJoCo's conventions, (W, nv).
        end_effectors: hands and feet, (W, E, 3) m, world. local_end_effectors: relative to the root in the character's own
            heading frame, but with their height above the ground, (W, E, 3) m. head: (W, 3) m, world.
        com, com_velocity: of the centre of mass, (W, 3) m and m/s.
    """

    root_position: Tensor
    rotations: Tensor
    hinges: Tensor
    velocity: Tensor
    end_effectors: Tensor
    local_end_effectors: Tensor
    head: Tensor
    com: Tensor
    com_velocity: Tensor


class JointWeights(NamedTuple):
    """Weights of the errors, each as a vector along the matching quantity of `Motion`."""

    rotations: Tensor  # (1 + balls,), the root first
    hinges: Tensor  # (hinges,)
    velocity: Tensor  # (nv,); zero for the root's linear velocity
    heaviest: Tensor  # (), the greatest weight of a joint, the root not counted


def joint_weights(
    weights: Mapping[str, float], root: str, balls: tuple[str, ...], hinges: tuple[str, ...], dofs: tuple[str, ...]
) -> JointWeights:
    """Weights by name, divided by their sum, laid out for `Motion`. `dofs` names the joint of each velocity after the root's six."""
    total = sum(weights[name] for name in (root, *balls, *hinges))
    share = {name: weight / total for name, weight in weights.items()}
    return JointWeights(
        torch.tensor([share[name] for name in (root, *balls)]),
        torch.tensor([share[name] for name in hinges]),
        torch.tensor([0.0] * 3 + [share[root]] * 3 + [share[name] for name in dofs]),
        torch.tensor(max(share[name] for name in (*balls, *hinges))),
    )


def square_length(v: Tensor) -> Tensor:
    """Sum of squares along the last dimension, (..., n) -> (...)."""
    return v.square().sum(dim=-1)


def rotation_errors(character: Motion, reference: Motion) -> Tensor:
    """Angle between the two rotations of the root and each ball joint, (W, 1 + balls) rad."""
    cosine = (character.rotations * reference.rotations).sum(dim=-1).abs()
    return 2.0 * cosine.clamp(max=1.0).acos()


def pose_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """Sum over joints of weight x squared angle, root included, (W,) rad². A hinge's angle is the difference."""
    hinge = (character.hinges - reference.hinges).square() @ weights.hinges
    return angles.square() @ weights.rotations + hinge


def velocity_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """Sum over joints of weight x squared difference of angular velocity, the root's included, (W,) rad²/s²."""
    return (character.velocity - reference.velocity).square() @ weights.velocity


def local_end_effector_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """Sum over hands and feet of squared distance, each in its own heading frame, heights above the ground, (W,) m²."""
    return square_length((character.local_end_effectors - reference.local_end_effectors).flatten(1))


def end_effector_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """Sum over hands and feet of squared distance in the world, (W,) m²."""
    return square_length((character.end_effectors - reference.end_effectors).flatten(1))


def root_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """‖Δp‖² + .1 θ² + .01 ‖Δv‖² + .001 ‖Δω‖² of the root, (W,)."""
    velocity = (character.velocity[:, :6] - reference.velocity[:, :6]).square()
    position = square_length(character.root_position - reference.root_position)
    return position + 0.1 * angles[:, 0].square() + 0.01 * velocity[:, :3].sum(-1) + 0.001 * velocity[:, 3:].sum(-1)


def com_velocity_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """.1 x squared difference of the centre of mass's velocity, (W,)."""
    return 0.1 * square_length(character.com_velocity - reference.com_velocity)


def com_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """Squared distance of the centres of mass, (W,) m²."""
    return square_length(character.com - reference.com)


def plain_pose_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """Sum over joints of squared angle, root included, no weights, (W,) rad²."""
    return square_length(angles) + square_length(character.hinges - reference.hinges)


def plain_velocity_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """Sum over joints of squared difference of angular velocity, the root's included, no weights, (W,) rad²/s²."""
    return square_length(character.velocity[:, 3:] - reference.velocity[:, 3:])


def joint_pose_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """Sum over joints, the root left out, of weight x squared angle, (W,) rad². The heaviest joint weighs 1."""
    hinge = (character.hinges - reference.hinges).square() @ weights.hinges
    return (angles[:, 1:].square() @ weights.rotations[1:] + hinge) / weights.heaviest


def joint_velocity_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """The same of the joints' angular velocities, (W,) rad²/s²."""
    return (character.velocity[:, 6:] - reference.velocity[:, 6:]).square() @ weights.velocity[6:] / weights.heaviest


def root_pose_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """‖Δp‖² + .1 θ² of the root, (W,)."""
    return square_length(character.root_position - reference.root_position) + 0.1 * angles[:, 0].square()


def root_velocity_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """‖Δv‖² + .1 ‖Δω‖² of the root, both in the world, (W,)."""
    linear = square_length(character.velocity[:, :3] - reference.velocity[:, :3])
    mine, its = (rot.rotate(motion.rotations[:, 0], motion.velocity[:, 3:6]) for motion in (character, reference))
    return linear + 0.1 * square_length(mine - its)


def key_body_error(character: Motion, reference: Motion, weights: JointWeights, angles: Tensor) -> Tensor:
    """Sum over hands, feet and head of squared distance, each relative to its own root along the world's axes, (W,) m²."""
    shift = character.root_position - reference.root_position
    limbs = character.end_effectors - reference.end_effectors - shift.unsqueeze(1)
    return square_length(limbs.flatten(1)) + square_length(character.head - reference.head - shift)


class Term(NamedTuple):
    """One term, weight x exp(-scale x error)."""

    weight: float
    scale: float
    error: object  # (Motion, Motion, JointWeights, angles) -> (W,)


@dataclass(frozen=True)
class ImitationReward:
    """A named sum of terms; the weights add up to 1, so perfect imitation earns 1 a step."""

    name: str
    terms: dict[str, Term]

    def __call__(self, character: Motion, reference: Motion, weights: JointWeights) -> tuple[Tensor, Tensor]:
        """The reward (W,) in (0, 1], and each term's exp(-scale x error) in (0, 1], (terms, W) in the order of `terms`."""
        angles = rotation_errors(character, reference)
        terms = self.terms.values()
        errors = [-term.scale * term.error(character, reference, weights, angles) for term in terms]  # type: ignore[operator]
        values = torch.stack(errors).exp()
        return torch.stack([term.weight * value for term, value in zip(terms, values, strict=True)]).sum(dim=0), values


# The authors' code (SceneImitate.cpp). Its scales are multiplied by (joints / 15) and it counts 15, so they stand as they are.
RELEASE = ImitationReward(
    "release",
    {
        "pose": Term(0.5, 2.0, pose_error),
        "velocity": Term(0.05, 0.1, velocity_error),
        "end_effector": Term(0.15, 10.0, local_end_effector_error),
        "root": Term(0.2, 5.0, root_error),
        "com": Term(0.1, 10.0, com_velocity_error),
    },
)

# As printed (Peng et al. 2018, equations 5 to 9). The paper leaves open whether the root counts as a joint; here, as in the release,
# it does, which is the harder reading.
PAPER = ImitationReward(
    "paper",
    {
        "pose": Term(0.65, 2.0, plain_pose_error),
        "velocity": Term(0.1, 0.1, plain_velocity_error),
        "end_effector": Term(0.15, 40.0, end_effector_error),
        "com": Term(0.1, 10.0, com_error),
    },
)

# The authors' later framework (Peng 2025, MimicKit, `compute_reward` of its DeepMimic environment, which tracks the root in the
# world). Its pose and velocity errors leave the root out, and its joint weights are the release's, of which the greatest is made 1.
MIMICKIT = ImitationReward(
    "mimickit",
    {
        "pose": Term(0.5, 0.25, joint_pose_error),
        "velocity": Term(0.1, 0.01, joint_velocity_error),
        "root_pose": Term(0.15, 5.0, root_pose_error),
        "root_velocity": Term(0.1, 1.0, root_velocity_error),
        "key_bodies": Term(0.15, 10.0, key_body_error),
    },
)

REWARDS = {reward.name: reward for reward in (RELEASE, PAPER, MIMICKIT)}
