"""The rewards, term by term, with values worked out by hand.

Formulas, weights and scales of `release`: the authors' code (SceneImitate.cpp); of `paper`: Peng et al. 2018, equations 5 to 9;
of `mimickit`: the authors' later framework.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mprl.envs.imitation import observations, terminations
from mprl.envs.imitation.rewards import MIMICKIT, PAPER, RELEASE, REWARDS, ImitationReward, JointWeights, Motion, joint_weights
from mprl.motion import HUMANOID
from mprl.motion import rotations as rot

BALLS, HINGES = HUMANOID.ball_joints, HUMANOID.hinge_joints
DOFS = tuple(HUMANOID.model.joint(int(j)).name for j in HUMANOID.model.dof_jntid[6:])


def weights() -> JointWeights:
    release = joint_weights(HUMANOID.joint_weights, "root", BALLS, HINGES, DOFS)
    return JointWeights(*(w.double() for w in release))


def motion(**changes: Tensor) -> Motion:
    """Two worlds with a motion each, with changes."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    values = dict(
        root_position=numbers(2, 3), rotations=torch.nn.functional.normalize(numbers(2, 9, 4), dim=-1), hinges=numbers(2, 4),
        velocity=numbers(2, 34), end_effectors=numbers(2, 4, 3), local_end_effectors=numbers(2, 4, 3), head=numbers(2, 3),
        com=numbers(2, 3), com_velocity=numbers(2, 3),
    )  # fmt: skip
    return Motion(**values)._replace(**changes)


def moved(field: str, index: tuple, by: float) -> Motion:
    value = getattr(motion(), field).clone()
    value[(slice(None), *index)] += by
    return motion(**{field: value})


def turned(joint: int, radians: float) -> Motion:
    """One of the root (0) and the ball joints turned by an angle, about a slanted axis."""
    rotations = motion().rotations.clone()
    axis = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    rotations[:, joint] = rot.multiply(rotations[:, joint], rot.from_axis_angle(axis.expand(2, 3), torch.full((2,), radians).double()))
    return motion(rotations=rotations)


def terms(reward: ImitationReward, character: Motion) -> dict[str, float]:
    """Each term of the first world; the second, whose motion is another, must have the same."""
    total, values = reward(character, motion(), weights())
    assert torch.allclose(values[:, 0], values[:, 1], atol=1e-9)
    named = dict(zip(reward.terms, values[:, 0].tolist(), strict=True))
    assert float(total[0]) == pytest.approx(sum(reward.terms[name].weight * value for name, value in named.items()))
    return named


def only(reward: ImitationReward, **expected: float) -> dict[str, object]:
    """The named terms have these values, all others are 1."""
    return {name: pytest.approx(expected.get(name, 1.0), abs=1e-7) for name in reward.terms}


# --------------------------------------------------------------------------------------------------------------------- all rewards


@pytest.mark.parametrize("name", REWARDS)
def test_perfect_imitation_earns_one_in_every_term(name):
    assert terms(REWARDS[name], motion()) == only(REWARDS[name])
    assert REWARDS[name](motion(), motion(), weights())[0].tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("name", REWARDS)
def test_a_quaternion_s_sign_means_nothing(name):
    assert terms(REWARDS[name], motion(rotations=-motion().rotations)) == only(REWARDS[name])


def test_the_published_weights_and_scales():
    as_numbers = {name: {k: (t.weight, t.scale) for k, t in reward.terms.items()} for name, reward in REWARDS.items()}
    assert as_numbers["release"] == {
        "pose": (0.5, 2), "velocity": (0.05, 0.1), "end_effector": (0.15, 10), "root": (0.2, 5), "com": (0.1, 10),
    }  # fmt: skip
    assert as_numbers["paper"] == {"pose": (0.65, 2), "velocity": (0.1, 0.1), "end_effector": (0.15, 40), "com": (0.1, 10)}
    assert as_numbers["mimickit"] == {
        "pose": (0.5, 0.25), "velocity": (0.1, 0.01), "root_pose": (0.15, 5), "root_velocity": (0.1, 1), "key_bodies": (0.15, 10),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------------------- release


def test_release_joint_weights_are_divided_by_their_sum():
    w = weights()
    assert float(w.rotations.sum() + w.hinges.sum()) == pytest.approx(1, abs=1e-6)
    share = dict(zip(("root", *BALLS), w.rotations.tolist(), strict=True)) | dict(zip(HINGES, w.hinges.tolist(), strict=True))
    assert share["root"] == pytest.approx(1 / 4.8) and share["chest"] == pytest.approx(0.5 / 4.8)
    assert share["left_knee"] == pytest.approx(0.3 / 4.8) and share["right_elbow"] == pytest.approx(0.2 / 4.8)
    # a ball joint's weight stands before the square of its whole angular velocity: once for each axis; the root's linear: never
    assert w.velocity[:6].tolist() == pytest.approx([0, 0, 0, *[1 / 4.8] * 3])
    chest = [i for i, name in enumerate(DOFS) if name == "chest"]
    assert w.velocity[6:][chest].tolist() == pytest.approx([0.5 / 4.8] * 3)


@pytest.mark.parametrize(("joint", "weight"), [("chest", 0.5), ("neck", 0.3), ("left_ankle", 0.2), ("right_hip", 0.5)])
def test_release_pose_one_ball_joint_off(joint, weight):
    expected = math.exp(-2 * weight / 4.8 * 0.3**2)
    assert terms(RELEASE, turned(1 + BALLS.index(joint), 0.3)) == only(RELEASE, pose=expected)


def test_release_pose_a_knee_off():
    assert terms(RELEASE, moved("hinges", (HINGES.index("left_knee"),), -0.3)) == only(RELEASE, pose=math.exp(-2 * 0.3 / 4.8 * 0.09))


def test_release_pose_two_joints_off_add_up():
    both = turned(1 + BALLS.index("chest"), 0.3)
    both = both._replace(hinges=moved("hinges", (HINGES.index("right_elbow"),), 0.5).hinges)
    expected = math.exp(-2 * (0.5 * 0.09 + 0.2 * 0.25) / 4.8)
    assert terms(RELEASE, both) == only(RELEASE, pose=expected)


def test_release_a_turned_root_costs_in_pose_and_root():
    pose, root = math.exp(-2 / 4.8 * 0.09), math.exp(-5 * 0.1 * 0.09)
    assert terms(RELEASE, turned(0, 0.3)) == only(RELEASE, pose=pose, root=root)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_release_root_a_tenth_of_a_metre_off(axis):
    assert terms(RELEASE, moved("root_position", (axis,), 0.1)) == only(RELEASE, root=math.exp(-5 * 0.01))


def test_release_root_moving_half_a_metre_a_second_too_fast():
    assert terms(RELEASE, moved("velocity", (1,), 0.5)) == only(RELEASE, root=math.exp(-5 * 0.01 * 0.25))


def test_release_root_turning_two_radians_a_second_too_fast():
    expected = dict(root=math.exp(-5 * 0.001 * 4), velocity=math.exp(-0.1 / 4.8 * 4))
    assert terms(RELEASE, moved("velocity", (4,), 2.0)) == only(RELEASE, **expected)


@pytest.mark.parametrize(("joint", "weight"), [("chest", 0.5), ("right_knee", 0.3), ("left_elbow", 0.2)])
def test_release_velocity_of_one_joint_off(joint, weight):
    expected = math.exp(-0.1 * weight / 4.8 * 9)
    assert terms(RELEASE, moved("velocity", (6 + DOFS.index(joint),), 3.0)) == only(RELEASE, velocity=expected)


def test_release_end_effectors_add_up():
    """One hand 0.1 m off, one foot 0.2 m: .01 + .04."""
    local = motion().local_end_effectors.clone()
    local[:, 0, 0] += 0.1
    local[:, 3, 2] -= 0.2
    assert terms(RELEASE, motion(local_end_effectors=local)) == only(RELEASE, end_effector=math.exp(-10 * 0.05))


def test_release_centre_of_mass_a_metre_a_second_off():
    assert terms(RELEASE, moved("com_velocity", (2,), 1.0)) == only(RELEASE, com=math.exp(-10 * 0.1))


def test_release_ignores_where_the_centre_of_mass_and_the_hands_are_in_the_world():
    assert terms(RELEASE, moved("com", (0,), 3.0)) == only(RELEASE)
    assert terms(RELEASE, moved("end_effectors", (1, 0), 3.0)) == only(RELEASE)


# --------------------------------------------------------------------------------------------------------------------------- paper


def test_paper_pose_is_a_plain_sum_over_joints():
    expected = math.exp(-2 * 0.09)
    for joint in (0, 1, 8):
        assert terms(PAPER, turned(joint, 0.3)) == only(PAPER, pose=expected)
    assert terms(PAPER, moved("hinges", (2,), 0.3)) == only(PAPER, pose=expected)


def test_paper_velocity_is_a_plain_sum_over_joints():
    for dof in (3, 6, 33):
        assert terms(PAPER, moved("velocity", (dof,), 2.0)) == only(PAPER, velocity=math.exp(-0.1 * 4))
    assert terms(PAPER, moved("velocity", (0,), 2.0)) == only(PAPER)  # the root's linear velocity is no joint's


def test_paper_end_effectors_and_centre_of_mass_are_in_the_world():
    assert terms(PAPER, moved("end_effectors", (2, 1), 0.1)) == only(PAPER, end_effector=math.exp(-40 * 0.01))
    assert terms(PAPER, moved("com", (0,), 0.1)) == only(PAPER, com=math.exp(-10 * 0.01))
    assert terms(PAPER, moved("com_velocity", (0,), 3.0)) == only(PAPER)


# ------------------------------------------------------------------------------------------------------------------------ mimickit


# twice the release's weights: its humanoid's joint_err_w is 1 for chest and hips, .6 for neck, shoulders and knees, .4 for the rest
@pytest.mark.parametrize(("joint", "expected"), [
    ("chest", 0.97775124),  # exp(-.25 x 1 x .3²) = exp(-.0225)
    ("right_shoulder", 0.98659072),  # exp(-.25 x .6 x .09) = exp(-.0135)
    ("left_ankle", 0.99104038),  # exp(-.25 x .4 x .09) = exp(-.009)
])  # fmt: skip
def test_mimickit_pose_weighs_the_joints_without_dividing_by_their_sum(joint, expected):
    assert terms(MIMICKIT, turned(1 + BALLS.index(joint), 0.3)) == only(MIMICKIT, pose=expected)


def test_mimickit_pose_of_a_hinge():
    # an elbow .5 rad off: exp(-.25 x .4 x .25) = exp(-.025)
    assert terms(MIMICKIT, moved("hinges", (HINGES.index("right_elbow"),), 0.5)) == only(MIMICKIT, pose=0.97530991)


def test_mimickit_joint_velocity():
    # a hip 3 rad/s off about one axis: exp(-.01 x 1 x 9) = exp(-.09); a knee: exp(-.01 x .6 x 9) = exp(-.054)
    assert terms(MIMICKIT, moved("velocity", (6 + DOFS.index("right_hip"),), 3.0)) == only(MIMICKIT, velocity=0.91393119)
    assert terms(MIMICKIT, moved("velocity", (6 + DOFS.index("left_knee"),), 3.0)) == only(MIMICKIT, velocity=0.94743211)


def test_mimickit_a_turned_root_costs_only_in_the_root_s_terms():
    # both roots turn at 2 rad/s about their own z axis, the character lies on its side: exp(-5 x .1 x (pi/2)²) = exp(-1.23370055);
    # in the world the spins are then 2 rad/s about z and 2 rad/s about -y, which differ by 8 rad²/s²: exp(-.1 x 8)
    rotations, spin = motion().rotations.clone(), motion().velocity.clone()
    rotations[:, 0], spin[:, 3:6] = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, 0, 2.0])
    upright = motion(rotations=rotations, velocity=spin)
    lying = rotations.clone()
    lying[:, 0] = torch.tensor([math.sqrt(0.5), math.sqrt(0.5), 0, 0])
    _, values = MIMICKIT(upright._replace(rotations=lying), upright, weights())
    assert dict(zip(MIMICKIT.terms, values[:, 0].tolist(), strict=True)) == only(MIMICKIT, root_pose=0.29121293, root_velocity=0.44932896)


def test_mimickit_root_velocity():
    # half a metre a second too fast: exp(-1 x .25)
    assert terms(MIMICKIT, moved("velocity", (1,), 0.5)) == only(MIMICKIT, root_velocity=0.77880078)


def test_mimickit_key_bodies_are_relative_to_the_root():
    # a hand .1 m and the head .2 m off: exp(-10 x (.01 + .04)) = exp(-.5)
    hand = moved("end_effectors", (0, 1), 0.1)
    assert terms(MIMICKIT, hand._replace(head=moved("head", (2,), 0.2).head)) == only(MIMICKIT, key_bodies=0.60653066)
    # the root alone .1 m off: exp(-5 x .01); all five are then .1 m off relative to it: exp(-10 x 5 x .01) = exp(-.5)
    expected = only(MIMICKIT, root_pose=0.95122942, key_bodies=0.60653066)
    assert terms(MIMICKIT, moved("root_position", (0,), 0.1)) == expected
    # carried along whole, nothing is off but the root
    carried = moved("root_position", (0,), 0.1)
    hands_and_feet = moved("end_effectors", (slice(None), 0), 0.1).end_effectors
    carried = carried._replace(end_effectors=hands_and_feet, head=moved("head", (0,), 0.1).head)
    assert terms(MIMICKIT, carried) == only(MIMICKIT, root_pose=0.95122942)


# ------------------------------------------------------------------------------------------------ end effectors in the heading frame


def local(root: list[float], yaw: float, hands: list[list[float]]) -> Tensor:
    direction = torch.tensor([[math.cos(yaw), math.sin(yaw)]])
    return observations.local_end_effectors(torch.tensor([root]), direction, torch.tensor([hands]))[0]


def test_end_effectors_are_relative_to_the_root_but_their_height_is_above_the_ground():
    assert local([1, 2, 0.9], 0.0, [[1.5, 2, 1.2]])[0].tolist() == pytest.approx([0.5, 0, 1.2])
    # facing y, what is ahead lies along y
    assert local([1, 2, 0.9], math.pi / 2, [[1, 2.5, 1.2]])[0].tolist() == pytest.approx([0.5, 0, 1.2], abs=1e-6)
    # and what is to the left, along -x
    assert local([1, 2, 0.9], math.pi / 2, [[0.5, 2, 1.2]])[0].tolist() == pytest.approx([0, 0.5, 1.2], abs=1e-6)


def test_a_raised_root_leaves_the_end_effectors_alone():
    assert torch.equal(local([0, 0, 0.9], 0.3, [[0.2, 0.1, 1.0]]), local([0, 0, 1.9], 0.3, [[0.2, 0.1, 1.0]]))


# ------------------------------------------------------------------------------------------------------------- when an episode ends


def test_any_forbidden_touch_is_a_fall():
    touching = torch.tensor([[False, False], [True, False], [False, True]])
    assert terminations.forbidden_contact(touching, torch.ones_like(touching)).tolist() == [False, True, True]
    assert terminations.forbidden_contact(touching, torch.tensor([[True, True], [False, True], [False, True]])).tolist() == [
        False,
        False,
        True,
    ]


def test_tracking_is_lost_when_any_body_is_beyond_the_limit():
    assert terminations.tracking_lost(torch.tensor([[0.1, 0.59], [0.61, 0.0], [0.6, 0.6]]), 0.6).tolist() == [False, True, False]


def test_a_clip_ends_at_its_last_control_step_unless_it_loops():
    """A clip of 1 s at 30 Hz: at step 29 there is one more to come, at step 30 there is none."""
    times, duration = torch.tensor([29 / 30, 30 / 30, 30 / 30]), torch.ones(3)
    cyclic = torch.tensor([False, False, True])
    assert terminations.clip_ended(times, duration, cyclic, 1 / 30).tolist() == [False, True, False]


def test_time_is_up_at_the_limit_and_not_before():
    assert terminations.time_is_up(torch.tensor([599, 600, 601]), 600).tolist() == [False, True, True]


def test_any_cause_is_enough():
    causes = {"a": torch.tensor([True, False, False]), "b": torch.tensor([True, True, False])}
    assert terminations.any_of(causes).tolist() == [True, True, False]
