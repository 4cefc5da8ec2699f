"""The clips that ship with the package move as mechanics and people do, and are what the package's own script makes."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from scipy.optimize import nnls

from mprl.motion import HUMANOID, MotionClip, load, motions
from mprl.motion.clips import jump as jump_maker
from mprl.motion.clips.make import CLIPS, SKETCHES
from mprl.motion.clips.pose import dynamics
from mprl.motion.contacts import body_clearance

GRAVITY = 9.81
DRAWN = [name for name in CLIPS if name not in SKETCHES]  # frame by frame, not by optimisation
MIRROR = np.array([1.0, -1.0, 1.0, -1.0])


@pytest.fixture(scope="module")
def walk() -> MotionClip:
    return load("walk")


@pytest.fixture(scope="module")
def jump() -> MotionClip:
    return load("jump")


def qpos(clip: MotionClip) -> np.ndarray:
    return HUMANOID.to_qpos(clip).numpy()


def sole_corners(clip: MotionClip) -> np.ndarray:
    """Corners of the soles, (T, 2 feet, 4, 3) m."""
    model, data = HUMANOID.model, mujoco.MjData(HUMANOID.model)
    signs = np.array([[x, y, -1] for x in (-1, 1) for y in (-1, 1)])
    corners = np.empty((clip.num_frames, 2, 4, 3))
    for t, pose in enumerate(qpos(clip)):
        data.qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        for foot, name in enumerate(HUMANOID.feet):
            geom = model.geom(name).id
            corners[t, foot] = data.geom_xpos[geom] + (signs * model.geom_size[geom]) @ data.geom_xmat[geom].reshape(3, 3).T
    return corners


def distance_to_hull(point: np.ndarray, corners: np.ndarray) -> float:
    """How far a point lies outside the convex hull of others, m."""
    one = 1e3  # weight of the constraint that the shares sum to 1
    shares, _ = nnls(np.vstack((corners.T, np.full(len(corners), one))), np.append(point, one))
    return float(np.linalg.norm(shares @ corners - point))


def knee_degrees(clip: MotionClip, side: str) -> np.ndarray:
    return -np.degrees(qpos(clip)[:, HUMANOID.model.joint(f"{side}_knee").qposadr[0]])


# --- all ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWN)
def test_the_script_makes_what_is_shipped(name: str) -> None:
    made, shipped = CLIPS[name](), load(name)
    np.testing.assert_allclose(made.root_position, shipped.root_position, atol=1e-9)
    np.testing.assert_allclose(made.rotations, shipped.rotations, atol=1e-9)
    assert (made.contacts == shipped.contacts).all()
    assert (made.frame_rate, made.loop, made.provenance) == (shipped.frame_rate, shipped.loop, shipped.provenance)


@pytest.mark.parametrize("name", motions())
def test_shipped_clips_are_small_and_say_where_they_come_from(name: str) -> None:
    assert motions()[name].stat().st_size < 120e3
    provenance = load(name).provenance
    assert provenance.licence == "Apache-2.0"
    assert provenance.author and provenance.source == "made by mprl.motion.clips.make"


@pytest.mark.parametrize("name", motions())
def test_nothing_sinks_into_the_floor(name: str) -> None:
    assert body_clearance(HUMANOID, qpos(load(name))).min() > -1e-4


@pytest.mark.parametrize("name", DRAWN)
def test_a_foot_is_labelled_as_bearing_exactly_when_it_touches_the_floor(name: str) -> None:
    clip = load(name)
    height = sole_corners(clip)[..., 2].min(axis=-1)
    assert height[clip.contacts].max() < 1e-4
    # the frames next to a touch are millimetres high
    inner = ~clip.contacts & np.roll(~clip.contacts, 1, axis=0) & np.roll(~clip.contacts, -1, axis=0)
    assert np.min(height[inner], initial=1.0) > 1e-3


@pytest.mark.parametrize("name", DRAWN)
def test_feet_on_the_floor_roll_but_do_not_slide(name: str) -> None:
    """Between two frames on the floor some corner of the sole is the one that the foot stands on or rolls about: it stays."""
    clip = load(name)
    corners = sole_corners(clip)
    step = np.linalg.norm(np.diff(corners, axis=0), axis=-1)
    down = corners[..., 2] < 1e-4
    both_down = np.where(down[1:] & down[:-1], step, np.inf).min(axis=-1)
    bears = clip.contacts[1:] & clip.contacts[:-1]
    assert both_down[bears].sum() < 1e-3  # m, of both feet together, over the whole clip


@pytest.mark.parametrize(("name", "limit"), [("walk", 8.0), ("jump", 11.0)])
def test_joints_are_no_faster_than_a_persons(name: str, limit: float) -> None:
    # knees reach about 7 rad/s in walking (Winter 1991) and 15 in jumping (Bobbert & van Ingen Schenau 1988)
    assert np.abs(dynamics(load(name)).qvel[:, 6:]).max() < limit


# --- walk ---------------------------------------------------------------------------------------------------------------------


def test_walk_is_a_persons_walk(walk: MotionClip) -> None:
    speed = walk.cycle_displacement / walk.duration
    assert 1.0 < speed[0] < 1.4
    assert speed[1] == 0
    bob, sway = np.ptp(walk.root_position[:, 2]), np.ptp(walk.root_position[:, 1])
    assert 0.02 < bob < 0.05
    assert 0.02 < sway < 0.07
    knee = knee_degrees(walk, "right")
    assert 50 < knee.max() < 70
    assert 5 < knee.min() < 15  # bent at every frame: a straight knee snaps
    double_support = walk.contacts[:-1].all(axis=1).mean()
    assert 0.2 < double_support < 0.26
    assert walk.contacts.any(axis=1).all()


def test_walk_swings_its_arms_against_its_legs(walk: MotionClip) -> None:
    data = mujoco.MjData(HUMANOID.model)
    ahead = []
    for pose in qpos(walk):
        data.qpos[:] = pose
        mujoco.mj_kinematics(HUMANOID.model, data)
        ahead.append([data.body(f"right_{end}").xpos[0] - data.body(f"left_{end}").xpos[0] for end in ("wrist", "ankle")])
    assert np.corrcoef(np.array(ahead).T)[0, 1] < -0.8


def test_walk_repeats_without_a_seam(walk: MotionClip) -> None:
    np.testing.assert_allclose(walk.root_position[-1] - walk.root_position[0], walk.cycle_displacement, atol=1e-9)
    np.testing.assert_allclose(walk.rotations[-1], walk.rotations[0], atol=1e-9)
    # dynamics() treats the first frame of a cycle as following its last: no joint is jerked harder there than elsewhere
    torque = np.abs(dynamics(walk).torque)
    assert (torque[0] <= 1.01 * torque[1:-1].max(axis=0) + 1e-6).all()


def test_left_does_what_right_did_half_a_cycle_before(walk: MotionClip) -> None:
    half = (walk.num_frames - 1) // 2
    np.testing.assert_allclose(
        walk.root_position[half:] * [1, -1, 1] - walk.cycle_displacement / 2, walk.root_position[: half + 1], atol=1e-9
    )
    for joint, name in enumerate(HUMANOID.body_names):
        other = HUMANOID.body_names.index(
            name.translate(str.maketrans("", "")).replace("right", "?").replace("left", "right").replace("?", "left")
        )
        later, mirrored = walk.rotations[half:, other], walk.rotations[: half + 1, joint] * MIRROR
        assert np.abs((later * mirrored).sum(axis=-1)).min() > 1 - 1e-12


def test_walk_clears_the_floor_in_swing(walk: MotionClip) -> None:
    height = sole_corners(walk)[:-1, 0, :, 2].min(axis=-1)
    swing = height[~walk.contacts[:-1, 0]]
    middle = swing[len(swing) // 4 : -len(swing) // 4]
    assert middle.min() > 0.015  # people clear it by 1 to 2 cm at the least (Winter 1992)


def test_walk_pushes_the_floor_within_its_feet(walk: MotionClip) -> None:
    asked = dynamics(walk)
    assert (asked.force[:, 2] > 0.5 * 45 * GRAVITY).all()
    assert (np.hypot(asked.force[:, 0], asked.force[:, 1]) < 0.4 * asked.force[:, 2]).all()  # friction .9
    outside = [
        distance_to_hull(point, corners[corners[:, 2] < 0.003, :2])
        for point, corners in zip(asked.zero_moment_point, sole_corners(walk).reshape(-1, 8, 3), strict=True)
    ]
    assert np.max(outside) < 0.005


# --- jump ---------------------------------------------------------------------------------------------------------------------


def flight(jump: MotionClip) -> np.ndarray:
    return ~jump.contacts.any(axis=1)


def test_jump_flies_as_gravity_says(jump: MotionClip) -> None:
    com = dynamics(jump).com[flight(jump)]
    time = np.arange(len(com)) / jump.frame_rate
    parabola = np.polyfit(time, com, 2)
    np.testing.assert_allclose(2 * parabola[0], [0, 0, -GRAVITY], atol=0.01)
    assert np.abs(com - np.stack([np.polyval(parabola[:, k], time) for k in range(3)], axis=1)).max() < 1e-4


def test_jump_keeps_its_angular_momentum_in_the_air(jump: MotionClip) -> None:
    momentum = dynamics(jump).momentum[flight(jump)][1:-1]  # central differences reach one frame beyond
    # kg m²/s; the arms and legs alone would change it by more than 10
    assert np.ptp(momentum, axis=0).max() < 3.0


def test_jump_leaves_the_floor_and_lands_ahead(jump: MotionClip) -> None:
    height = sole_corners(jump)[..., 2].min(axis=(1, 2))
    assert height.max() > 0.12
    travelled = jump.root_position[-1] - jump.root_position[0]
    np.testing.assert_allclose(travelled, [jump_maker.DISTANCE, 0, 0], atol=1e-4)


def test_jump_starts_and_ends_standing_at_rest(jump: MotionClip) -> None:
    pose, held = qpos(jump), round(0.2 * jump.frame_rate)
    for rest in (pose[: held + 1], pose[-held - 1 :]):
        assert np.abs(rest - rest[0]).max() < 1e-6
    asked, corners = dynamics(jump), sole_corners(jump)
    for frame in (0, -1):
        np.testing.assert_allclose(asked.force[frame], [0, 0, 45 * GRAVITY], atol=0.1)
        # at rest the floor's force acts below the centre of mass, well within the feet
        np.testing.assert_allclose(asked.zero_moment_point[frame], asked.com[frame, :2], atol=1e-4)
        x = corners[frame, ..., 0]
        assert x.min() + 0.03 < asked.com[frame, 0] < x.max() - 0.03


def test_jump_pushes_the_floor_within_its_feet(jump: MotionClip) -> None:
    asked, corners = dynamics(jump), sole_corners(jump).reshape(-1, 8, 3)
    pushes = asked.force[:, 2] > 0.5 * 45 * GRAVITY
    outside = np.array(
        [distance_to_hull(asked.zero_moment_point[t], corners[t, corners[t, :, 2] < 0.003, :2]) for t in np.flatnonzero(pushes)]
    )
    # the roll over the toes asks for a little more than the toes can give
    assert (outside < 0.005).mean() > 0.9
    assert (outside < 0.03).mean() > 0.95


def test_jump_is_symmetric(jump: MotionClip) -> None:
    assert np.abs(jump.root_position[:, 1]).max() < 1e-9
    np.testing.assert_allclose(knee_degrees(jump, "left"), knee_degrees(jump, "right"), atol=1e-6)


def test_jump_bends_its_knees_to_jump_and_to_land(jump: MotionClip) -> None:
    knee, air = knee_degrees(jump, "right"), np.flatnonzero(flight(jump))
    assert 10 < knee[0] < 20
    assert 70 < knee[: air[0]].max() < 110
    assert 70 < knee[air[-1] :].max() < 110
    assert knee.min() > 8


@pytest.mark.slow
def test_the_fit_of_the_jump_finds_its_numbers() -> None:
    np.testing.assert_allclose(jump_maker.fit(), jump_maker.FITTED, atol=0.05)


# --- punch --------------------------------------------------------------------------------------------------------------------


def test_punch_stands_on_both_feet_and_pushes_the_floor_within_them() -> None:
    punch = load("punch")
    asked, corners = dynamics(punch), sole_corners(punch).reshape(-1, 8, 3)
    assert punch.contacts.all() and corners[..., 2].max() < 1e-4
    assert (np.hypot(asked.force[:, 0], asked.force[:, 1]) < 0.4 * asked.force[:, 2]).all()  # friction .9
    outside = [distance_to_hull(point, feet[:, :2]) for point, feet in zip(asked.zero_moment_point, corners, strict=True)]
    assert np.max(outside) < 0.01


def test_punch_drives_a_straight_arm_forward() -> None:
    punch = load("punch")
    data = mujoco.MjData(HUMANOID.model)
    hand, wrist = [], []
    for pose in qpos(punch):
        data.qpos[:] = pose
        mujoco.mj_kinematics(HUMANOID.model, data)
        wrist.append(data.body("right_wrist").xpos.copy())
        hand.append(wrist[-1] - data.body("right_shoulder").xpos)
    reach = np.linalg.norm(hand, axis=1)
    out = int(reach.argmax())
    assert reach[out] > 0.98 * (0.274788 + 0.258947)  # both bones of the arm in line
    assert np.degrees(np.arccos(hand[out][0] / reach[out])) < 25
    speed = np.gradient(np.array(wrist)[:, 0]) * punch.frame_rate
    assert 2.0 < speed.max() < 5.0  # m/s; trained boxers reach 6 to 10 (Whiting et al. 1988)


# --- spinkick -----------------------------------------------------------------------------------------------------------------


def body_path(clip: MotionClip, name: str) -> np.ndarray:
    """Where a body is, (T, 3) m."""
    data, path = mujoco.MjData(HUMANOID.model), []
    for pose in qpos(clip):
        data.qpos[:] = pose
        mujoco.mj_kinematics(HUMANOID.model, data)
        path.append(data.body(name).xpos.copy())
    return np.array(path)


def test_spinkick_goes_once_around_to_the_right_and_back_to_its_guard() -> None:
    clip = load("spinkick")
    w, z = clip.rotations[:, 0, 0], clip.rotations[:, 0, 3]
    yaw = np.unwrap(2 * np.arctan2(z, w), period=2 * np.pi)
    assert np.degrees(yaw[-1] - yaw[0]) == pytest.approx(-360, abs=10)
    same = np.abs((clip.rotations[0] * clip.rotations[-1]).sum(axis=-1))
    assert np.degrees(2 * np.arccos(np.minimum(same, 1))).max() < 15


def test_spinkick_kicks_behind_on_one_leg() -> None:
    clip = load("spinkick")
    foot, root = body_path(clip, "right_ankle"), body_path(clip, "root")
    out = int((foot - root)[:, 0].argmax())
    assert clip.duration * 0.4 < out / clip.frame_rate < clip.duration * 0.6
    assert clip.contacts is not None and (clip.contacts[out] == [False, True]).all()
    w, z = clip.rotations[out, 0, 0], clip.rotations[out, 0, 3]
    assert np.degrees(2 * np.arctan2(z, w)) % 360 == pytest.approx(180, abs=15)  # its back to where it kicks
    assert foot[out, 0] - root[out, 0] > 0.7 and foot[out, 2] > 0.5
    assert knee_degrees(clip, "right")[out] < 15
    assert np.linalg.norm(np.diff(foot, axis=0), axis=1).max() * clip.frame_rate > 3.5  # m/s
