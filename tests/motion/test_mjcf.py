"""A character of one's own: a four-legged one with chains of hinges and ball joints, made here, and a clip for it."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import mujoco
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import mprl  # noqa: F401  registers the environments
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.errors import MprlError
from mprl.motion import MotionClip, MotionLibrary, Skeleton, load_character
from mprl.motion.formats import npz

LEGS = {"fl": (0.2, 0.12), "fr": (0.2, -0.12), "bl": (-0.2, 0.12), "br": (-0.2, -0.12)}


def mjcf(actuators: str = "", front: str = '<joint name="{leg}_lift" axis="1 0 0"/><joint name="{leg}_swing" axis="0 1 0"/>') -> str:
    """Front legs hang from two hinges each, hind legs from ball joints; all have knees; no floor."""
    legs = ""
    for leg, (x, y) in LEGS.items():
        hip = front.format(leg=leg) if leg[0] == "f" else f'<joint name="{leg}_hip" type="ball"/>'
        legs += f"""
        <body name="{leg}_thigh" pos="{x} {y} 0">{hip}<geom type="capsule" size=".03" fromto="0 0 -.03 0 0 -.17" mass=".6"/>
          <body name="{leg}_shank" pos="0 0 -.2"><joint name="{leg}_knee" axis="0 -1 0"/>
            <geom type="capsule" size=".025" fromto="0 0 -.03 0 0 -.15" mass=".3"/>
            <body name="{leg}_foot" pos="0 0 -.18"><geom type="sphere" size=".035" mass=".1"/></body></body></body>"""
    torso = f'<body name="torso" pos="0 0 .4"><freejoint/><geom type="box" size=".24 .1 .06" mass="6"/>{legs}</body>'
    return f'<mujoco><compiler angle="radian"/><worldbody>{torso}</worldbody>{actuators}</mujoco>'


def trot(names: dict[str, str] | None = None, seconds: float = 0.6, rate: int = 60) -> MotionClip:
    """Stepping on the spot with diagonal legs together; thighs also move out a little."""
    frames = round(seconds * rate) + 1
    phase = 2 * np.pi * np.arange(frames) / (frames - 1)
    bodies = ["torso", *(f"{leg}_{part}" for leg in LEGS for part in ("thigh", "shank"))]
    rotations = np.zeros((frames, len(bodies), 4))
    rotations[..., 0] = 1
    for leg in LEGS:
        lift = np.maximum(0, np.sin(phase + (0 if leg in ("fl", "br") else np.pi)))
        angles = np.stack((0.1 * np.sin(phase), 0.5 * lift), axis=1)
        rotations[:, bodies.index(f"{leg}_thigh")] = Rotation.from_euler("XY", angles).as_quat(scalar_first=True)
        rotations[:, bodies.index(f"{leg}_shank")] = Rotation.from_rotvec(np.outer(lift, [0, -1, 0])).as_quat(scalar_first=True)
    parents = [-1, *(parent for leg in range(4) for parent in (0, 1 + 2 * leg))]
    skeleton = Skeleton(tuple((names or {}).get(body, body) for body in bodies), tuple(parents), np.zeros((len(bodies), 3)))
    root = np.tile([0, 0, 0.415], (frames, 1))
    return MotionClip("trot", skeleton, rate, root, rotations, loop="wrap")


@pytest.fixture
def dog(tmp_path: Path) -> Path:
    (tmp_path / "dog.xml").write_text(mjcf())
    (tmp_path / "dog.toml").write_text('head = "torso"\n[weights]\nfl_knee = 0.5\n')
    return tmp_path / "dog.xml"


# ---------------------------------------------------------------------------------------------------------------------- the character


def test_what_is_not_said_is_read_from_the_model(dog):
    character = load_character(dog)
    assert character.name == "dog" and character.feet == ("fl_foot", "fr_foot", "bl_foot", "br_foot") and character.hands == ()
    assert character.ball_joints == ("bl_hip", "br_hip") and len(character.hinge_joints) == 8
    assert character.joint_weights["fl_knee"] == 0.5 and character.joint_weights["fl_lift"] == character.joint_weights["torso"] == 1
    model = character.model
    # 8 hinges and two ball joints of three axes; 10 N m/rad for each of the 10 kg, a tenth of it as damping, .4 rad as the limit
    assert model.nu == 14 and model.body_mass.sum() == pytest.approx(10.0)
    assert (model.actuator_gainprm[:, 0] == pytest.approx(100.0)) and model.dof_damping[6:] == pytest.approx(10.0)
    assert model.actuator_forcerange[:, 1] == pytest.approx(40.0)
    assert [model.geom(g).type[0] for g in range(model.ngeom) if model.geom_bodyid[g] == 0] == [mujoco.mjtGeom.mjGEOM_PLANE]


def test_gains_of_its_own_actuators_are_kept_and_their_damping_becomes_the_joint_s(tmp_path):
    names = [f"{leg}_{joint}" for leg in ("fl", "fr") for joint in ("lift", "swing", "knee")]
    positions = "".join(f'<position joint="{name}" kp="80" kv="7" forcerange="-30 30"/>' for name in names)
    (tmp_path / "own.xml").write_text(mjcf(f"<actuator>{positions}</actuator>"))
    model = load_character(tmp_path / "own.xml").model
    assert model.nu == 6 and (model.actuator_gainprm[:, 0] == 80).all() and (model.actuator_forcerange[:, 1] == 30).all()
    assert (model.actuator_biasprm[:, 2] == 0).all()
    assert [model.dof_damping[model.joint(name).dofadr[0]] for name in names] == [7] * 6


def test_a_clip_s_bodies_are_turned_as_it_says(dog):
    """Chains of hinges, ball joints and knees: MuJoCo's bodies against rotations multiplied up the tree."""
    character, clip = load_character(dog), trot()
    data = mujoco.MjData(character.model)
    for frame, pose in enumerate(character.to_qpos(clip).numpy()):
        data.qpos[:] = pose
        mujoco.mj_kinematics(character.model, data)
        for leg in LEGS:
            thigh, shank = (clip.rotations[frame, clip.skeleton.names.index(f"{leg}_{part}")] for part in ("thigh", "shank"))
            expected = Rotation.from_quat(thigh, scalar_first=True) * Rotation.from_quat(shank, scalar_first=True)
            found = Rotation.from_quat(data.body(f"{leg}_shank").xquat, scalar_first=True)
            assert (expected.inv() * found).magnitude() < 1e-6, leg


def test_controls_of_a_pose_are_the_actuators_lengths_in_it(dog):
    character = load_character(dog)
    qpos = character.to_qpos(trot())
    data = mujoco.MjData(character.model)
    for pose, targets in zip(qpos.numpy(), character.to_control(qpos).numpy(), strict=True):
        data.qpos[:] = pose
        mujoco.mj_forward(character.model, data)
        np.testing.assert_allclose(targets, data.actuator_length, atol=1e-9)


def test_joints_of_a_clip_may_have_other_names(dog):
    own = {f"{leg}_{part}": f"{leg}.{part}" for leg in LEGS for part in ("thigh", "shank")}
    table = "".join(f'"{theirs}" = "{mine}"\n' for mine, theirs in own.items())
    plain = load_character(dog).to_qpos(trot())
    dog.with_suffix(".toml").write_text(f"[joints]\n{table}")
    character = load_character(dog)
    assert torch.equal(character.to_qpos(trot(own)), plain)
    character.check(trot(own))
    with pytest.raises(MprlError, match=r"trot: has no joint 'fl\.thigh', which moves 'fl_thigh'.*\[joints\] in dog\.toml"):
        character.check(trot())


# -------------------------------------------------------------------------------------------------------------------- the environment


def test_it_imitates_a_clip_file_given_for_it(dog, tmp_path):
    npz.write(trot(), tmp_path / "trot.npz")
    env = gym.make_vec("mprl/DeepMimic-v0", num_envs=8, motion=str(tmp_path / "trot.npz"), character=str(dog), num_threads=1)
    assert env.single_action_space.shape == (14,)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    for step in range(6):
        _, reward, terminated, _, info = env.step(np.zeros((8, 14), np.float32))
        if step == 3:  # PD control alone follows for a while
            assert reward.mean() > 0.7 and not terminated.any() and (info["tracking_error"] < 0.1).all()
    env.close()


@pytest.mark.slow
def test_it_learns():
    """A minute's worth of samples: the return of an episode grows."""
    import tempfile

    from mprl.agents import PPO

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dog.xml"
        path.write_text(mjcf())
        env = DeepMimicVectorEnv(128, trot(), character=path, output="torch", num_threads=1)
        agent = PPO(env, seed=0, n_steps=16, batch_size=512, n_epochs=3, gamma=0.97, initial_std=0.2, learn_std=False, hidden=(64, 64))
        returns: list[float] = []
        agent.learn(60_000, callback=lambda agent, metrics: returns.append(metrics.get("return", np.nan)))
    returns = [value for value in returns if np.isfinite(value)]
    assert np.mean(returns[-5:]) > 1.5 * np.mean(returns[:5])


# ----------------------------------------------------------------------------------------------------------------------------- errors


def test_a_motion_that_does_not_fit_is_named(dog):
    with pytest.raises(MprlError, match="walk: has no joint 'fl_thigh'") as caught:
        DeepMimicVectorEnv(1, "walk", character=str(dog))
    assert "\n" not in str(caught.value)
    with pytest.raises(MprlError, match="its joints are not those of the character 'humanoid'"):
        DeepMimicVectorEnv(1, trot())
    MotionLibrary([trot()], load_character(dog))


FIXED = '<mujoco><worldbody><body name="a"><joint name="j"/><geom size=".1"/></body></worldbody></mujoco>'
SLIDES = mjcf(front='<joint name="{leg}_lift" type="slide"/>')
MOTORS = mjcf('<actuator><motor name="m" joint="fl_knee"/></actuator>')


@pytest.mark.parametrize(("xml", "toml", "says"), [
    (None, None, r"dog\.xml: no such character file"),
    ("<mujoco><worldbody>", None, r"dog\.xml: cannot be compiled"),
    (FIXED, None, r"dog\.xml: the first body needs a free joint"),
    (SLIDES, None, r"dog\.xml: joint 'fl_lift' must be a hinge or a ball joint"),
    (MOTORS, None, r"dog\.xml: actuator 'm' must be a <position> on a joint"),
    (mjcf(), "feet = [", r"dog\.toml: expected TOML, cannot be read"),
    (mjcf(), 'foot = ["fl_foot"]', r"no key named 'foot'; did you mean 'feet'\?"),
    (mjcf(), 'feet = ["fl_fot"]', r"no body named 'fl_fot'; did you mean 'fl_foot'\? \(bodies of dog\.xml, asked for in dog\.toml\)"),
    (mjcf(), "feet = 5", r"dog\.toml: feet and hands must be lists of names"),
    (mjcf(), '[joints]\nHip = "fl_hip"', r"no body named 'fl_hip'"),
    (mjcf(), "[weights]\nknee = 1.0", r"no joint named 'knee'"),
    (mjcf(), "[weights]\nfl_knee = -1.0", r"weights must be a table of numbers of at least 0"),
])  # fmt: skip
def test_what_cannot_be_a_character_is_told_in_one_line(tmp_path, xml, toml, says):
    path = tmp_path / "dog.xml"
    if xml is not None:
        path.write_text(xml)
    if toml is not None:
        path.with_suffix(".toml").write_text(toml)
    with pytest.raises(MprlError, match=says) as caught:
        load_character(path)
    assert "\n" not in str(caught.value)
