"""The humanoid has the published proportions, strengths and joints, and its PD control does what the design promises."""

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mprl.motion import HUMANOID, MotionClip
from mprl.motion import rotations as rot
from mprl.motion.kinematics import forward_kinematics
from mprl.simulation.cpu import CpuSimulation

# kp, kd, torque limit in N m: the authors' release (Peng et al. 2018), and the design's armature
PUBLISHED = {"chest": (1000, 100, 200), "neck": (100, 10, 50), "hip": (500, 50, 200), "knee": (500, 50, 150), "ankle": (400, 40, 90),
             "shoulder": (400, 40, 100), "elbow": (300, 30, 60)}  # fmt: skip
# kg: the character file of the release
MASSES = {"root": 6, "chest": 14, "neck": 2, "hip": 4.5, "knee": 3, "ankle": 1, "shoulder": 1.5, "elbow": 1, "wrist": 0.5}


def kind(name: str) -> str:
    return name.split("_")[-1]


def random_clip(frames: int = 20, seed: int = 0) -> MotionClip:
    """Ball joints turned at random, hinges about their axes."""
    generator = np.random.default_rng(seed)
    rotations = Rotation.from_rotvec(generator.normal(size=(frames * 15, 3))).as_quat(scalar_first=True).reshape(frames, 15, 4)
    for joint, name in enumerate(HUMANOID.body_names):
        if name in HUMANOID.hinge_joints:
            angle = generator.uniform(-3, 3, size=(frames, 1))
            rotations[:, joint] = Rotation.from_rotvec(angle * HUMANOID.model.joint(name).axis).as_quat(scalar_first=True)
        elif kind(name) == "wrist":  # fixed
            rotations[:, joint] = [1, 0, 0, 0]
    return MotionClip("random", HUMANOID.skeleton, 30, generator.normal(size=(frames, 3)), rotations)


# ---------------------------------------------------------------------------------------------------------------- published facts


def test_it_has_fifteen_bodies_of_forty_five_kilograms():
    model = HUMANOID.model
    assert len(HUMANOID.body_names) == 15 and model.body_mass.sum() == pytest.approx(45.0)
    for name in HUMANOID.body_names:
        assert model.body(name).mass[0] == MASSES[kind(name)], name


def test_it_has_28_actuated_degrees_of_freedom_and_six_of_the_root():
    assert (HUMANOID.model.nv, HUMANOID.model.nu) == (34, 28)
    assert len(HUMANOID.ball_joints) == 8 and len(HUMANOID.hinge_joints) == 4
    assert {kind(name) for name in HUMANOID.hinge_joints} == {"knee", "elbow"}


def test_gains_and_torque_limits_are_the_published_ones():
    model = HUMANOID.model
    seen = set()
    for actuator in range(model.nu):
        joint = model.joint(int(model.actuator_trnid[actuator, 0]))
        kp, kd, limit = PUBLISHED[kind(joint.name)]
        seen.add(joint.name)
        assert model.actuator_gainprm[actuator, 0] == kp and model.actuator_biasprm[actuator, :3].tolist() == [0, -kp, 0], joint.name
        assert model.actuator_forcerange[actuator].tolist() == [-limit, limit], joint.name
        # kd is the joint's damping, not the actuator's, whose damping is lost where the force limit holds
        damping = model.dof_damping[joint.dofadr[0] : joint.dofadr[0] + (3 if joint.name in HUMANOID.ball_joints else 1)]
        assert (damping == kd).all(), joint.name
        assert model.jnt_stiffness[joint.id] == 0
    assert seen == set(HUMANOID.ball_joints) | set(HUMANOID.hinge_joints)


def test_the_joint_weights_are_the_published_ones():
    weights = {"root": 1, "chest": 0.5, "neck": 0.3, "hip": 0.5, "knee": 0.3, "ankle": 0.2, "shoulder": 0.3, "elbow": 0.2}
    assert HUMANOID.joint_weights == {name: weights[kind(name)] for name in HUMANOID.body_names if kind(name) != "wrist"}
    assert sum(HUMANOID.joint_weights.values()) == pytest.approx(4.8)


def test_friction_is_the_published_one():
    assert (HUMANOID.model.geom_friction[:, 0] == 0.9).all()


def test_left_and_right_are_mirror_images():
    model = HUMANOID.model
    mirror = np.array([1, -1, 1])
    for name in HUMANOID.body_names:
        if name.startswith("right_"):
            right, left = model.body(name), model.body(name.replace("right_", "left_"))
            np.testing.assert_allclose(left.pos, right.pos * mirror, atol=1e-12)
            np.testing.assert_allclose(left.ipos, right.ipos * mirror, atol=1e-12)
            assert left.mass == right.mass
    np.testing.assert_allclose(mujoco_com(model.qpos0)[1], 0, atol=1e-12)


def mujoco_com(qpos: np.ndarray) -> np.ndarray:
    data = mujoco.MjData(HUMANOID.model)
    data.qpos[:] = qpos
    mujoco.mj_forward(HUMANOID.model, data)
    return data.subtree_com[1]


# ----------------------------------------------------------------------------------------------------------------- clips and MuJoCo


def test_a_clip_s_bodies_are_where_mujoco_puts_them():
    clip = random_clip()
    qpos = HUMANOID.to_qpos(clip).numpy()
    position, turned = forward_kinematics(clip.skeleton, torch.tensor(clip.root_position), torch.tensor(clip.rotations))
    data = mujoco.MjData(HUMANOID.model)
    for t in range(clip.num_frames):
        data.qpos[:] = qpos[t]
        mujoco.mj_kinematics(HUMANOID.model, data)
        np.testing.assert_allclose(position[t], data.xpos[1:], atol=1e-9)
        ours = Rotation.from_quat(turned[t].numpy(), scalar_first=True)
        theirs = Rotation.from_quat(data.xquat[1:], scalar_first=True)
        assert (ours.inv() * theirs).magnitude().max() < 1e-9


def test_controls_of_a_pose_are_the_actuators_lengths_in_it():
    """So PD control at the pose's own control exerts no force: what MuJoCo measures as length is what we command."""
    qpos = HUMANOID.to_qpos(random_clip())
    control = HUMANOID.to_control(qpos)
    data = mujoco.MjData(HUMANOID.model)
    for pose, targets in zip(qpos.numpy(), control.numpy(), strict=True):
        data.qpos[:] = pose
        mujoco.mj_forward(HUMANOID.model, data)
        np.testing.assert_allclose(targets, data.actuator_length, atol=1e-9)


# ---------------------------------------------------------------------------------------------------------------------- PD control


def settled(spec: mujoco.MjSpec, target: torch.Tensor, seconds: float = 4.0) -> tuple[mujoco.MjModel, mujoco.MjData]:
    spec.option.gravity = [0, 0, 0]
    model = spec.compile()
    data = mujoco.MjData(model)
    data.ctrl[:] = target
    mujoco.mj_step(model, data, round(seconds / model.opt.timestep))
    return model, data


@pytest.mark.parametrize("root", ["floating", "fixed"])
def test_a_target_in_the_exponential_map_is_reached_within_six_tenths_of_a_degree(root):
    spec = HUMANOID.spec()
    spec.body("root").pos[2] = 50  # far from the floor
    if root == "fixed":
        spec.delete(spec.joint("root"))
    target = torch.randn(28, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.6
    model, data = settled(spec, target)
    shift = 0 if root == "floating" else 7
    for index, name in enumerate(HUMANOID.ball_joints):
        columns = [a for a in range(28) if model.joint(int(model.actuator_trnid[a, 0])).name == name]
        reached = torch.tensor(data.qpos[HUMANOID.ball_qpos[index + 1] - shift])
        error = rot.angle(reached, rot.from_rotation_vector(target[columns]))
        assert math.degrees(error) < 0.6, name
    for name, where in zip(HUMANOID.hinge_joints, HUMANOID.hinge_qpos - shift, strict=True):
        assert math.degrees(abs(data.qpos[where] - target[model.actuator(name).id])) < 0.6, name


@pytest.mark.parametrize(
    ("sigma", "bound"), [pytest.param(0.1, 5.0, marks=pytest.mark.slow), pytest.param(0.3, 7.0, marks=pytest.mark.slow), (1.0, 8.0)]
)
@pytest.mark.parametrize("where", ["in the air", "on the floor"])
def test_random_targets_never_break_the_simulation(sigma, bound, where):
    """64 worlds, 3 s, new targets at 30 Hz: no world diverges, no joint races.

    In the air the joints are as slow as the design measured (3.4, 5.1 and 6.5 rad/s; 60 and more with kd on the actuators). On the
    floor a head that strikes it is thrown back faster.
    """
    spec = HUMANOID.spec()
    if where == "in the air":
        spec.option.gravity, spec.body("root").pos[2] = [0, 0, 0], 50
    else:
        bound = 30.0
    simulation = CpuSimulation(spec.compile(), 64, 2)
    control, qvel = simulation.bind("ctrl"), simulation.bind("qvel")
    generator = torch.Generator().manual_seed(0)
    fastest = 0.0
    for _ in range(90):
        control.copy_(sigma * torch.randn(control.shape, generator=generator, dtype=torch.float64))
        simulation.step(4)
        fastest = max(fastest, float(qvel[:, 6:].abs().max()))
        assert not simulation.diverged.any()
    assert fastest < bound
    assert not simulation._batch.warning[..., 1].any()  # nor any other warning of MuJoCo's
