"""Tables of joint angles: what each column turns."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mprl.errors import MotionFormatError
from mprl.motion import HUMANOID, load
from mprl.motion.body.joints import JOINTS

ROWS = np.random.default_rng(0).normal(scale=0.5, size=(4, 40))


@pytest.fixture
def table(tmp_path):
    def save(columns: str, *rows, head: str = "# frame_rate: 30\n", between: str = ",") -> str:
        names = columns.split()
        lines = [
            row if isinstance(row, str) else between.join(f"{value!r}" for value in row) for row in rows or ROWS[:, : len(names)].tolist()
        ]
        (tmp_path / "walk.csv").write_text(head + between.join(names) + "\n" + "\n".join(lines) + "\n")
        return str(tmp_path / "walk.csv")

    return save


def turned(clip, joint: str) -> np.ndarray:
    return Rotation.from_quat(clip.rotations[:, clip.skeleton.names.index(joint)], scalar_first=True).as_rotvec()


def test_columns_turn_the_joints_that_they_name(table):
    names = "root_x root_y root_z root_rx root_ry root_rz chest_x chest_y chest_z right_knee left_elbow"
    clip = load(table(names))
    assert clip.skeleton.names == HUMANOID.body_names and clip.frame_rate == 30 and clip.name == "walk"
    assert np.allclose(clip.root_position, ROWS[:, :3])
    assert np.allclose(turned(clip, "root"), ROWS[:, 3:6]) and np.allclose(turned(clip, "chest"), ROWS[:, 6:9])
    assert np.allclose(turned(clip, "neck"), 0)
    qpos = HUMANOID.to_qpos(clip).numpy()
    for name, column in (("right_knee", 9), ("left_elbow", 10)):
        assert np.allclose(qpos[:, HUMANOID.model.joint(name).qposadr[0]], ROWS[:, column])


def test_smpl_s_joints_and_quaternions(table):
    quaternions = Rotation.random(8, random_state=0).as_quat(scalar_first=True).reshape(4, 8)
    names = "root_qw root_qx root_qy root_qz left_shoulder_w left_shoulder_x left_shoulder_y left_shoulder_z spine1_x spine1_y spine1_z"
    clip = load(table(names, *np.concatenate((quaternions, ROWS[:, :3]), axis=1).tolist(), between=";"))
    assert clip.skeleton.names == JOINTS
    assert np.allclose(turned(clip, "pelvis"), Rotation.from_quat(quaternions[:, :4], scalar_first=True).as_rotvec())
    assert np.allclose(turned(clip, "left_shoulder"), Rotation.from_quat(quaternions[:, 4:], scalar_first=True).as_rotvec())
    assert np.allclose(turned(clip, "spine1"), ROWS[:, :3])


def test_a_robot_s_hinges_by_their_names(table, tmp_path):
    xml = """<mujoco><worldbody><body name="hips"><freejoint/><geom size=".1"/><body name="leg" pos="0 0 -1">
    <joint name="pitch" axis="0 1 0"/><joint name="roll" axis="1 0 0"/><geom size=".1"/></body></body></worldbody></mujoco>"""
    (tmp_path / "robot.xml").write_text(xml)
    clip = load(table("pitch roll"), character=tmp_path / "robot.xml")
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    data.qpos[7:] = ROWS[1, :2]
    mujoco.mj_kinematics(model, data)
    assert np.allclose(np.abs(clip.rotations[1, 1] @ data.xquat[2]), 1)


def test_a_time_column_gives_the_rate(table):
    assert load(table("time chest_x chest_y chest_z", *[[0.02 * i, 0, 0, 0] for i in range(5)], head="")).frame_rate == pytest.approx(50)
    rounded = load(table("time chest_x chest_y chest_z", *[[round(i / 30, 3), 0, 0, 0] for i in range(31)], head="# frame_rate: 30\n"))
    assert rounded.frame_rate == 30


@pytest.mark.parametrize(
    ("columns", "rows", "head", "says"),
    [
        ("chest_x chest_y chest_z", [[0, 0, 0]] * 2, "", "expected a column 'time', or a line '# frame_rate: 30' above the names"),
        ("chest_x chest_y chest_z", [[0, 0, 0]] * 2, "# frame_rate: 0\n", "expected a frame rate of .0001 to 10000 Hz, found 0"),
        ("chest_x chest_y chest_z", [[0, 0, 0]], None, "a motion needs at least 2 frames, found 1"),
        ("chest_x chest_y chest_z", [[0, 0, 0], [0, 0]], None, "line 4: expected 3 numbers, found 2"),
        ("chest_x chest_y chest_z", [[0, 0, 0], "0,nan,0"], None, "line 4, 'chest_y': expected a finite number below 1e6, found 'nan'"),
        ("chest_x chest_y chest_z", [[0, 0, 0], "0,,0"], None, "line 4, 'chest_y': expected a finite number below 1e6, found ''"),
        ("chest_x chest_y", [[0, 0]] * 2, None, "'chest' has the column 'chest_x', but no 'chest_z'"),
        (
            "chest_x chest_y chest_x",
            [[0, 0, 0]] * 2,
            None,
            "line 2: expected at most 4096 different names of columns, found 'chest_x' twice",
        ),
        ("chset_x chset_y chset_z", [[0, 0, 0]] * 2, None, "neither the humanoid nor SMPL has a joint 'chset'; did you mean 'chest'?"),
        ("rigth_knee", [[0]] * 2, None, "no joint for the column 'rigth_knee'; did you mean 'right_knee'?"),
        ("0 1 2", [[0, 0, 0]] * 2, None, "line 2: expected the names of the columns (root_x, ...), found numbers"),
        ("chest_w chest_x chest_y chest_z", [[0, 0, 0, 0]] * 2, None, "frame 0: rotation of 'chest' has length 0, expected 1"),
        ("time", [[0], [1], [1]], "", "column 'time': expected even steps forward, found 0 to 1 s"),
        ("time", [[0], [1], [3]], "", "column 'time': expected even steps forward, found 1 to 2 s"),
        ("time", [[0], [0.1], [0.2]], None, "two frame rates: 30 Hz in the comment, 10 Hz by the column 'time'"),
        ("time", [[0], [4000]], "", "expected a motion of at most an hour, found 4000 s"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(table, columns, rows, head, says):
    path = table(columns, *rows, **({} if head is None else {"head": head}))
    with pytest.raises(MotionFormatError) as caught:
        load(path)
    assert says in str(caught.value) and str(caught.value).startswith(path) and "\n" not in str(caught.value)
