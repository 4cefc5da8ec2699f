"""DeepMimic's motion file: its columns, its axes, its rest pose, and every way in which a file can be broken.

Facts of the format: the authors' release (Peng et al. 2018, arXiv 1804.02717).
"""

from __future__ import annotations

import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mprl.errors import MotionFormatError, UnknownNameError
from mprl.motion import HUMANOID, MotionClip, load
from mprl.motion.kinematics import forward_kinematics

# where each joint's numbers begin
ROOT, CHEST, NECK, RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE, RIGHT_SHOULDER, RIGHT_ELBOW = 4, 8, 12, 16, 20, 21, 25, 29
LEFT_HIP, LEFT_KNEE, LEFT_ANKLE, LEFT_SHOULDER, LEFT_ELBOW = 30, 34, 35, 39, 43
UPPER_ARM, FOREARM = 0.274788, 0.258947  # m
HALF = math.sqrt(0.5)


def frame(duration: float = 0.1, root: tuple[float, float, float] = (0, 0.9, 0), **joints) -> list[float]:
    """A frame at rest, but for `joints` given by their column's name."""
    numbers = [duration, *root] + [0.0] * 40
    for column in (ROOT, CHEST, NECK, RIGHT_HIP, RIGHT_ANKLE, RIGHT_SHOULDER, LEFT_HIP, LEFT_ANKLE, LEFT_SHOULDER):
        numbers[column] = 1.0
    for name, value in joints.items():
        column = globals()[name.upper()]
        values = value if isinstance(value, tuple) else (value,)
        numbers[column : column + len(values)] = values
    return numbers


def save(path: Path, *frames: list[float], **content) -> Path:
    path.write_text(json.dumps({"Loop": "none", "Frames": list(frames)} | content))
    return path


def bodies(clip: MotionClip, at: int = 0) -> dict[str, np.ndarray]:
    """World position of each body in a frame, m."""
    position, _ = forward_kinematics(clip.skeleton, torch.tensor(clip.root_position), torch.tensor(clip.rotations))
    return dict(zip(clip.skeleton.names, position[at].numpy(), strict=True))


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "humanoid3d_test.txt"


def refused(path: Path) -> str:
    """The one line with which a file is refused; it names the file."""
    with pytest.raises(MotionFormatError) as caught:
        load(path)
    line = str(caught.value)
    assert path.name in line and "\n" not in line and len(line) < 300
    return line


# ------------------------------------------------------------------------------------------------------- values worked out by hand


def test_at_rest_the_arms_hang_down_and_the_legs_are_straight(file):
    clip = load(save(file, frame(), frame()))
    at = bodies(clip)
    np.testing.assert_allclose(at["root"], [0, 0, 0.9], atol=1e-12)
    for side, y in (("right", -0.18311), ("left", 0.18311)):
        shoulder = np.array([-0.02405, y, 0.9 + 0.236151 + 0.2435])
        np.testing.assert_allclose(at[f"{side}_shoulder"], shoulder, atol=1e-9)
        np.testing.assert_allclose(at[f"{side}_elbow"], shoulder - [0, 0, UPPER_ARM], atol=1e-9)
        np.testing.assert_allclose(at[f"{side}_wrist"], shoulder - [0, 0, UPPER_ARM + FOREARM], atol=1e-9)
        np.testing.assert_allclose(at[f"{side}_ankle"][2], 0.9 - 0.421546 - 0.40987, atol=1e-9)


def test_the_world_is_turned_from_y_up_to_z_up(file):
    """(x, y, z) is (x, -z, y): the file's z, to the right of one who looks along x, is our -y."""
    clip = load(save(file, frame(root=(1, 2, 3)), frame(root=(1, 2, 3))))
    np.testing.assert_allclose(clip.root_position[0], [1, -3, 2])


@pytest.mark.parametrize(
    ("turn", "head", "right_hip"),
    [
        # a quarter turn about the file's y, its vertical: still upright; the right hip comes from -y to x, as x goes to y
        ((HALF, 0, HALF, 0), [0, 0, 1], [1, 0, 0]),
        # about z, to the right: leaning back, the head goes to -x
        ((HALF, 0, 0, HALF), [-1, 0, 0], [0, -1, 0]),
        # about x: leaning to the right
        ((HALF, HALF, 0, 0), [0, -1, 0], [0, 0, -1]),
    ],
)
def test_the_root_turns_as_the_file_says(file, turn, head, right_hip):
    at = bodies(load(save(file, frame(ROOT=turn), frame(ROOT=turn))))
    np.testing.assert_allclose((at["chest"] - at["root"]) / 0.236151, head, atol=1e-9)
    np.testing.assert_allclose((at["right_hip"] - at["root"]) / 0.084887, right_hip, atol=1e-9)


def test_a_right_angle_at_the_elbow_points_the_forearm_forward(file):
    bent = frame(right_elbow=math.pi / 2, left_elbow=math.pi / 2)
    at = bodies(load(save(file, bent, bent)))
    for side in ("right", "left"):
        np.testing.assert_allclose(at[f"{side}_elbow"] - at[f"{side}_shoulder"], [0, 0, -UPPER_ARM], atol=1e-9)
        np.testing.assert_allclose(at[f"{side}_wrist"] - at[f"{side}_elbow"], [FOREARM, 0, 0], atol=1e-9)


def test_a_negative_right_angle_at_the_knee_points_the_shin_backward(file):
    bent = frame(right_knee=-math.pi / 2, left_knee=-math.pi / 2)
    at = bodies(load(save(file, bent, bent)))
    for side in ("right", "left"):
        np.testing.assert_allclose(at[f"{side}_ankle"] - at[f"{side}_knee"], [-0.40987, 0, 0], atol=1e-9)


def test_root_shoulder_and_elbow_add_up(file):
    """Turned left by 90 degrees, the right arm raised to the side by 90, its elbow bent by 90: the forearm points ahead, along y."""
    posed = frame(root=(1, 1, -2), ROOT=(HALF, 0, HALF, 0), right_shoulder=(HALF, -HALF, 0, 0), right_elbow=math.pi / 2)
    at = bodies(load(save(file, posed, posed)))
    np.testing.assert_allclose(at["root"], [1, 2, 1], atol=1e-9)
    shoulder = np.array([1 + 0.18311, 2 - 0.02405, 1 + 0.236151 + 0.2435])
    np.testing.assert_allclose(at["right_elbow"], shoulder + [UPPER_ARM, 0, 0], atol=1e-9)
    np.testing.assert_allclose(at["right_wrist"], shoulder + [UPPER_ARM, FOREARM, 0], atol=1e-9)


def test_right_and_left_are_not_swapped(file):
    kick = frame(left_hip=(HALF, 0, 0, HALF))
    at = bodies(load(save(file, kick, kick)))
    assert at["left_knee"][0] == pytest.approx(0.421546) and at["right_knee"][0] == pytest.approx(0)
    assert at["left_knee"][1] > 0 > at["right_knee"][1]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: 0.6 < np.linalg.norm(q) < 1.4))
def test_a_chest_s_rotation_is_the_file_s_in_other_axes(file, q):
    """What the file's rotation does to a vector, ours does to the same vector in our axes; lengths near 1 are normalised."""
    clip = load(save(file, frame(chest=tuple(q)), frame(chest=tuple(q))))
    theirs = Rotation.from_quat(q, scalar_first=True)
    ours = Rotation.from_quat(clip.rotations[0, 1], scalar_first=True)
    for v in np.eye(3):
        x, y, z = theirs.apply(v)
        np.testing.assert_allclose(ours.apply([v[0], -v[2], v[1]]), [x, -z, y], atol=1e-9)


def test_time_is_the_sum_of_all_durations_but_the_last(file):
    clip = load(save(file, frame(0.1), frame(0.1), frame(0.1), frame(99)))
    assert clip.num_frames == 4 and clip.frame_rate == pytest.approx(10) and clip.duration == pytest.approx(0.3)


def test_uneven_frames_are_brought_to_an_even_rate(file):
    """Frames at 0, .1 and .4 s; the root moves at 1 m/s throughout and turns by a quarter between the second and the third."""
    turned = (math.cos(math.pi / 4), 0, math.sin(math.pi / 4), 0)
    clip = load(save(file, frame(0.1), frame(0.3, root=(0.1, 0.9, 0)), frame(0, root=(0.4, 0.9, 0), ROOT=turned)))
    assert clip.duration == pytest.approx(0.4) and clip.frame_rate == pytest.approx(10) and clip.num_frames == 5
    np.testing.assert_allclose(clip.root_position[:, 0], [0, 0.1, 0.2, 0.3, 0.4], atol=1e-12)
    yaw = Rotation.from_quat(clip.rotations[:, 0], scalar_first=True).as_rotvec()[:, 2]
    np.testing.assert_allclose(np.degrees(yaw), [0, 0, 30, 60, 90], atol=1e-9)


def test_loop_is_kept_and_other_keys_are_ignored(file):
    assert load(save(file, frame(), frame())).loop == "none"
    assert load(save(file, frame(), frame(), Loop="wrap", VelFilterCutoff=6, CycleSyncRootPos=True)).loop == "wrap"


def test_every_real_clip_is_read(mocap_folder):  # durations: table 2 of the paper
    clips = {path.stem.removeprefix("humanoid3d_"): load(path) for path in sorted(mocap_folder.glob("humanoid3d_*.txt"))}
    seconds = {"walk": 1.26, "run": 0.80, "jump": 1.77, "backflip": 1.75, "cartwheel": 2.72, "spinkick": 1.28, "spin": 4.42,
               "punch": 2.13, "crawl": 2.93, "dance_b": 2.53, "getup_faceup": 4.02}  # fmt: skip
    for name, clip in clips.items():
        assert clip.name == name and clip.skeleton.names == HUMANOID.body_names
        if name in seconds and name != "getup_faceup":  # the released file is a cut of the paper's
            assert clip.duration == pytest.approx(seconds[name], abs=0.02), name
        assert 0.1 < clip.root_position[:, 2].max() < 1.6


# ------------------------------------------------------------------------------------------------------------------ broken files


def number(index: int, value) -> list:
    numbers: list = frame()
    numbers[index] = value
    return numbers


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (frame()[:43], "frame 1: expected 44 numbers, found 43"),
        ([*frame(), 0.0], "frame 1: expected 44 numbers, found 45"),
        ([], "frame 1: expected 44 numbers, found 0"),
        ({}, "frame 1: expected 44 numbers, found dict"),
        (None, "frame 1: expected 44 numbers, found NoneType"),
        (number(7, math.nan), "frame 1, column 7: expected a finite number below 1e6, found NaN"),
        (number(1, math.inf), "frame 1, column 1"),
        (number(1, 10**400), "frame 1, column 1"),
        (number(1, 1e300), "frame 1, column 1"),
        (number(20, True), "frame 1, column 20"),
        (number(20, None), "frame 1, column 20"),
        (number(20, "0.5"), "frame 1, column 20"),
        (number(20, [0.5]), "frame 1, column 20"),
        (number(20, {"a": {}}), "frame 1, column 20"),
        (frame(-0.1), "frame 1: expected a duration"),
        (frame(0), "frame 1: expected a duration"),
        (frame(1e-9), "frame 1: expected a duration"),
        (frame(5000.0), "hour"),
        (frame(chest=(0, 0, 0, 0)), "frame 1: rotation of 'chest' has length 0, expected 1"),
        (frame(left_hip=(2, 0, 0, 0)), "frame 1: rotation of 'left_hip' has length 2, expected 1"),
    ],
)
def test_a_bad_frame_is_named_with_its_place(file, bad, says):
    assert says in refused(save(file, frame(), bad, frame()))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (" ", "expected JSON"),
        ("hello", "expected JSON"),
        ("null", '"Frames"'),
        ("[]", '"Frames"'),
        ("{}", '"Frames"'),
        ('{"Frames": 3}', '"Frames"'),
        ('{"Frames": {}}', '"Frames"'),
        ('{"Frames": []}', "at least 2 frames, found 0"),
        (json.dumps({"Frames": [frame()]}), "at least 2 frames, found 1"),
        (json.dumps({"Frames": [frame(), frame()], "Loop": "sometimes"}), 'key "Loop"'),
        (json.dumps({"Frames": [frame(), frame()], "Loop": ["wrap"]}), 'key "Loop"'),
        ('{"Frames": [' + "9" * 5000 + "]}", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ('{"a":' * 100_000, "expected JSON"),
    ],
)
def test_what_is_not_a_motion_is_said(file, text, says):
    file.write_text(text)
    assert says in refused(file)


@pytest.mark.parametrize("depth", [100, 900, 5_000, 30_000, 90_000])
@pytest.mark.parametrize("where", ["Loop", "frame", "number"])
def test_a_deeply_nested_value_is_refused_wherever_it_stands(file, depth, where):
    deep = "[" * depth + "]" * depth
    good = json.dumps(frame())
    text = {
        "Loop": f'{{"Loop": {deep}, "Frames": [{good}, {good}]}}',
        "frame": f'{{"Frames": [{good}, {deep}]}}',
        "number": f'{{"Frames": [{good}, [{deep}, {", ".join(good[1:-1].split(", ")[1:])}]]}}',
    }[where]
    file.write_text(text)
    refused(file)


def test_a_file_that_is_cut_off_is_said_to_be_so(file):
    text = save(file, frame(), frame(), frame()).read_text()
    for length in range(1, len(text), 7):
        file.write_text(text[:length])
        assert "expected JSON" in refused(file)
    assert "line 1" in refused(file) and "cut off" in refused(file)


class Marker:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("protocol", [0, 2, 5])  # protocol 0 is text
def test_a_pickle_is_refused_and_not_unpickled(file, tmp_path, protocol):
    marker = tmp_path / "executed"
    file.write_bytes(pickle.dumps(Marker(marker), protocol=protocol))
    refused(file)
    assert not marker.exists()


def test_binary_data_is_refused_with_the_byte(file):
    file.write_bytes(b'{"Frames": \xff\xfe')
    assert "byte 11" in refused(file)


def test_a_folder_and_a_missing_file_are_told_apart(tmp_path):
    (tmp_path / "folder.txt").mkdir()
    assert "folder" in refused(tmp_path / "folder.txt")
    assert "no such file" in refused(tmp_path / "nothing.txt")


def test_an_unknown_kind_of_file_says_which_are_known(tmp_path):
    path = tmp_path / "motion.mov"
    path.write_bytes(b"x")
    assert ".txt" in refused(path) and ".npz" in refused(path)


def test_a_name_that_no_file_can_have_is_refused():
    for name in ("x" * 5000, "x" * 5000 + ".txt", "a\0b", "a\0b.txt", ""):
        with pytest.raises((MotionFormatError, UnknownNameError)) as caught:
            load(name)
        assert "\n" not in str(caught.value)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_are_read_or_refused_never_worse(file, data):
    content = bytearray(save(file, frame(0.5), frame(0.5, right_knee=-1.0), frame(0.5)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        what = data.draw(st.one_of(st.binary(max_size=2), st.sampled_from([b"e", b"-", b".", b"9", b"[", b"]", b"NaN", b"1e309", b"null"])))
        content[at : at + data.draw(st.integers(0, 3))] = what
    file.write_bytes(content)
    try:
        load(file)
    except MotionFormatError as error:
        assert file.name in str(error) and "\n" not in str(error)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(allow_nan=True), min_size=2, max_size=5))
def test_any_durations_are_read_or_refused(file, durations):
    save(file, *(frame(d) for d in durations), frame())
    try:
        clip = load(file)
    except MotionFormatError as error:
        assert file.name in str(error) and "\n" not in str(error)
    else:
        assert clip.duration == pytest.approx(sum(durations), rel=1e-6)


# The authors' own skeleton (`humanoid3d.txt`): each joint's parent and place in its frame, m, y up, the arms hanging; columns of a
# frame, quaternions w first, or one angle about z.
SKELETON = {
    "root": (None, (0, 0, 0), slice(4, 8)),
    "chest": ("root", (0, 0.236151, 0), slice(8, 12)),
    "neck": ("chest", (0, 0.223894, 0), slice(12, 16)),
    "right_hip": ("root", (0, 0, 0.084887), slice(16, 20)),
    "right_knee": ("right_hip", (0, -0.421546, 0), 20),
    "right_ankle": ("right_knee", (0, -0.40987, 0), slice(21, 25)),
    "right_shoulder": ("chest", (-0.02405, 0.2435, 0.18311), slice(25, 29)),
    "right_elbow": ("right_shoulder", (0, -0.274788, 0), 29),
    "right_wrist": ("right_elbow", (0, -0.258947, 0), None),
    "left_hip": ("root", (0, 0, -0.084887), slice(30, 34)),
    "left_knee": ("left_hip", (0, -0.421546, 0), 34),
    "left_ankle": ("left_knee", (0, -0.40987, 0), slice(35, 39)),
    "left_shoulder": ("chest", (-0.02405, 0.2435, -0.18311), slice(39, 43)),
    "left_elbow": ("left_shoulder", (0, -0.274788, 0), 43),
    "left_wrist": ("left_elbow", (0, -0.258947, 0), None),
}


def test_real_joints_are_where_an_independent_forward_kinematics_has_them(mocap_folder):
    checked = 0
    for path in sorted(mocap_folder.glob("humanoid3d_*.txt")):
        rows = np.array(json.loads(path.read_text())["Frames"])
        clip = load(path)
        if len(rows) != clip.num_frames:  # resampled: frames of uneven duration
            continue
        places, turns, checked = {}, {}, checked + 1
        for name, (parent, offset, columns) in SKELETON.items():
            if isinstance(columns, slice):
                own = Rotation.from_quat(rows[:, columns], scalar_first=True)
            else:
                own = Rotation.from_rotvec((rows[:, columns, None] if columns is not None else np.zeros((len(rows), 1))) * [0, 0, 1])
            places[name] = rows[:, 1:4] if parent is None else places[parent] + turns[parent].apply(offset)
            turns[name] = own if parent is None else turns[parent] * own
        found, _ = forward_kinematics(clip.skeleton, torch.tensor(clip.root_position), torch.tensor(clip.rotations))
        for index, name in enumerate(clip.skeleton.names):
            x, y, z = places[name].T
            apart = np.linalg.norm(found[:, index].numpy() - np.stack((x, -z, y), axis=1), axis=1).max()
            assert apart < 1e-6, (path.name, name, apart)  # m; a thousandth of what was asked for
    assert checked >= 8
