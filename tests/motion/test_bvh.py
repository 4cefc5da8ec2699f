"""BVH: read as an independent forward kinematics of the raw text has it, written so that it reads back the same."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mprl.errors import MotionFormatError, SettingError
from mprl.motion import MotionClip, Skeleton, load
from mprl.motion.formats import axes, bvh
from mprl.motion.kinematics import forward_kinematics

REAL = ("0005_walking", "cmu_jumping_jacks", "fair_dab")
HEAD = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT LeftUpLeg
  {
    OFFSET 10 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT LeftFoot
    {
      OFFSET 0 -90 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {
        OFFSET 0 0 15
      }
    }
  }
  JOINT RightUpLeg
  {
    OFFSET -10 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 -95 0
    }
  }
  JOINT Head
  {
    OFFSET 0 65 0
    CHANNELS 3 Zrotation Xrotation Yrotation
  }
}
"""
STILL = "0 95 0 " + "0 " * 15
TEXT = HEAD + f"MOTION\nFrames: 2\nFrame Time: 0.0333333\n{STILL}\n{STILL}\n"


@pytest.fixture
def file(tmp_path):
    def save(text: str) -> Path:
        (tmp_path / "some.bvh").write_text(text)
        return tmp_path / "some.bvh"

    return save


@pytest.fixture
def real(mocap_folder):
    def path(name: str) -> Path:
        found = mocap_folder.parent / "bvh" / f"{name}.bvh"
        if not found.is_file():
            pytest.skip(f"no {found}")
        return found

    return path


def positions(clip: MotionClip) -> np.ndarray:
    """Joint positions of a clip, (T, J, 3) m."""
    return forward_kinematics(clip.skeleton, torch.tensor(clip.root_position), torch.tensor(clip.rotations))[0].numpy()


def independent(path: Path) -> tuple[list[str], np.ndarray]:
    """Joint names and their positions (T, J, 3) in the file's axes and units: 4 x 4 matrices straight from the words."""
    words = re.findall(r"\S+", path.read_text())
    tree, table = words[: words.index("MOTION")], words[words.index("MOTION") :]
    numbers = np.array([float(word) for word in table[table.index("Time:") + 2 :]]).reshape(int(table[table.index("Frames:") + 1]), -1)
    names, result, stack, column, at = [], [], [], 0, 0
    while at < len(tree):
        if tree[at] in ("ROOT", "JOINT", "End"):
            names.append(tree[at + 1] if tree[at] != "End" else f"{stack[-1][0]}_end")
            stack.append((names[-1], np.tile(np.eye(4), (len(numbers), 1, 1)) if not stack else stack[-1][1]))
            result.append(None)
            here = len(result) - 1
        elif tree[at] == "OFFSET":
            move = np.eye(4)
            move[:3, 3] = [float(word) for word in tree[at + 1 : at + 4]]
            stack[-1] = (stack[-1][0], stack[-1][1] @ move)
            result[here] = stack[-1][1][:, :3, 3]
        elif tree[at] == "CHANNELS":
            for channel in tree[at + 2 : at + 2 + int(tree[at + 1])]:
                step = np.tile(np.eye(4), (len(numbers), 1, 1))
                if channel.endswith("position"):
                    step[:, "XYZ".index(channel[0]), 3] = numbers[:, column]
                else:
                    step[:, :3, :3] = Rotation.from_euler(channel[0].lower(), numbers[:, column, None], degrees=True).as_matrix()
                stack[-1] = (stack[-1][0], stack[-1][1] @ step)
                column += 1
            result[here] = stack[-1][1][:, :3, 3]
        elif tree[at] == "}":
            stack.pop()
        at += 1
    return names, np.stack(result, axis=1)


# -------------------------------------------------------------------------------------------------------------------- real files


@pytest.mark.parametrize(
    ("name", "unit", "to_ours"),
    [
        ("0005_walking", 0.0254, lambda p: p[..., [2, 0, 1]]),
        ("cmu_jumping_jacks", 0.0254 / 0.45, lambda p: p[..., [2, 0, 1]]),
        ("fair_dab", 0.0254, lambda p: p[..., [1, 0, 2]] * [-1, 1, 1]),
    ],
)
def test_joints_are_where_an_independent_forward_kinematics_has_them(real, name, unit, to_ours):
    clip = load(real(name))
    names, raw = independent(real(name))
    found = positions(clip)
    for index, joint in enumerate(clip.skeleton.names):
        expected = to_ours(raw[:, names.index(joint)]) * unit
        assert np.linalg.norm(found[:, index] - expected, axis=-1).max() < 1e-6  # m; a thousandth of what was asked for
    # what is left out are end sites of no length
    assert all(name.endswith("_end") for name in set(names) - set(clip.skeleton.names))


@pytest.mark.parametrize("name", REAL)
def test_a_person_stands_upright_on_the_floor_and_walks_forward(real, name):
    clip = load(real(name))
    found, names = positions(clip), clip.skeleton.names
    head = found[:, [i for i, joint in enumerate(names) if "Head" in joint], 2].max(axis=1).mean()
    assert 1.0 < head < 1.9
    assert -0.02 < found[..., 2].min() < 0.05
    # the left hip is to the left of the right one in the body that faces x
    rest = np.zeros_like(clip.skeleton.offsets)
    for joint, parent in enumerate(clip.skeleton.parents):
        rest[joint] = clip.skeleton.offsets[joint] + (rest[parent] if parent >= 0 else 0)
    left, right = ([i for i, joint in enumerate(names) if re.match(rf"{side}(eft|ight)?[A-Z]", joint)] for side in "LR")
    assert rest[left, 1].mean() > 0.05 and rest[right, 1].mean() < -0.05


def test_frame_times_that_are_rounded_give_whole_rates(real):
    assert [load(real(name)).frame_rate for name in REAL] == [120.0, 30.0, 30.0]


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize(("unit", "up"), [("cm", "y"), ("m", "z"), ("inch", "y")])
def test_what_is_written_reads_back_the_same(real, tmp_path, name, unit, up):
    clip = load(real(name))
    again = bvh.read(bvh.write(clip, tmp_path / "again.bvh", scale=unit, up=up))  # unit and axes are found again
    assert again.skeleton.names == clip.skeleton.names and again.skeleton.parents == clip.skeleton.parents
    assert again.frame_rate == clip.frame_rate
    assert np.abs(again.skeleton.offsets - clip.skeleton.offsets).max() < 1e-9
    assert np.abs(again.root_position - clip.root_position).max() < 1e-9
    assert (1 - np.abs((again.rotations * clip.rotations).sum(axis=-1))).max() < 1e-9
    assert np.abs(positions(again) - positions(clip)).max() < 1e-9


# ------------------------------------------------------------------------------------------------------------ channels and frames


@settings(max_examples=25)
@given(st.permutations("XYZ"), st.tuples(*[st.floats(-360, 360)] * 3))
def test_any_order_of_rotations_applies_in_the_order_in_which_it_stands(tmp_path_factory, order, degrees):
    path = tmp_path_factory.mktemp("bvh") / "some.bvh"
    words = " ".join(f"{axis}rotation" for axis in order)
    row = f"0 95 0 {' '.join(map(repr, degrees))} " + "0 " * 12
    path.write_text(TEXT.replace("Zrotation Xrotation Yrotation", words, 1).replace(STILL, row))
    turned = Rotation.from_euler("".join(order), degrees, degrees=True).apply([0, 65, 0]) / 100  # capitals: about the moving axes
    clip = bvh.read(path, up="y", scale="cm")
    head = positions(clip)[0, clip.skeleton.names.index("Head")]
    assert np.allclose(head, turned[[2, 0, 1]] + [0, 0, 0.95], atol=1e-9)


def test_a_joint_may_have_any_channels_or_none(file):
    text = TEXT.replace("CHANNELS 3 Zrotation Xrotation Yrotation", "CHANNELS 1 Xrotation", 1)
    text = text.replace("CHANNELS 3 Zrotation Xrotation Yrotation", "CHANNELS 0", 1).replace(STILL, "0 95 0 0 0 0 90 " + "0 " * 6)
    clip = load(file(text))
    foot = positions(clip)[0, clip.skeleton.names.index("LeftFoot")]
    assert np.allclose(foot, [-0.9, 0.1, 0.95])  # the leg turned back by 90 degrees about the left


def test_position_channels_that_repeat_the_offset_are_the_offset(file):
    text = TEXT.replace("OFFSET 0 -90 0\n      CHANNELS 3 ", "OFFSET 0 -90 0\n      CHANNELS 6 Xposition Yposition Zposition ")
    row = "0 95 0 0 0 0  0 0 0  0 {} 0  0 0 0  0 0 0  0 0 0"
    plain = load(file(TEXT))
    assert np.allclose(load(file(text.replace(STILL, row.format(-90)))).skeleton.offsets, plain.skeleton.offsets)
    assert np.allclose(load(file(text.replace(STILL, row.format(0)))).skeleton.offsets, plain.skeleton.offsets)


def test_bones_that_change_their_length_are_said(file, caplog, heard):
    text = TEXT.replace("OFFSET 0 -90 0\n      CHANNELS 3 ", "OFFSET 0 -90 0\n      CHANNELS 6 Xposition Yposition Zposition ")
    row = "0 95 0 0 0 0  0 0 0  0 {} 0  0 0 0  0 0 0  0 0 0"
    text = text.replace(STILL, row.format(-88), 1).replace(STILL, row.format(-92), 1)
    with caplog.at_level(logging.WARNING):
        clip = load(file(text))
    assert "1 bones change their length, 'LeftFoot' by 2 units" in caplog.text
    assert np.allclose(np.linalg.norm(clip.skeleton.offsets[clip.skeleton.names.index("LeftFoot")]), 0.9)


def test_an_empty_root_above_the_hips_is_left_out(file):
    # as in Bandai Namco's files: the hips are the root's only child, and it is they that move
    inner = TEXT.replace("ROOT Hips", "JOINT Hips").replace("HIERARCHY\n", "")
    text = "HIERARCHY\nROOT joint_Root\n{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n"
    text += (
        inner.replace("MOTION", "}\nMOTION")
        .replace(STILL, "5 0 0 0 0 90 " + STILL, 1)
        .replace(f"\n{STILL}", "\n5 0 0 0 0 90 40 95 0 0 30 0 " + "0 " * 12)
    )
    clip, plain = load(file(text)), load(file(TEXT))
    assert clip.skeleton.names == plain.skeleton.names and np.allclose(clip.skeleton.offsets, plain.skeleton.offsets)
    # the root stands at x = 5 and is turned by 90 degrees to the left; the hips go 40 along its x, which is the world's -z, and bow
    assert np.allclose(clip.root_position * 100, [[0, 5, 95], [-40, 5, 95]])
    quarter = Rotation.from_euler("z", 90, degrees=True)
    turned = [Rotation.from_quat(clip.rotations[frame, 0], scalar_first=True) for frame in (0, 1)]
    assert np.allclose(turned[0].as_matrix(), quarter.as_matrix())
    assert np.allclose(turned[1].as_matrix(), (quarter * Rotation.from_euler("y", 30, degrees=True)).as_matrix())


def test_a_rest_pose_that_does_not_stand_says_nothing_of_where_it_faces(file):
    # as in LAFAN1: all bones along x, turned into place by the rotations; y is up, and z is taken for forward
    text = (
        """HIERARCHY ROOT Hips { OFFSET 173 92 -518 CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
    JOINT LeftUpLeg { OFFSET .1 1.9 10.5 CHANNELS 3 Zrotation Yrotation Xrotation JOINT LeftFoot { OFFSET 86 0 0
    CHANNELS 3 Zrotation Yrotation Xrotation } } JOINT RightUpLeg { OFFSET .1 1.9 -10.5 CHANNELS 3 Zrotation Yrotation Xrotation
    JOINT RightFoot { OFFSET 86 0 0 CHANNELS 3 Zrotation Yrotation Xrotation } }
    JOINT Head { OFFSET 60 -2 0 CHANNELS 3 Zrotation Yrotation Xrotation } }
    MOTION\nFrames: 2\nFrame Time: 0.033333\n"""
        + "100 90 -300 90 0 0  180 0 0  0 0 0  180 0 0  0 0 0  0 0 0\n" * 2
    )
    clip = load(file(text))
    assert clip.provenance.source == "some.bvh (centimetres, y up, facing z)"
    assert np.allclose(clip.root_position[0], [-3, 1, 0.9])  # its place is what the channels say, without the offset
    assert positions(clip)[0, clip.skeleton.names.index("Head"), 2] > 1.4


def test_end_sites_become_joints_that_do_not_turn(file):
    clip = load(file(TEXT))
    assert clip.skeleton.names == ("Hips", "LeftUpLeg", "LeftFoot", "LeftFoot_end", "RightUpLeg", "RightUpLeg_end", "Head")
    assert (clip.rotations[:, 3] == [1, 0, 0, 0]).all()
    assert np.allclose(clip.skeleton.offsets[3], [0.15, 0, 0])  # the toes point forward


@pytest.mark.parametrize(("unit", "factor"), [("m", 0.01), ("dm", 0.1), ("cm", 1), ("mm", 10), ("inch", 1 / 2.54), ("cmu", 0.45 / 2.54)])
def test_the_unit_is_found_by_the_size_of_a_person(file, unit, factor):
    def times(match: re.Match[str]) -> str:
        return "OFFSET " + " ".join(f"{float(word) * factor:.9g}" for word in match[1].split())

    text = re.sub(r"OFFSET (.*)", times, TEXT).replace("0 95 0", f"0 {95 * factor:.9g} 0")
    clip = load(file(text))
    assert clip.root_position[0, 2] == pytest.approx(0.95, rel=1e-6)
    assert unit in axes.UNITS


@pytest.mark.parametrize("up", axes.AXES)
def test_the_axis_up_is_found_in_the_motion_and_the_body_faces_x(file, up):
    # The same body in a world with another axis up, the other two following around.
    relabel = np.roll(np.eye(3), "xyz".index(up[-1]) - 1, axis=0) * (-1 if up.startswith("-") else 1)
    relabel = relabel if np.linalg.det(relabel) > 0 else relabel * np.where(np.arange(3) == ("xyz".index(up[-1]) + 1) % 3, -1, 1)[:, None]
    assert np.allclose(relabel @ [0, 1, 0], (-1 if up.startswith("-") else 1) * np.eye(3)["xyz".index(up[-1])])

    def turned(match: re.Match[str]) -> str:
        return "OFFSET " + " ".join(f"{value + 0.0:g}" for value in relabel @ [float(word) for word in match[1].split()])

    place = " ".join(f"{value + 0.0:g}" for value in relabel @ [0, 95, 0])
    text = re.sub(r"OFFSET (.*)", turned, TEXT).replace("0 95 0 ", f"{place} ")
    assert np.allclose(positions(load(file(text))), positions(load(file(TEXT))), atol=1e-12)
    assert np.allclose(positions(bvh.read(file(text), up=up, scale="cm")), positions(load(file(TEXT))), atol=1e-12)


def test_what_was_found_is_said_once_and_can_be_overruled(file, caplog, heard, monkeypatch):
    monkeypatch.setattr(axes, "_said", set())
    with caplog.at_level(logging.INFO):
        load(file(TEXT))
        load(file(TEXT))
        clip = load(file(TEXT), scale=0.02, up="y")
    assert caplog.text.count("some.bvh: read as centimetres, y up, facing z (say otherwise: --scale, --up)") == 1
    assert caplog.text.count("read as") == 1
    assert clip.root_position[0, 2] == pytest.approx(1.9)
    assert clip.provenance.source == "some.bvh (units of 0.02 m, y up, facing z)"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"up": "w"}, "up: expected one of x, y, z, -x, -y, -z, found 'w'"),
        ({"scale": "cmm"}, "scale: expected metres in a unit of the file, or one of m, dm, cm"),
        ({"scale": -1.0}, "scale: expected metres in a unit of the file, found -1"),
        ({"clip": "a"}, "'clip' can be said of .pkl, .pickle, .joblib files only"),
    ],
)
def test_a_wrong_option_is_said(file, options, says):
    with pytest.raises(SettingError, match=re.escape(says)):
        load(file(TEXT), **options)


# ---------------------------------------------------------------------------------------------------------------------- writing


def test_any_skeleton_is_written_and_read_back(tmp_path):
    random = np.random.default_rng(1)
    names = ("pelvis", "left foot", "toe", "spine", "arm", "Head")
    skeleton = Skeleton(names, (-1, 0, 1, 0, 3, 3), np.vstack((np.zeros(3), random.normal(size=(5, 3)))))
    rotations = Rotation.random(5 * 6, random_state=2).as_quat(scalar_first=True).reshape(5, 6, 4)
    clip = MotionClip("any", skeleton, 29.97, random.normal(size=(5, 3)), rotations)
    for up, scale in (("y", "cm"), ("z", 1.0)):
        again = bvh.read(bvh.write(clip, tmp_path / "any.bvh", up=up, scale=scale), up=up, scale=scale)
        assert again.skeleton.names == clip.skeleton.names and again.frame_rate == pytest.approx(29.97, abs=1e-12)
        # which way the rest pose faces cannot be known of such a body; but not how it moves: distances are the same
        apart = [np.linalg.norm(p[:, :, None] - p[:, None], axis=-1) for p in (positions(again), positions(clip))]
        assert np.abs(apart[0] - apart[1]).max() < 1e-9


def test_shipped_and_smpl_like_clips_keep_their_joints_by_name(tmp_path):
    clip = load("walk")
    again = bvh.read(bvh.write(clip, tmp_path / "walk.bvh"))
    assert sorted(again.skeleton.names) == sorted(clip.skeleton.names)
    order = [again.skeleton.names.index(name) for name in clip.skeleton.names]
    assert np.abs(positions(again)[:, order] - positions(clip)).max() < 1e-9
    assert (1 - np.abs((again.rotations[:, order] * clip.rotations).sum(axis=-1))).max() < 1e-9


def test_a_frame_rate_of_numpys_is_written_as_a_number(tmp_path):
    clip = load("walk")
    again = bvh.read(bvh.write(replace(clip, frame_rate=np.float64(60.0)), tmp_path / "walk.bvh"))
    assert again.frame_rate == 60.0 and type(clip.frame_rate) is float


@pytest.mark.parametrize("seconds", ["2.500000", "4.000000", "10.00000"])
def test_fewer_than_half_a_frame_a_second_are_read(file, seconds):
    assert load(file(TEXT.replace("0.0333333", seconds))).frame_rate == pytest.approx(1 / float(seconds))


# -------------------------------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: "", "the file is empty"),
        (lambda t: '{"Loop": "wrap"}', "line 1: expected HIERARCHY, with which a BVH file begins, found '{\"Loop\": \"wrap\"}'"),
        (lambda t: HEAD, "line 34: the file ends, and there is no MOTION; is the file cut off?"),
        (lambda t: t[: t.index("JOINT Head")], "line 29: the file ends, and joint 'Hips' is not closed; is the file cut off?"),
        (lambda t: t.replace("JOINT Head", "JOINT Hips"), "line 29: joint 'Hips' is its own ancestor, a cycle"),
        (lambda t: t.replace("JOINT Head", "JOINT LeftFoot"), "line 29: joint 'LeftFoot' is there twice, first on line 10"),
        (lambda t: t.replace("MOTION", HEAD[10:] + "MOTION"), "line 35: found a second ROOT; split the file into one for each skeleton"),
        (lambda t: t.replace("  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n", ""), "'Hips' has no CHANNELS"),
        (lambda t: t.replace("    OFFSET 0 65 0\n", ""), "joint 'Head' has no OFFSET"),
        (lambda t: t.replace("OFFSET 0 65 0", "OFFSET 0 65"), "line 31: OFFSET: expected 3 numbers below 1e6, found '0 65'"),
        (lambda t: t.replace("OFFSET 0 65 0", "OFFSET 0 nan 0"), "line 31: OFFSET: expected 3 numbers below 1e6, found '0 nan 0'"),
        (lambda t: t.replace("CHANNELS 6", "CHANNELS 5"), "line 5: CHANNELS: expected 5 different channels, found 6"),
        (lambda t: t.replace("Xposition", "Wposition"), "line 5: expected a channel as Xposition or Zrotation, found 'Wposition'"),
        (lambda t: t.replace("Yposition", "Xposition"), "line 5: CHANNELS: expected 6 different channels"),
        (lambda t: t.replace("Frames: 2", "Frames: 3"), "expected 3 frames, found 2 lines of numbers; is the file cut off?"),
        (lambda t: t.replace("Frames: 2", "Frames: 0").replace(STILL + "\n", ""), "a motion needs at least 2 frames, found 0"),
        (lambda t: t.replace("Frames: 2", "Frames: many"), "line 36: expected a number of frames, found 'many'"),
        (lambda t: t.replace("0.0333333", "0"), "line 37: expected a frame time of .0001 to 10 s, found '0'"),
        (lambda t: t.replace("Frame Time: 0.0333333\n", ""), "line 37: expected 'Frame Time:', found '0 95 0"),
        (lambda t: t[:-4] + "\n", "line 39 (frame 1): expected 18 numbers, found 17"),
        (lambda t: t[:-4] + " nan\n", "line 39 (frame 1), column 17: expected a finite number below 1e6, found 'nan'"),
        (lambda t: t[:-4] + " 1e9\n", "line 39 (frame 1), column 17: expected a finite number below 1e6, found '1e9'"),
        (lambda t: t[:-4] + " 0,5\n", "line 39 (frame 1), column 17: expected a finite number below 1e6, found '0,5'"),
        (lambda t: t.replace("0.0333333", "9.9").replace("Frames: 2", "Frames: 400").replace(STILL, (STILL + "\n") * 199 + STILL),
         "expected a motion of at most an hour, found 3950.1 s"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(file, change, says):
    path = file(change(TEXT))
    with pytest.raises(MotionFormatError) as caught:
        load(path)
    assert says in str(caught.value) and str(caught.value).startswith(f"{path}") and "\n" not in str(caught.value)


def test_a_million_frames_of_many_joints_are_refused_in_one_line(file):
    joints = "".join(f"JOINT j{i} {{ OFFSET 0 1 0 CHANNELS 0 }}\n" for i in range(40))
    text = f"HIERARCHY ROOT a {{ OFFSET 0 0 0 CHANNELS 1 Xposition\n{joints}}}\nMOTION\nFrames: 1000000\nFrame Time: .001\n" + "1\n" * 10**6
    with pytest.raises(MotionFormatError, match="expected at most 16777216 rotations, found 1000000 frames of 41 joints; split the file"):
        load(file(text))


def test_text_of_other_systems_is_read(file):
    plain = load(file(TEXT))
    for text in (TEXT.replace("\n", "\r\n"), "\ufeff" + TEXT, TEXT.replace("\n{", " {").replace("Hips", "mixamorig:Hips"), TEXT.upper()):
        assert np.allclose(load(file(text)).root_position, plain.root_position)
    assert math.isclose(plain.frame_rate, 30.0)
