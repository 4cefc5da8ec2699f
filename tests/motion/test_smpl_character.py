"""The SMPL body made physical: as heavy and tall as people, where the body's own kinematics says, and calm under PD control."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch

from mprl.errors import SettingError, UnknownNameError
from mprl.motion import HUMANOID, MotionClip, SmplBody, SmplCharacter, load
from mprl.motion import rotations as rot
from mprl.motion.body.joints import JOINTS, from_smpl, pose_to_rotations, to_smpl
from mprl.motion.body.parts import Parts
from mprl.simulation.cpu import CpuSimulation

trimesh = pytest.importorskip("trimesh")


@pytest.fixture(scope="module")
def character() -> SmplCharacter:
    return SmplCharacter()


@pytest.fixture(scope="module")
def body() -> SmplBody:
    return SmplBody.default(dtype=torch.float64)


def kinematics(model: mujoco.MjModel, qpos: np.ndarray) -> mujoco.MjData:
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    return data


# ---------------------------------------------------------------------------------------------------------------------- the links


def test_it_has_smpl_s_24_bodies_and_23_ball_joints(character):
    model = character.model
    assert set(character.body_names) == set(JOINTS) and len(character.body_names) == 24
    assert (model.nq, model.nv, model.nu) == (7 + 4 * 23, 75, 69)
    assert set(character.ball_joints) == set(JOINTS[1:]) and not character.hinge_joints
    for name in JOINTS[1:]:
        assert [model.actuator(f"{name}_{axis}").trnid[0] for axis in "xyz"] == [model.joint(name).id] * 3


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_the_joints_at_rest_are_the_body_s(body, seed):
    betas = np.zeros(10) if seed is None else np.random.default_rng(seed).normal(size=10)
    character = SmplCharacter(betas)
    data = kinematics(character.model, character.model.qpos0)
    expected = from_smpl(body.rest_joints(torch.tensor(betas)[None])[0]).numpy()
    found = np.array([data.body(name).xpos for name in JOINTS])
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-6)
    skeleton, own = body.skeleton(torch.tensor(betas)[None]), character.skeleton
    order = [skeleton.names.index(name) for name in own.names]
    np.testing.assert_allclose(own.offsets, skeleton.offsets[order], atol=1e-6)


def test_smpl_s_pose_is_mujoco_s(body):
    """SMPL's axis-angle pose as qpos puts MuJoCo's bodies where SMPL's forward kinematics puts its joints, to 1e-5 m."""
    random = np.random.default_rng(3)
    betas, pose = torch.tensor(random.normal(size=(1, 10))), torch.tensor(random.normal(size=(20, 24, 3)))
    character = SmplCharacter(betas[0])
    joints = from_smpl(body.joints(betas, pose)).numpy()
    clip = MotionClip("random", body.skeleton(betas), 30, joints[:, 0], pose_to_rotations(pose).numpy())
    qpos = character.to_qpos(clip).numpy()
    for frame in range(len(pose)):
        data = kinematics(character.model, qpos[frame])
        np.testing.assert_allclose([data.body(name).xpos for name in JOINTS], joints[frame], atol=1e-5)


def test_smpl_s_pose_is_the_pd_target(character):
    """PD control in the exponential map: held at a pose in mid-air, the joints go there."""
    spec = character.spec()
    spec.option.gravity = [0, 0, 0]
    model = spec.compile()
    data = mujoco.MjData(model)
    pose = 0.4 * torch.randn(24, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pose *= (1.0 / pose.norm(dim=-1, keepdim=True)).clamp(max=1.0)  # within all joints' limits
    for name in JOINTS[1:]:
        for axis, target in zip("xyz", from_smpl(pose[JOINTS.index(name)]), strict=True):
            data.ctrl[model.actuator(f"{name}_{axis}").id] = target
    mujoco.mj_step(model, data, 600)
    for name in JOINTS[1:]:
        start = int(model.joint(name).qposadr[0])
        reached = to_smpl(rot.to_rotation_vector(torch.tensor(data.qpos[start : start + 4])))
        assert (reached - pose[JOINTS.index(name)]).norm() < np.radians(1.0), name


# ------------------------------------------------------------------------------------------------------------- mass, size and shape


def test_a_body_weighs_what_its_volume_says(character):
    """The volume by trimesh, at 985 kg/m³."""
    vertices = SmplBody.default()()[0][0].double().numpy()
    mesh = trimesh.Trimesh(vertices, SmplBody.default().faces.numpy(), process=False)
    assert mesh.is_watertight
    assert character.model.body_mass.sum() == pytest.approx(985 * mesh.volume, rel=1e-6)
    com = kinematics(character.model, character.model.qpos0)
    mujoco.mj_comPos(character.model, com)
    offset = com.subtree_com[1] - com.body("pelvis").xpos
    pelvis = SmplBody.default().rest_joints()[0, 0].double()
    np.testing.assert_allclose(offset, from_smpl(torch.tensor(mesh.center_mass) - pelvis), atol=0.003)


def test_the_parts_of_a_cylinder_are_its_halves():
    """A rod of length 2 about two bones end to end: two rods of length 1, with m r² / 2 and m (3 r² + l²) / 12 about their middles."""
    mesh = trimesh.creation.revolve(np.array([[0.0, -1.0], [0.2, -1.0], [0.2, 0.0], [0.2, 1.0], [0.0, 1.0]]), sections=256)
    assert mesh.is_watertight
    above = mesh.vertices[:, 2] > 0.5
    middle = np.abs(mesh.vertices[:, 2]) < 1e-9
    weights = np.where(middle[:, None], 0.5, np.stack((~above, above), axis=1).astype(float))
    bones = np.array([[[0, 0, -1], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]], dtype=float)
    solids = Parts(np.asarray(mesh.faces), weights).solids(np.asarray(mesh.vertices)[None], bones[None])
    mass = np.pi * 0.04
    across, along = mass * (3 * 0.04 + 1) / 12, mass * 0.04 / 2
    np.testing.assert_allclose(solids.volume[0], [mass, mass], rtol=1e-3)
    np.testing.assert_allclose(solids.centre[0], [[0, 0, -0.5], [0, 0, 0.5]], atol=1e-3)
    np.testing.assert_allclose(solids.inertia[0], [np.diag((across, across, along))] * 2, rtol=2e-3, atol=1e-4)


def test_limbs_weigh_about_what_anatomy_says(character):
    """Shares of the whole body in percent, de Leva 1996 (means of women and men). Where a limb ends is a matter of definition: within a
    factor of 1.6."""
    total = character.model.body_mass.sum()

    def share(*names: str) -> float:
        return 100 * sum(character.model.body(name).mass[0] for name in names) / total

    trunk = ("pelvis", "spine1", "spine2", "spine3", "left_collar", "right_collar")
    for found, expected in (
        (share("neck", "head"), 6.8), (share("left_shoulder"), 2.6), (share("left_elbow"), 1.5), (share("left_hip"), 14.5),
        (share("left_knee"), 4.6), (share("left_ankle", "left_foot"), 1.3), (share(*trunk), 43.0),
    ):  # fmt: skip
        assert expected / 1.6 < found < expected * 1.6


@pytest.mark.slow
def test_total_mass_is_plausible_over_the_shape_space(character):
    """40 to 120 kg, for each direction of shape alone and for bodies drawn from the shape space; the smallest, at -3, weighs 37 kg."""
    drawn = np.random.default_rng(0).normal(size=(4, 10))
    masses = [other.physique.mass.sum() for other in character.others(np.concatenate((EXTREMES, drawn)))]
    assert min(masses) > 40 and max(masses) < 120


EXTREMES = np.concatenate((3 * np.eye(10), -2.5 * np.eye(10)))


def test_height_and_strength_follow_the_betas(character, body):
    shapes = np.array([[b, *[0.0] * 9] for b in (-1.0, 0.0, 1.0)])
    others = character.others(shapes)
    mesh = [np.ptp(body(torch.tensor(shape)[None])[0][0, :, 1].numpy()) for shape in shapes]
    assert [other.physique.height for other in others] == pytest.approx(mesh, abs=1e-5)
    for other in others:
        size = other.physique.height * other.model.body_mass.sum()
        assert other.model.actuator("left_hip_x").gainprm[0] == pytest.approx(800 * size / (70 * 1.7))


def test_others_are_what_they_would_be_alone(character):
    betas = np.random.default_rng(5).normal(size=(3, 10))
    for together, alone in zip(character.others(betas), (SmplCharacter(b) for b in betas), strict=True):
        for field in ("body_pos", "body_mass", "body_inertia", "geom_size", "geom_pos", "actuator_gainprm"):
            np.testing.assert_allclose(getattr(together.model, field), getattr(alone.model, field), atol=1e-6)


def distance_to_geoms(model: mujoco.MjModel, data: mujoco.MjData, points: np.ndarray) -> np.ndarray:
    """From points (N, 3) to the nearest surface of any capsule or box, (N,) m."""
    nearest = np.full(len(points), np.inf)
    for g in range(1, model.ngeom):
        own, size = (points - data.geom_xpos[g]) @ data.geom_xmat[g].reshape(3, 3), model.geom_size[g]
        if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_CAPSULE:
            own[:, 2] -= own[:, 2].clip(-size[1], size[1])
            distance = np.linalg.norm(own, axis=1) - size[0]
        else:
            beyond = np.abs(own) - size
            distance = np.linalg.norm(beyond.clip(min=0), axis=1) + beyond.max(axis=1).clip(max=0)
        nearest = np.minimum(nearest, np.abs(distance))
    return nearest


@pytest.mark.parametrize("seed", [None, 2])
def test_shapes_lie_in_the_skin(seed):
    """Vertices are 7 mm from the nearest capsule's or box's surface on average."""
    betas = np.zeros(10) if seed is None else np.random.default_rng(seed).normal(size=10)
    character = SmplCharacter(betas)
    data = kinematics(character.model, character.model.qpos0)
    vertices = from_smpl(SmplBody.default()(torch.tensor(betas)[None].float())[0][0].double()).numpy()
    vertices[:, 2] -= vertices[:, 2].min()
    assert distance_to_geoms(character.model, data, vertices).mean() < 0.008


def test_both_feet_stand_flat_on_the_floor(character):
    data = kinematics(character.model, character.model.qpos0)
    for foot in character.feet:
        geom = character.model.geom(foot)
        assert geom.type == mujoco.mjtGeom.mjGEOM_BOX
        lowest = data.geom(foot).xpos[2] - geom.size[2]
        assert abs(lowest) < 0.01, foot


# ---------------------------------------------------------------------------------------------------------------------- calm physics


@pytest.mark.parametrize(("where", "bound"), [("in the air", 15.0), ("on the floor", 60.0)])
def test_random_targets_never_break_the_simulation(character, where, bound):
    """Targets of .1, .3 and 1 rad, new ones at 30 Hz for 2 s: no world diverges, no joint races."""
    spec = character.spec()
    if where == "in the air":
        spec.option.gravity, spec.body("pelvis").pos[2] = [0, 0, 0], 50
    simulation = CpuSimulation(spec.compile(), 12, 2)
    control, qvel = simulation.bind("ctrl"), simulation.bind("qvel")
    sigma = torch.tensor([0.1, 0.3, 1.0]).repeat(4)[:, None]
    generator, fastest = torch.Generator().manual_seed(0), 0.0
    for _ in range(60):
        control.copy_(sigma * torch.randn(control.shape, generator=generator, dtype=torch.float64))
        simulation.step(4)
        fastest = max(fastest, float(qvel[:, 6:].abs().max()))
    assert fastest < bound
    assert not simulation._batch.warning[..., 1].any()


@pytest.mark.parametrize("beta", [-1.0, 0.0, 1.0])
def test_it_stands_and_settles(beta):
    """PD control at the T-pose: it sways, stays up, and is still after 5 s."""
    model = SmplCharacter([beta, *[0.0] * 9]).model
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 600)
    assert data.qpos[2] > 0.95 * model.qpos0[2]
    assert np.abs(data.qvel).max() < 0.1


def test_self_collision_leaves_out_what_touches_at_rest():
    character = SmplCharacter(self_collision=True)
    model = character.model
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    assert all(0 in contact.geom for contact in data.contact)  # the floor only
    data.qpos[:] = model.qpos0
    elbow = character.ball_qpos[1 + character.ball_joints.index("right_shoulder")]
    data.qpos[elbow] = rot.from_rotation_vector(torch.tensor([0.0, 0.0, 2.6], dtype=torch.float64))  # an arm through the other one
    data.qpos[character.ball_qpos[1 + character.ball_joints.index("left_shoulder")]] = rot.from_rotation_vector(
        torch.tensor([0.0, 0.0, -1.6], dtype=torch.float64)
    )
    mujoco.mj_forward(model, data)
    assert any(0 not in contact.geom for contact in data.contact)


def test_toes_stay_level_as_the_heel_rises(character):
    """The shipped walk has no toes; retargeted, its feet pitch by more than half a radian in stance while the toes hardly do."""
    from mprl.motion.kinematics import forward_kinematics
    from mprl.motion.retarget import retarget

    clip = retarget(load("walk"), character)
    position, turned = forward_kinematics(clip.skeleton, torch.tensor(clip.root_position), torch.tensor(clip.rotations))
    ahead = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).expand(clip.num_frames, 3)
    ankle, toes = clip.skeleton.names.index("left_ankle"), clip.skeleton.names.index("left_foot")
    stands = position[:, toes, 2] < position[:, toes, 2].min() + 0.01
    pitch = [-rot.rotate(turned[:, joint], ahead)[:, 2].asin()[stands] for joint in (ankle, toes)]
    assert pitch[0].max() > 0.5
    assert pitch[1].max() < 0.2


# ------------------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"betas": [0.0] * 16}, SettingError, "betas: expected 10 numbers for a body, found 16"),
        ({"betas": [[0.0] * 10]}, SettingError, "betas: expected 10 numbers, found an array of shape (1, 10)"),
        ({"betas": [float("nan")] * 10}, SettingError, "betas: expected finite numbers, found NaN or infinity"),
        ({"betas": "tall"}, SettingError, "betas: expected 10 numbers, found 'tall'"),
        ({"gender": "mail"}, UnknownNameError, "no gender named 'mail'; did you mean 'male'? (known: neutral, female, male)"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, error, message):
    with pytest.raises(error) as caught:
        SmplCharacter(**arguments)
    assert str(caught.value) == message


def test_a_clip_of_another_skeleton_is_refused(character):
    with pytest.raises(SettingError, match=r"^walk: has no joint 'pelvis' of the character 'smpl'; retarget it first"):
        character.check(load("walk"))
    assert HUMANOID.body_names[0] == "root"
