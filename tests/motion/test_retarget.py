"""A motion looks the same on another body: limbs point where they pointed, feet stand on the floor and stay there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mprl.errors import MprlError, SettingError, UnknownNameError
from mprl.motion import HUMANOID, MotionClip, Skeleton, SmplBody, SmplCharacter, load, load_character
from mprl.motion.body import joints as smpl
from mprl.motion.contacts import body_clearance
from mprl.motion.kinematics import forward_kinematics
from mprl.motion.retarget import hands, names, report, retarget, retargeted, solver, target_of
from mprl.motion.retarget.transfer import transfer

RIGS = {
    "mixamo": "Hips Spine Spine1 Spine2 Neck Head LeftShoulder LeftArm LeftForeArm LeftHand RightShoulder RightArm RightForeArm RightHand "
    "LeftUpLeg LeftLeg LeftFoot LeftToeBase RightUpLeg RightLeg RightFoot RightToeBase",
    "lafan1": "Hips LeftUpLeg LeftLeg LeftFoot LeftToe RightUpLeg RightLeg RightFoot RightToe Spine Spine1 Spine2 Neck Head LeftShoulder "
    "LeftArm LeftForeArm LeftHand RightShoulder RightArm RightForeArm RightHand",
    "cmu_bvh": "Hips LHipJoint LeftUpLeg LeftLeg LeftFoot LeftToeBase RHipJoint RightUpLeg RightLeg RightFoot RightToeBase LowerBack Spine "
    "Spine1 Neck Neck1 Head LeftShoulder LeftArm LeftForeArm LeftHand RightShoulder RightArm RightForeArm RightHand",
    "cmu": "root lhipjoint lfemur ltibia lfoot ltoes rhipjoint rfemur rtibia rfoot rtoes lowerback upperback thorax lowerneck upperneck "
    "head lclavicle lhumerus lradius lwrist rclavicle rhumerus rradius rwrist",
    "rokoko": "Hips LeftThigh LeftShin LeftFoot LeftToe RightThigh RightShin RightFoot RightToe Spine1 Spine2 Spine3 Spine4 Neck Head "
    "LeftShoulder LeftArm LeftForeArm LeftHand RightShoulder RightArm RightForeArm RightHand",
    "smpl": " ".join(smpl.JOINTS),
    "deepmimic": " ".join(HUMANOID.body_names),
}
FREE_BODY = SmplBody.default().skeleton()


def limbs(clip: MotionClip) -> dict[str, np.ndarray]:
    """World directions of the long bones, (T, 3) each, by SMPL's names."""
    known = names.find(clip.skeleton.names)
    places, _ = forward_kinematics(clip.skeleton, torch.tensor(clip.root_position), torch.tensor(clip.rotations))
    at = {joint: places[:, clip.skeleton.names.index(name)].numpy() for joint, name in known.items()}
    bones = {}
    for side in ("left", "right"):
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            bone = at[f"{side}_{b}"] - at[f"{side}_{a}"]
            bones[f"{side}_{a}"] = bone / np.linalg.norm(bone, axis=1, keepdims=True)
    return bones


def apart(a: MotionClip, b: MotionClip) -> float:
    """Greatest mean angle between corresponding bones, degrees."""
    first, second = limbs(a), limbs(b)
    return max(float(np.degrees(np.arccos(np.clip((first[j] * second[j]).sum(axis=1), -1, 1))).mean()) for j in first)


def waving(skeleton: Skeleton, frames: int = 20, seed: int = 0) -> MotionClip:
    """Every joint swings by up to half a radian."""
    draw, t = np.random.default_rng(seed), np.linspace(0, 1, frames)
    rotations = [
        Rotation.from_rotvec(np.outer(np.sin(6 * t + draw.uniform(0, 6)), draw.normal(size=3) * 0.3)).as_quat(scalar_first=True)
        for _ in skeleton.names
    ]
    position = np.stack((t, 0.1 * t, np.full(frames, 0.95)), axis=1)
    return MotionClip("waving", skeleton, 30.0, position, np.stack(rotations, axis=1))


# ------------------------------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize("rig", RIGS)
@pytest.mark.parametrize("prefix", ["", "mixamorig:", "Character1_"])
def test_common_rigs_are_recognised_under_any_prefix(rig, prefix):
    given = tuple(prefix + name for name in RIGS[rig].split())
    plain = names.find(tuple(RIGS[rig].split()))
    assert names.find(given) == {joint: prefix + name for joint, name in plain.items()}
    assert {f"{s}_{j}" for s in ("left", "right") for j in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")} <= set(plain)
    assert {"pelvis", "spine3", "head"} <= set(plain)
    sides = {"left": "l", "right": "r"}
    for joint, name in plain.items():
        side = joint.partition("_")[0]
        assert side not in sides or name.lower().startswith((side, sides[side]))


def test_the_top_of_the_spine_carries_the_arms():
    tops = {"mixamo": "Spine2", "lafan1": "Spine2", "cmu_bvh": "Spine1", "cmu": "thorax", "rokoko": "Spine4"}
    for rig, top in tops.items():
        assert names.find(tuple(RIGS[rig].split()))["spine3"] == top


def test_unknown_names_say_what_is_closest_and_which_file_to_edit():
    with pytest.raises(SettingError) as caught:
        names.find(("Hips", "LftUpLeg", "LeftLeg", "LeftFoot", "RightUpLeg", "RightLeg", "RightFoot", "Spine"), whose="my.bvh")
    said = str(caught.value)
    assert said.startswith("my.bvh: which joint is left_hip? the closest known rig is") and "did you mean 'LftUpLeg'?" in said
    assert ".toml" in said and "\n" not in said
    with pytest.raises(SettingError, match="which joint is left_hip, right_hip"):
        names.find(("a", "b"))


def test_the_user_s_map_overrides_the_guess(tmp_path):
    file = tmp_path / "mine.toml"
    given = tuple("Lft" + name[4:] if name == "LeftUpLeg" else name for name in RIGS["mixamo"].split())
    for spelled in ('"LftUpLeg"', '["LeftThigh", "LftUpLeg"]'):  # a file that has just been edited is read anew
        file.write_text(f'[joints]\nleft_hip = {spelled}\n[target]\nhead = "neck"\n')
        source, target = names.read(file)
        assert names.find(given, source)["left_hip"] == "LftUpLeg" and target == {"head": ("neck",)}


def test_one_joint_cannot_be_two():
    with pytest.raises(SettingError, match="mine: 'LeftLeg' cannot be both left_knee and left_ankle; say which in the map of joints"):
        names.find(tuple(RIGS["mixamo"].split()), {"left_ankle": "LeftLeg"}, "mine")


@pytest.mark.parametrize("flat", [lambda offsets: 0 * offsets, lambda offsets: offsets * [1, 0, 1], lambda offsets: offsets * [0, 1, 0]],
                         ids=["nothing", "no width", "no height"])  # fmt: skip
@pytest.mark.parametrize("whose", ["source", "target"])
def test_a_rest_pose_without_sides_or_height_is_refused_in_one_line(flat, whose):
    skeleton = Skeleton(FREE_BODY.names, FREE_BODY.parents, flat(FREE_BODY.offsets))
    clip, target = waving(skeleton if whose == "source" else FREE_BODY), skeleton if whose == "target" else FREE_BODY
    with pytest.raises(SettingError, match="the rest pose has its hips at one place, no height or no legs") as caught:
        retarget(clip, target)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [("[joints]\nleft_hop = 'a'", "did you mean 'left_hip'"), ("[jonts]", "did you mean 'joints'"),
     ("[joints]\nhead = 3", "a name or a list"), ("[joints", "expected TOML"), ("[joints]\nhead = 'nowhere'", "no joint named 'nowhere'")],
)  # fmt: skip
def test_a_broken_map_is_one_line(tmp_path, text, says):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(MprlError, match=says) as caught:
        retarget(load("walk"), HUMANOID, file)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------------------------------- rotations


def test_to_its_own_skeleton_a_motion_stays_what_it_is():
    clip = waving(FREE_BODY)
    made = retarget(clip, FREE_BODY, clean=False)
    turned = Rotation.from_quat(made.rotations.reshape(-1, 4), scalar_first=True).inv() * Rotation.from_quat(
        clip.rotations.reshape(-1, 4), scalar_first=True
    )
    assert turned.magnitude().max() < 1e-6
    np.testing.assert_allclose(np.diff(made.root_position, axis=0), np.diff(clip.root_position, axis=0), atol=1e-9)


@pytest.mark.parametrize("angle", [0.7, np.pi / 2])
def test_another_rest_pose_makes_no_difference(angle):
    """The same body with its arms let down at rest, and its motion written for that rest pose: R' = R D^-1 in the world."""
    clip = waving(FREE_BODY)
    index = {name: FREE_BODY.names.index(name) for name in FREE_BODY.names}
    offsets, rotations = FREE_BODY.offsets.copy(), clip.rotations.copy()
    for side, sign in (("left", -1.0), ("right", 1.0)):
        down = Rotation.from_rotvec([sign * angle, 0, 0])
        arm = [index[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist", "hand")]
        offsets[arm[1:]] = down.apply(offsets[arm[1:]])
        for place, joint in enumerate(arm):
            turned = Rotation.from_quat(rotations[:, joint], scalar_first=True)
            turned = (down if place else Rotation.identity()) * turned * down.inv()
            rotations[:, joint] = turned.as_quat(scalar_first=True)
    lowered = replace(clip, skeleton=replace(FREE_BODY, offsets=offsets), rotations=rotations)
    assert apart(lowered, clip) < 1e-4
    made = retarget(lowered, FREE_BODY, clean=False)
    assert apart(made, clip) < 1e-4


def test_a_rig_that_faces_another_way_at_rest_moves_the_same():
    clip = waving(FREE_BODY)
    turn = Rotation.from_rotvec([0, 0, np.pi / 2])
    rotations = clip.rotations.copy()
    for joint in range(24):
        turned = Rotation.from_quat(rotations[:, joint], scalar_first=True) * turn.inv()
        rotations[:, joint] = (turned if joint == 0 else turn * turned).as_quat(scalar_first=True)
    aside = replace(clip, skeleton=replace(FREE_BODY, offsets=turn.apply(FREE_BODY.offsets.copy())), rotations=rotations)
    assert apart(aside, clip) < 1e-4
    made = retarget(aside, FREE_BODY, clean=False)
    assert apart(made, clip) < 1e-4
    np.testing.assert_allclose(made.root_position, retarget(clip, FREE_BODY, clean=False).root_position, atol=1e-6)


def test_a_body_of_twice_the_size_takes_steps_of_twice_the_length():
    clip = load("walk")
    large = replace(FREE_BODY, offsets=2 * FREE_BODY.offsets)
    small, great = (retarget(clip, body, clean=False) for body in (FREE_BODY, large))
    np.testing.assert_allclose(np.diff(great.root_position, axis=0), 2 * np.diff(small.root_position, axis=0), atol=1e-9)
    np.testing.assert_allclose(great.rotations, small.rotations, atol=1e-9)


# ---------------------------------------------------------------------------------------------------------- from body to body


@pytest.mark.parametrize("name", ["walk", pytest.param("jump", marks=pytest.mark.slow)])
def test_limbs_point_where_they_did_and_knees_bend_about_their_hinges(name):
    clip = load(name)
    there = retarget(clip, FREE_BODY)
    back = retarget(there, HUMANOID)
    assert there.skeleton.names == smpl.JOINTS and back.skeleton.names == HUMANOID.body_names
    assert apart(clip, there) < 7 and apart(clip, back) < 5  # the free body has other thighs, and its feet stand too
    for hinge in ("right_knee", "left_knee", "right_elbow", "left_elbow"):
        vector = Rotation.from_quat(back.rotations[:, HUMANOID.body_names.index(hinge)], scalar_first=True).as_rotvec()
        axis = HUMANOID.model.joint(hinge).axis
        assert np.abs(vector - np.outer(vector @ axis, axis)).max() < 1e-6


def test_an_elbow_that_only_bends_still_reaches_every_direction():
    """Upper arms turn about themselves until the hinge lies across, whatever the source's elbow was bent about."""
    clip = waving(FREE_BODY, frames=40)
    made = retarget(clip, HUMANOID)
    first, second = limbs(clip), limbs(made)
    for joint in ("left_shoulder", "left_elbow", "right_shoulder", "right_elbow"):
        assert np.degrees(np.arccos(np.clip((first[joint] * second[joint]).sum(axis=1), -1, 1))).mean() < 1, joint


def test_a_motion_of_smpl_has_smpl_s_order_of_joints():
    assert retarget(load("jump"), SmplCharacter(), clean=False).skeleton.names == smpl.JOINTS


def test_a_cycle_stays_a_cycle():
    clip = load("walk")
    made = retarget(retarget(clip, FREE_BODY), HUMANOID)
    assert made.loop == "wrap"
    assert np.abs(np.abs((made.rotations[0] * made.rotations[-1]).sum(axis=-1)) - 1).max() < 1e-6
    assert made.root_position[0, 2] == pytest.approx(made.root_position[-1, 2], abs=1e-3)
    np.testing.assert_allclose(made.cycle_displacement, clip.cycle_displacement, rtol=0.02, atol=5e-3)


@pytest.mark.parametrize("body", [HUMANOID, FREE_BODY], ids=["humanoid", "free body"])
def test_sliding_feet_stand_still_and_sunken_ones_are_lifted(body):
    """Our walk, in which nothing slides, sinks or floats, with all three added."""
    clip = load("walk")
    t = np.arange(clip.num_frames) / clip.frame_rate
    wrong = np.stack((0.1 * t, 0.04 * np.sin(6 * t), 0.06 * np.cos(2 * np.pi * t / t[-1])), axis=1)
    target = target_of(body)
    made = retargeted(replace(clip, root_position=clip.root_position + wrong, contacts=None), target)
    before, after = report.compare(made, target)
    assert before.sliding > 6 and before.penetration > 10
    assert after.sliding < 2.5 and after.penetration < 1.5
    assert after.jitter < 2 * before.jitter
    assert report.bearing(made.clip, target).mean() > 0.3  # it does stand


def test_hands_on_the_floor_bend_at_the_wrist_and_others_do_not():
    """Upside down with the arms stretched towards the floor, the wrists 6 cm above it, and once more 2 m above it."""
    character = SmplCharacter()
    target = target_of(character)
    rotations = np.zeros((2, 24, 4))
    rotations[..., 0] = 1
    rotations[:, 0] = [0, 1, 0, 0]
    for side, sign in (("left", 1), ("right", -1)):
        rotations[:, character.skeleton.names.index(f"{side}_shoulder")] = Rotation.from_rotvec([sign * np.pi / 2, 0, 0]).as_quat(
            scalar_first=True
        )
    clip = MotionClip("handstand", character.skeleton, 30.0, np.zeros((2, 3)), rotations)
    wrists = [target.roles["left_wrist"], target.roles["right_wrist"]]
    low = target.poses(character.to_qpos(clip)).position[:, wrists, 2].min()
    clip = replace(clip, root_position=np.array([[0, 0, 0.06 - low], [0, 0, 2.06 - low]]))
    qpos = character.to_qpos(clip)
    wanted = transfer(clip, names.find(clip.skeleton.names), target)
    straight, made = solver.direct(target, wanted), solver.direct(target, hands.bent(target, wanted, qpos))
    straight[:, :3], made[:, :3] = qpos[:, :3], qpos[:, :3]
    hand = [body - 1 for body in range(1, 25) if character.body_names[body - 1].endswith(("wrist", "hand"))]
    assert body_clearance(character, straight.numpy())[0, hand].min() < -0.05
    assert body_clearance(character, made.numpy())[0, hand].min() > -0.03
    assert torch.equal(straight[1], made[1])


LIMITED = """<mujoco><compiler angle="degree"/><worldbody><body name="pelvis" pos="0 0 1"><freejoint/><geom size=".1"/>
  <body name="torso" pos="0 0 .2"><joint name="torso" type="ball" range="0 20" limited="true"/><geom size=".1"/>
    <body name="head" pos="0 0 .3"><joint name="head" type="ball"/><geom size=".1"/></body></body>
  {legs}</body></worldbody></mujoco>"""
LEG = """<body name="{s}_thigh" pos="0 {y} 0"><joint name="{s}_hip_z" axis="0 0 1"/><joint name="{s}_hip_x" axis="1 0 0"/>
  <joint name="{s}_hip_y" axis="0 1 0"/><geom type="capsule" size=".05" fromto="0 0 -.1 0 0 -.3"/>
  <body name="{s}_shin" pos="0 0 -.4" quat="1 0 0 0"><joint name="{s}_knee" axis="0 1 0" range="5 40" limited="true"/>
    <geom type="capsule" size=".05" fromto="0 0 -.1 0 0 -.3"/>
    <body name="{s}_foot" pos="0 0 -.4"><joint name="{s}_ankle" axis="0 1 0"/><geom type="box" size=".1 .04 .02" pos=".05 0 -.03"/></body>
  </body></body>"""


def test_limits_of_a_robot_are_kept(tmp_path):
    file = tmp_path / "robot.xml"
    file.write_text(LIMITED.format(legs=LEG.format(s="left", y=".1") + LEG.format(s="right", y="-.1")))
    robot = load_character(file)
    made = retarget(load("jump"), robot)
    qpos = robot.to_qpos(made).numpy()
    for side in ("left", "right"):
        knee = np.degrees(qpos[:, robot.model.joint(f"{side}_knee").qposadr[0]])
        assert knee.min() > 5 - 1e-3 and knee.max() < 40 + 1e-3 and np.ptp(knee) > 20  # it bends as far as it may
    quality, before = report.measure(made, target_of(robot)), report.measure(retarget(load("jump"), robot, clean=False), target_of(robot))
    assert quality.jitter < 2 * before.jitter  # chains of hinges do not jump from one answer to another
    assert quality.excess < 1e-3 and quality.violations == 0 and quality.penetration < 1.5
    assert before.violations == 0


@pytest.mark.slow
@pytest.mark.parametrize(("body", "first"), [(HUMANOID, 0), (SmplCharacter(), 1)], ids=["humanoid", "smpl"])
def test_every_recorded_motion_can_be_retargeted(mocap_folder, body, first):
    """To one body or the other, in turn."""
    target = target_of(body)
    files = [*sorted(mocap_folder.glob("humanoid3d_*.txt")), *sorted((mocap_folder.parent / "bvh").glob("*.bvh"))]
    for file in files[first::2]:
        clip = load(file)
        made = retargeted(clip, target)
        before, after = report.compare(made, target)
        assert after.penetration < 2 and after.violations == 0, file.name
        assert after.sliding < before.sliding + 0.3, file.name
        assert apart(clip, made.clip) < 8 and after.jitter < 1.6 * before.jitter, file.name


# ----------------------------------------------------------------------------------------------------------------------- report


def standing(velocity=(0.0, 0.0, 0.0), sunk: float = 0.0, frames: int = 31) -> MotionClip:
    """The humanoid in its T-pose on the floor, moved as a whole."""
    rotations = np.zeros((frames, 15, 4))
    rotations[..., 0] = 1
    position = np.outer(np.arange(frames) / 30, velocity) + [0, 0, 0.421546 + 0.40987 + 0.05 - sunk]
    return MotionClip("standing", HUMANOID.skeleton, 30.0, position, rotations)


def test_what_is_measured_has_known_values():
    target = target_of(HUMANOID)
    still = report.measure(standing(), target)
    assert (still.penetration, still.sliding, still.jitter, still.violations) == pytest.approx((0, 0, 0, 0), abs=1e-6)
    assert report.measure(standing((0.3, 0, 0)), target).sliding == pytest.approx(10)  # .3 m/s is 10 mm in 1/30 s
    assert report.measure(standing(sunk=0.02), target).penetration == pytest.approx(20)
    cubic = standing()
    t = np.arange(31) / 30
    shaken = replace(cubic, root_position=cubic.root_position + np.outer(t**3, [0, 0, 0.5]))
    assert report.measure(shaken, target).jitter == pytest.approx(3.0)  # the third derivative of t³ / 2


def test_another_skeleton_s_motion_is_refused():
    with pytest.raises(SettingError, match="retarget it first"):
        report.measure(standing(), target_of(FREE_BODY))
    with pytest.raises(UnknownNameError, match="no joint named 'hat'"):
        retarget(standing(), FREE_BODY, {"head": "hat"})
