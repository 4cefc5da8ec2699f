"""Motions of MimicKit, GMR and PHC: each pose is the one that the other program means by it."""

from __future__ import annotations

import pickle

import mujoco
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mprl.errors import MotionFormatError
from mprl.motion import HUMANOID, SmplBody, load, load_all
from mprl.motion.body.joints import JOINTS
from mprl.motion.formats import pickled_motions
from mprl.motion.kinematics import forward_kinematics

FRAMES = 5
ROBOT = """<mujoco><worldbody><body name="pelvis" pos="0 0 .7"><freejoint name="root"/><geom size=".1"/>
  <body name="thigh" pos="0 .1 0"><joint name="hip_pitch" axis="0 1 0"/><joint name="hip_roll" axis="1 0 0"/>
    <joint name="hip_yaw" axis="0 0 1"/><geom size=".05"/>
    <body name="shin" pos="0 0 -.3"><joint name="knee" axis="0 1 0"/><geom size=".05"/>
      <body name="foot" pos="0 0 -.3"><geom size=".05"/></body></body></body>
  <body name="torso" pos="0 0 .3"><joint name="waist" axis="0 0 1"/><geom size=".1"/></body>
</body></worldbody></mujoco>"""
# The 15 bodies of MimicKit's humanoid.xml in its order: what ours calls them, and their joints' axes.
X, Y, Z = np.eye(3)
MIMICKIT = [
    ("chest", 3), ("neck", 3), ("right_shoulder", 3), ("right_elbow", Z), ("right_wrist", 0), ("left_shoulder", 3), ("left_elbow", Z),
    ("left_wrist", 0), ("right_hip", 3), ("right_knee", Y), ("right_ankle", 3), ("left_hip", 3), ("left_knee", Y), ("left_ankle", 3),
]  # fmt: skip


LEG, ARM = ("hip", "knee", "ankle", "foot"), ("collar", "shoulder", "elbow", "wrist", "hand")


@pytest.fixture
def save(tmp_path):
    def write(content, name="walk.pkl", protocol=4):
        (tmp_path / name).write_bytes(pickle.dumps(content, protocol=protocol))
        return tmp_path / name

    return write


@pytest.fixture
def robot(tmp_path):
    (tmp_path / "robot.xml").write_text(ROBOT)
    return tmp_path / "robot.xml"


def positions(clip) -> np.ndarray:
    return forward_kinematics(clip.skeleton, torch.tensor(clip.root_position), torch.tensor(clip.rotations))[0].numpy()


def random(*shape: int, scale: float = 0.7) -> np.ndarray:
    return np.random.default_rng(3).normal(scale=scale, size=shape)


# -------------------------------------------------------------------------------------------------------------------- MimicKit


@pytest.mark.parametrize("as_list", [True, False])
def test_mimickit_s_humanoid_is_ours(save, as_list):
    frames = random(FRAMES, 34)
    clip = load(save({"loop_mode": 1, "fps": 30, "frames": frames.tolist() if as_list else frames}))
    assert clip.skeleton.names == HUMANOID.body_names and clip.frame_rate == 30 and clip.loop == "wrap"
    assert np.allclose(clip.root_position, frames[:, :3])
    column = 6
    turns = {"root": Rotation.from_rotvec(frames[:, 3:6])}
    for name, joint in MIMICKIT:  # the other program's reading: body by body, a rotation vector or an angle about its axis
        width = 0 if isinstance(joint, int) and joint == 0 else 3 if isinstance(joint, int) else 1
        part, column = frames[:, column : column + width], column + width
        turns[name] = Rotation.from_rotvec(part if width == 3 else part * joint if width else np.zeros((FRAMES, 3)))
    assert column == 34
    for index, name in enumerate(clip.skeleton.names):
        assert np.allclose(Rotation.from_quat(clip.rotations[:, index], scalar_first=True).as_matrix(), turns[name].as_matrix())
    HUMANOID.to_qpos(clip)  # its knees and elbows are hinges of ours


def test_mimickit_s_smpl_body_has_smpl_s_joints(save):
    frames = random(FRAMES, 75)
    clip = load(save({"loop_mode": 0, "fps": 30, "frames": frames}))
    assert clip.skeleton.names == JOINTS and clip.loop == "none"
    depth_first = [
        *(f"left_{joint}" for joint in LEG), *(f"right_{joint}" for joint in LEG), "spine1", "spine2", "spine3", "neck", "head",
        *(f"left_{joint}" for joint in ARM), *(f"right_{joint}" for joint in ARM),
    ]  # fmt: skip
    for number, name in enumerate(["pelvis", *depth_first]):
        turned = Rotation.from_quat(clip.rotations[:, JOINTS.index(name)], scalar_first=True)
        assert np.allclose(turned.as_matrix(), Rotation.from_rotvec(frames[:, 3 + 3 * number : 6 + 3 * number]).as_matrix())


def test_mimickit_s_three_hinges_are_a_ball_joint(save, robot):
    frames = random(FRAMES, 6 + 3 + 1 + 1)
    clip = load(save({"loop_mode": 0, "fps": 30, "frames": frames}), character=robot)
    thigh = Rotation.from_quat(clip.rotations[:, clip.skeleton.names.index("thigh")], scalar_first=True)
    assert np.allclose(thigh.as_rotvec(), frames[:, 6:9])
    waist = Rotation.from_quat(clip.rotations[:, clip.skeleton.names.index("torso")], scalar_first=True)
    assert np.allclose(waist.as_rotvec(), frames[:, 10:11] * Z)


# ------------------------------------------------------------------------------------------------------------------------- GMR


@pytest.mark.parametrize("keys", [("root_pos", "root_rot", "dof_pos"), ("root_trans_offset", "root_rot", "dof")])
def test_a_robot_s_bodies_are_where_mujoco_has_them(save, robot, keys):
    place, turn, angles = random(FRAMES, 3), Rotation.random(FRAMES, random_state=1), random(FRAMES, 5)
    entry = {"fps": 30, keys[0]: place, keys[1]: turn.as_quat(), keys[2]: angles, "local_body_pos": None, "link_body_list": None}
    clip = load(save(entry if keys[2] == "dof_pos" else {"g1_walk": entry}), character=robot)
    model = mujoco.MjModel.from_xml_string(ROBOT)
    data, found = mujoco.MjData(model), positions(clip)
    for frame in range(FRAMES):
        data.qpos[:] = np.concatenate((place[frame], turn[frame].as_quat(scalar_first=True), angles[frame]))
        mujoco.mj_kinematics(model, data)
        assert np.abs(found[frame] - data.xpos[1:]).max() < 1e-9


def test_a_robot_that_is_not_given_is_asked_for(save):
    entry = {"fps": 30, "root_pos": np.zeros((4, 3)), "root_rot": np.tile([0.0, 0, 0, 1], (4, 1)), "dof_pos": np.zeros((4, 29))}
    with pytest.raises(
        MotionFormatError, match=r"holds 29 joint angles of a robot; say whose, with its MJCF: character='robot.xml' \(--char"
    ):
        load(save(entry))


def test_another_robot_s_angles_are_refused(save, robot):
    entry = {"fps": 30, "root_pos": np.zeros((4, 3)), "root_rot": np.tile([0.0, 0, 0, 1], (4, 1)), "dof_pos": np.zeros((4, 29))}
    with pytest.raises(MotionFormatError, match=r"key \"dof_pos\": 'robot' has 5 joint angles, found \(4, 29\)"):
        load(save(entry), character=robot)


# ------------------------------------------------------------------------------------------------------------------------- PHC


def phc(trans: np.ndarray, pose: np.ndarray, **others) -> dict:
    return {"pose_aa": pose, "trans_orig": trans, "beta": np.zeros(16), "gender": "neutral", "fps": 30, **others}


def test_phc_s_joints_are_where_the_body_model_has_them(save):
    trans, pose = random(FRAMES, 3), random(FRAMES, 72, scale=0.4)
    body = SmplBody.default()
    expected = body.joints(None, torch.tensor(pose), torch.tensor(trans)).double().numpy()
    assert np.abs(positions(load(save({"walk": phc(trans, pose)}))) - expected).max() < 1e-5
    # PHC's own pelvis, which is a torch tensor in its files, goes before trans
    offset = torch.tensor(trans) + body.rest_joints()[0, 0]
    for content in ({"walk": phc(trans + 9, pose, root_trans_offset=offset)}, {"walk": phc(trans, pose.reshape(FRAMES, 24, 3))}):
        assert np.abs(positions(load(save(content))) - expected).max() < 1e-5


def test_several_motions_are_chosen_by_name_or_read_one_after_the_other(save):
    content = {f"0-KIT_{n}": phc(np.full((FRAMES, 3), n), np.zeros((FRAMES, 72))) for n in range(10)}
    path = save(content)
    assert load(path, clip="0-KIT_7").name == "0-KIT_7"
    assert [clip.name for clip in load_all(path)] == list(content)
    with pytest.raises(MotionFormatError, match=r"holds 10 motions, say which: clip='...' \(--clip\), of 0-KIT_0, .*, 0-KIT_7, \.\.\.$"):
        load(path)
    with pytest.raises(MotionFormatError, match="no motion named '0-KIT_77'; did you mean '0-KIT_7'"):
        load(path, clip="0-KIT_77")


def test_names_of_the_motions(save):
    assert pickled_motions.names(save({"a": phc(np.zeros((2, 3)), np.zeros((2, 72)))})) == ["a"]
    assert pickled_motions.names(save({"loop_mode": 0, "fps": 30, "frames": np.zeros((2, 34))}, "jump.pkl")) == ["jump"]


# --------------------------------------------------------------------------------------------------------------------- bad files

GOOD = {"loop_mode": 0, "fps": 30, "frames": np.zeros((4, 34))}
GMR = {"fps": 30, "root_pos": np.zeros((4, 3)), "root_rot": np.tile([0.0, 0, 0, 1], (4, 1)), "dof_pos": np.zeros((4, 29))}

PHC = phc(np.zeros((4, 3)), np.zeros((4, 72)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, 2], "expected a motion of MimicKit (fps, frames), GMR (root_pos, root_rot, dof_pos) or PHC (pose_aa"),
        ({"v_template": np.zeros((3, 3))}, "found the keys v_template"),
        ({"a": {"x": 1}}, "found the keys x"),
        ({}, "found nothing"),
        (GOOD | {"fps": "fast"}, 'key "fps": expected'),
        (GOOD | {"fps": -30}, 'key "fps": expected frames per second, found -30'),
        (GOOD | {"fps": None}, 'the frame rate is missing, expected a key "fps"'),
        (GOOD | {"framerate": 60}, "two frame rates: fps 30, framerate 60"),
        (GOOD | {"frames": []}, 'key "frames": expected (frames, 6 + joint angles), found (0,)'),
        (GOOD | {"frames": np.zeros((0, 34))}, "a motion needs at least 2 frames, found 0"),
        (GOOD | {"frames": [[0.0] * 34, [0.0] * 33]}, 'key "frames": expected rows of as many numbers each'),
        (GOOD | {"frames": np.full((4, 34), np.nan)}, 'key "frames", frame 0: expected finite numbers'),
        (GOOD | {"frames": np.zeros((4, 50))}, "holds 44 joint angles of MimicKit that are neither the humanoid's (28) nor SMPL's (69)"),
        (GOOD | {"frames": np.zeros((10**6, 34), bool)}, "expected a motion of at most an hour, found 33333.3 s"),
        (GOOD | {"loop_mode": 7}, 'key "loop_mode": expected 0 (it ends) or 1 (a cycle), found 7'),
        (GMR | {"root_rot": np.zeros((4, 4))}, 'key "root_rot", frame 0: rotation has length 0, expected 1'),
        (GMR | {"root_rot": np.zeros((3, 4))}, 'key "root_rot": expected (4, 4), found (3, 4)'),
        ({k: v for k, v in GMR.items() if k != "root_rot"}, 'the key "root_rot" is missing'),
        ({"w": phc(np.zeros((4, 3)), np.zeros((4, 60)))}, 'key "pose_aa": expected (frames, 72), found (4, 60)'),
        ({"w": phc(np.zeros((4, 3)), np.zeros((4, 72)), beta=np.zeros(0))}, "expected 1 to 400 betas"),
        ({"w": {"pose_aa": np.zeros((4, 72)), "fps": 30}}, 'the key "trans" is missing'),
        (GOOD | {"evil": eval}, "holds builtins.eval, which is not data; refused"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(save, content, says):
    path = save(content)
    with pytest.raises(MotionFormatError) as caught:
        load(path)
    assert says in str(caught.value) and str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def unfolding() -> list:
    """A few bytes in a file; laid out, or as text, 10^12 numbers."""
    rows: list = [0.0] * 1000
    for _ in range(3):
        rows = [rows] * 1000
    return rows


@pytest.mark.parametrize(("content", "key"), [(GOOD, "frames"), (GOOD, "fps"), (GOOD, "loop_mode"), (GMR, "root_pos"), (GMR, "root_rot"),
                                              (GMR, "dof_pos"), (PHC, "pose_aa"), (PHC, "beta"), (PHC, "trans_orig")])  # fmt: skip
def test_lists_that_unfold_to_far_too_much_are_refused(save, content, key):
    with pytest.raises(MotionFormatError) as caught:
        load(save(content | {key: unfolding()}))
    assert "unfolds to far more than the file holds; refused" in str(caught.value)
