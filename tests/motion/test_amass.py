"""AMASS files: joints are where the body model has them, at any width; what is written reads back the same."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from mprl.errors import MotionFormatError, SettingError
from mprl.motion import SmplBody, load
from mprl.motion.body.joints import JOINTS
from mprl.motion.formats import amass
from mprl.motion.kinematics import forward_kinematics

FRAMES = 6


@pytest.fixture(scope="module")
def motion():
    """Random parameters of SMPL in a z-up world."""
    random = np.random.default_rng(0)
    return {
        "poses": random.normal(scale=0.4, size=(FRAMES, 72)), "trans": random.normal(size=(FRAMES, 3)), "betas": random.normal(size=10),
        "gender": np.array("neutral"), "mocap_framerate": np.array(120.0),
    }  # fmt: skip


@pytest.fixture
def save(tmp_path):
    def write(name: str = "walk_poses.npz", **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return write


def joints_of(clip) -> np.ndarray:
    return forward_kinematics(clip.skeleton, torch.tensor(clip.root_position), torch.tensor(clip.rotations))[0].numpy()


def joints_of_the_body(motion, pose) -> np.ndarray:
    """The body model's own forward pass, in the data's axes."""
    full = np.zeros((FRAMES, 72))
    full[:, : pose.shape[1]] = pose
    return (
        SmplBody.default().joints(torch.tensor(motion["betas"])[None], torch.tensor(full), torch.tensor(motion["trans"])).double().numpy()
    )


def test_joints_are_where_the_body_model_has_them(motion, save):
    # AMASS's world is ours: z up. The trap is the pelvis, which is at trans + J0(betas) and not at trans.
    clip = load(save(**motion))
    assert clip.skeleton.names == JOINTS and clip.frame_rate == 120 and clip.name == "walk"
    assert np.abs(joints_of(clip) - joints_of_the_body(motion, motion["poses"])).max() < 1e-5


@pytest.mark.parametrize(("width", "kept"), [(156, 66), (165, 66), (66, 66), (72, 72)])
def test_every_width_is_read_without_fingers_and_face(motion, save, width, kept):
    poses = np.random.default_rng(1).normal(scale=0.4, size=(FRAMES, width))
    clip = load(save(**motion | {"poses": poses}))
    assert np.abs(joints_of(clip) - joints_of_the_body(motion, poses[:, :kept])).max() < 1e-5


def test_stage_two_files_are_read(motion, save):
    poses, keys = motion["poses"], {key: value for key, value in motion.items() if key not in ("poses", "mocap_framerate")}
    parts = {"root_orient": poses[:, :3], "pose_body": poses[:, 3:66], "pose_hand": np.zeros((FRAMES, 90)), "mocap_frame_rate": 60}
    path = save("jump_stageii.npz", **keys, **parts, surface_model_type="smplx")
    clip = load(path)
    assert clip.frame_rate == 60 and clip.name == "jump"
    assert np.abs(joints_of(clip) - joints_of_the_body(motion, poses[:, :66])).max() < 1e-5


@pytest.mark.parametrize("width", [63, 69])
def test_smplx_s_own_names_are_read(motion, save, width):
    poses, keys = motion["poses"], {key: motion[key] for key in ("betas", "gender")}
    clip = load(save("wham.npz", **keys, global_orient=poses[:, :3], body_pose=poses[:, 3 : 3 + width], transl=motion["trans"], fps=30))
    assert np.abs(joints_of(clip) - joints_of_the_body(motion, poses[:, : 3 + width])).max() < 1e-5
    by_joint = load(save(**motion | {"poses": poses.reshape(FRAMES, 24, 3)}))
    assert np.array_equal(by_joint.rotations, load(save(**motion)).rotations)


def test_a_y_up_world_is_turned(motion, save):
    clip = load(save(**motion), up="y")
    expected = joints_of_the_body(motion, motion["poses"])[..., [2, 0, 1]]
    assert np.abs(joints_of(clip) - expected).max() < 1e-5


def test_another_body_s_bones_are_taken_where_it_is_given(motion, save):
    tall = SmplBody.default().arrays()
    body = SmplBody(tall | {"v_template": 1.1 * tall["v_template"]})
    clip, plain = load(save(**motion), body=body), load(save(**motion))
    assert not np.allclose(clip.skeleton.offsets, plain.skeleton.offsets, atol=1e-3)
    expected = body.joints(torch.tensor(motion["betas"])[None], torch.tensor(motion["poses"]), torch.tensor(motion["trans"]))
    assert np.abs(joints_of(clip) - expected.double().numpy()).max() < 1e-5


@pytest.mark.parametrize(
    ("gender", "read"),
    [("female", "female"), (b"male", "male"), (np.array([b"FEMALE"]), "female"), (np.str_("x"), "neutral"), (3, "neutral")],
)
def test_gender_as_text_or_bytes(motion, save, gender, read):
    assert load(save(**motion | {"gender": np.asarray(gender)})).gender == read


@pytest.mark.parametrize("shape", [(10,), (16,), (1, 10), (FRAMES, 10), (300,)])
def test_betas_in_any_usual_shape(motion, save, shape):
    betas = np.broadcast_to(np.arange(shape[-1]) * 0.1, shape)
    clip = load(save(**motion | {"betas": betas}))
    assert clip.betas.tolist() == pytest.approx((np.arange(shape[-1]) * 0.1)[: SmplBody.default().num_betas].tolist())


def test_a_motion_without_betas_has_the_mean_body(motion, save):
    clip = load(save(**{key: value for key, value in motion.items() if key not in ("betas", "gender")}))
    assert clip.betas is None and clip.gender == "neutral"
    assert np.array_equal(clip.skeleton.offsets, SmplBody.default().skeleton().offsets)


@pytest.mark.parametrize("width", [72, 156])
def test_what_is_written_reads_back_the_same(motion, save, tmp_path, width):
    poses = motion["poses"] if width == 72 else np.concatenate((motion["poses"][:, :66], np.zeros((FRAMES, 90))), axis=1)
    clip = load(save(**motion | {"poses": poses}))
    path = amass.write(clip, tmp_path / "again.npz")
    with np.load(path) as written:
        assert written["poses"].shape == (FRAMES, width)
        assert np.abs(written["trans"] - motion["trans"]).max() < 1e-9
        assert np.abs(written["poses"] - poses).max() < 1e-9  # no rotation here comes near π, where two vectors mean the same
        assert written["mocap_framerate"] == written["mocap_frame_rate"] == 120
    again = load(path)
    assert np.abs(again.root_position - clip.root_position).max() < 1e-9
    assert (1 - np.abs((again.rotations * clip.rotations).sum(axis=-1))).max() < 1e-9
    assert np.array_equal(again.betas, clip.betas) and again.gender == clip.gender and again.frame_rate == clip.frame_rate


def test_only_smpl_s_joints_can_be_written(tmp_path):
    with pytest.raises(SettingError, match="walk: its joints are not SMPL's; retarget it first"):
        amass.write(load("walk"), tmp_path / "walk.npz")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"poses": np.zeros((FRAMES, 100))}, 'key "poses": expected (frames, columns) with columns 72 (SMPL), 156 (SMPL-H), 165 (SMPL-X)'),
        ({"poses": np.zeros(72)}, 'key "poses": expected (frames, columns)'),
        ({"poses": np.zeros((FRAMES, 72, 1))}, 'key "poses": expected (frames, columns)'),
        ({"poses": np.zeros((0, 72)), "trans": np.zeros((0, 3))}, "a motion needs at least 2 frames, found 0"),
        ({"poses": np.full((FRAMES, 72), np.nan)}, 'key "poses", frame 0: expected finite numbers, found NaN or infinity'),
        ({"poses": np.full((FRAMES, 72), "a")}, 'key "poses": expected at most'),
        ({"trans": np.zeros((FRAMES + 1, 3))}, 'key "trans": expected (6, 3), found (7, 3)'),
        ({"trans": np.zeros((FRAMES, 3)) * 1j}, 'key "trans": expected numbers or text, found complex128'),
        ({"trans": None}, 'key "trans": expected numbers or text, found object'),
        ({"mocap_framerate": np.array(0)}, 'key "mocap_framerate": expected frames per second, found 0'),
        ({"mocap_framerate": np.array("fast")}, 'key "mocap_framerate": expected at most'),
        ({"mocap_frame_rate": np.array(60.0)}, "two frame rates: mocap_framerate 120, mocap_frame_rate 60"),
        ({"betas": np.zeros(0)}, "expected 1 to 400 betas (10 or 16 in most files) below 100, found shape (0,)"),
        ({"betas": np.zeros(401)}, "expected 1 to 400 betas (10 or 16 in most files) below 100, found shape (401,)"),
        ({"betas": np.zeros((3, 10))}, "expected 1 to 400 betas (10 or 16 in most files) below 100, found shape (3, 10)"),
        ({"betas": np.random.default_rng(0).normal(size=(FRAMES, 10))}, "betas (10 or 16 in most files) below 100, found shape (6, 10)"),
        ({"betas": np.full(10, np.inf)}, "below 100, found inf"),
        ({"betas": np.full(10, 1e300)}, "below 100, found 1e+300"),
        ({"mocap_framerate": np.array(1e-3)}, "expected a motion of at most an hour, found 5000 s"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(motion, save, change, says):
    path = save(**motion | change)
    with pytest.raises(MotionFormatError) as caught:
        load(path)
    assert says in str(caught.value) and str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["trans", "mocap_framerate"])
def test_what_is_missing_is_named(motion, save, missing):
    with pytest.raises(MotionFormatError, match=re.escape(missing)):
        load(save(**{key: value for key, value in motion.items() if key != missing}))


def test_python_objects_in_other_keys_do_not_matter(motion, save):
    # Files of SMPL-X's stage II hold a dictionary of marker vertices: it is not read.
    assert load(save(**motion, markers_latent_vids=np.array({"a": 1}, dtype=object))).num_frames == FRAMES


def test_a_million_frames_are_refused_in_one_line(motion, save):
    path = save(**motion | {"poses": np.zeros((10**6, 66), bool), "trans": np.zeros((10**6, 3), bool)})
    with pytest.raises(MotionFormatError, match=r"expected a motion of at most an hour, found 8333\.33 s"):
        load(path)


def test_an_unknown_npz_says_what_it_holds(save):
    with pytest.raises(MotionFormatError, match=r'key "format": expected "mprl-motion"; this \.npz holds a, b'):
        load(save(a=np.zeros(2), b=np.zeros(2)))
    with pytest.raises(MotionFormatError, match=r'expected "poses", or "root_orient" and "pose_body"; this \.npz holds fps, pose_body'):
        load(save(pose_body=np.zeros((2, 63)), trans=np.zeros((2, 3)), fps=30))
