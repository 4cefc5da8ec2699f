"""A library gives back the motion that went in, at any time, for any mixture of clips, with MuJoCo's own velocities."""

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor

from mprl.errors import SettingError
from mprl.motion import HUMANOID, MotionClip, MotionLibrary, Skeleton, load
from mprl.motion import rotations as rot

REAL = ["walk", "run", "backflip", "cartwheel", "punch", "stealthy_walk"]  # 16 to 60 Hz, cyclic and not
PLAIN = dict(velocity_cutoff=None, correct_floor=False, dtype=torch.float64)
MODEL = HUMANOID.model


def at(library: MotionLibrary, times, clip: int = 0):
    times = torch.as_tensor(times, dtype=library.durations.dtype).reshape(-1)
    return library.sample(torch.full((len(times),), clip), times)


def rotation_error(a: Tensor, b: Tensor) -> float:
    """Greatest angle between two sets of quaternions, rad; exact for tiny angles, unlike the arc cosine of their product."""
    relative = rot.multiply(rot.conjugate(a.double()), b.double())
    return float(rot.to_rotation_vector(relative).norm(dim=-1).max())


def quaternions(qpos: Tensor) -> Tensor:
    return qpos[:, torch.as_tensor(HUMANOID.ball_qpos)]


def clip_of(position, rotations: dict[str, Rotation], rate: float = 30.0, loop: str = "none", name: str = "made") -> MotionClip:
    """A clip with the given root positions (T, 3) and rotations of some joints, the others at rest."""
    frames = np.zeros((len(position), 15, 4))
    frames[..., 0] = 1
    for joint, turn in rotations.items():
        frames[:, HUMANOID.body_names.index(joint)] = turn.as_quat(scalar_first=True)
    return MotionClip(name, HUMANOID.skeleton, rate, position, frames, loop)  # type: ignore[arg-type]


def spinning(frames: int = 31, rate: float = 30.0, loop: str = "none") -> MotionClip:
    """Everything moves at a constant speed: the root along (1, -.5, .2) m/s while it turns about the vertical at 2 rad/s and leans,
    the chest turns about a slanted axis at 3 rad/s, and the left knee bends at -1 rad/s."""
    t = np.arange(frames) / rate
    axis = np.array([0.6, 0, 0.8])
    return clip_of(
        np.outer(t, [1, -0.5, 0.2]) + [0, 0, 3],
        {
            "root": Rotation.from_rotvec(np.outer(2 * t, [0, 0, 1])) * Rotation.from_rotvec([0, 0.5, 0]),
            "chest": Rotation.from_rotvec(np.outer(3 * t, axis)),
            "left_knee": Rotation.from_rotvec(np.outer(-t, MODEL.joint("left_knee").axis)),
        },
        rate,
        loop,
    )


def swaying(frames: int = 241, rate: float = 120.0, loop: str = "wrap") -> MotionClip:
    """A smooth cycle of 2 s in every joint, with 1.5 m of travel."""
    t = np.linspace(0, 1, frames)
    phase = 2 * np.pi * t
    rotations = {}
    for index, name in enumerate((HUMANOID.body_names[0], *HUMANOID.ball_joints)):
        rotations[name] = Rotation.from_rotvec(np.outer(np.sin(phase + index), [0.3, 0.2, -0.4]) + [0.1, 0, 0.2])
    for index, name in enumerate(HUMANOID.hinge_joints):
        rotations[name] = Rotation.from_rotvec(np.outer(0.7 * np.sin(phase + index), MODEL.joint(name).axis))
    position = np.stack((1.5 * t, 0.2 * np.sin(phase), 2 + 0.1 * np.cos(phase)), axis=1)
    return clip_of(position, rotations, rate, loop)


# ------------------------------------------------------------------------------------------------------------------------- poses


@pytest.mark.parametrize("name", REAL)
def test_at_its_frames_a_clip_is_itself(mocap, name):
    library = MotionLibrary([load(mocap(name))], HUMANOID)
    clip = library.clips[0]
    frames = np.arange(clip.num_frames)[: -1 if clip.loop == "wrap" else None]  # a cycle's last frame is the next one's first
    expected = HUMANOID.to_qpos(clip)[frames]
    found = at(library, frames / clip.frame_rate).qpos
    assert rotation_error(quaternions(found), quaternions(expected)) < 1e-4
    assert (found - expected)[:, :3].abs().max() < 1e-5
    hinges = torch.as_tensor(HUMANOID.hinge_qpos)
    assert (found - expected)[:, hinges].abs().max() < 1e-4


@pytest.mark.parametrize("name", REAL)
def test_between_frames_rotations_are_those_of_scipy_s_slerp(mocap, name):
    library = MotionLibrary([load(mocap(name))], HUMANOID)
    clip = library.clips[0]
    times = np.random.default_rng(0).uniform(0, clip.duration * 0.9999, 200)
    found = at(library, times)
    grid = np.linspace(0, clip.duration, clip.num_frames)
    for column, joint in enumerate(("root", *HUMANOID.ball_joints)):
        keys = Rotation.from_quat(clip.rotations[:, clip.skeleton.names.index(joint)], scalar_first=True)
        expected = torch.as_tensor(Slerp(grid, keys)(times).as_quat(scalar_first=True))
        assert rotation_error(quaternions(found.qpos)[:, column], expected) < 1e-4, joint
    expected = np.stack([np.interp(times, grid, clip.root_position[:, k]) for k in range(3)], axis=1)
    np.testing.assert_allclose(found.qpos[:, :3], expected, atol=1e-5)


def test_quaternions_are_unit_at_any_time(mocap):
    found = at(MotionLibrary([load(mocap("backflip"))], HUMANOID), torch.linspace(0, 5, 500))
    assert (quaternions(found.qpos).norm(dim=-1) - 1).abs().max() < 1e-6


def test_bodies_and_centre_of_mass_are_those_of_the_pose(mocap):
    library = MotionLibrary([load(mocap("cartwheel"))], HUMANOID)
    found = at(library, np.random.default_rng(1).uniform(0, 6, 50))
    data = mujoco.MjData(MODEL)
    for i in range(50):
        data.qpos[:] = found.qpos[i]
        mujoco.mj_forward(MODEL, data)
        np.testing.assert_allclose(found.body_position[i], data.xpos[1:], atol=5e-4)
        np.testing.assert_allclose(found.com[i], data.subtree_com[1], atol=5e-4)


@pytest.mark.parametrize("name", REAL)
def test_the_control_is_the_pose_as_actuator_targets(mocap, name):
    found = at(MotionLibrary([load(mocap(name))], HUMANOID), torch.linspace(0, 4, 300))
    assert (found.control - HUMANOID.to_control(found.qpos)).abs().max() < 2e-3


def test_targets_alone_are_those_of_the_whole_sample(mocap):
    library = MotionLibrary([load(mocap("walk")), load(mocap("punch"))], HUMANOID)
    clips, times = torch.arange(20) % 2, torch.linspace(0, 3, 20)
    whole = library.sample(clips, times)
    position, quaternion, control, feedforward = library.sample_targets(clips, times)
    assert torch.allclose(position, whole.qpos[:, :3]) and torch.allclose(quaternion, whole.qpos[:, 3:7], atol=1e-6)
    assert torch.allclose(control, whole.control) and torch.allclose(feedforward, whole.feedforward)


# -------------------------------------------------------------------------------------------------------------------------- cycles


def test_a_cycle_goes_on_where_it_left_off(mocap):
    library = MotionLibrary([load(mocap("walk"))], HUMANOID, dtype=torch.float64)
    clip = library.clips[0]
    step = torch.as_tensor(clip.root_position[-1] - clip.root_position[0]) * torch.tensor([1, 1, 0])
    assert float(step[0]) > 1  # it walks on, along x
    times = torch.linspace(0, clip.duration, 50, dtype=torch.float64)[1:-1]
    once = at(library, times)
    for n in (1, 2, 7):
        later = at(library, times + n * clip.duration)
        assert torch.allclose(later.qpos[:, :3], once.qpos[:, :3] + n * step, atol=1e-9)
        assert torch.allclose(later.qpos[:, 3:], once.qpos[:, 3:], atol=1e-9) and torch.allclose(later.qvel, once.qvel, atol=1e-9)
        assert torch.allclose(later.body_position, once.body_position + n * step, atol=1e-9)
        assert torch.allclose(later.com, once.com + n * step, atol=1e-9)
        assert torch.allclose(later.com_velocity, once.com_velocity, atol=1e-9)
        assert torch.equal(library.cycle(torch.zeros(48, dtype=torch.long), times + n * clip.duration), torch.full((48,), n))
        assert torch.allclose(library.phase(torch.zeros(48, dtype=torch.long), times + n * clip.duration), times / clip.duration, atol=1e-9)


def test_a_cycle_neither_climbs_nor_sinks():
    clip = spinning(loop="wrap")  # ends .2 m above its start
    assert clip.cycle_displacement.tolist() == pytest.approx([1, -0.5, 0])


def test_twenty_seconds_on_single_precision_still_holds(mocap):
    library = MotionLibrary([load(mocap("run"))], HUMANOID)
    exact = MotionLibrary([load(mocap("run"))], HUMANOID, dtype=torch.float64)
    times = torch.linspace(0, 20, 601, dtype=torch.float64)
    # not at the seam itself, where rounding decides between the end and the beginning
    inside = (exact.phase(torch.zeros(601, dtype=torch.long), times) - 0.5).abs() < 0.499
    difference = at(library, times).body_position[inside].double() - at(exact, times).body_position[inside]
    assert difference.abs().max() < 1e-3


def test_a_motion_that_ends_stays_at_its_end():
    library = MotionLibrary([spinning()], HUMANOID, **PLAIN)
    end, beyond = at(library, [1.0]), at(library, [1.0 + 1e-9, 1.5, 100.0])
    assert torch.allclose(beyond.qpos, end.qpos.expand(3, -1))
    assert torch.allclose(end.qpos, HUMANOID.to_qpos(spinning())[-1:])
    zero = torch.zeros(3, dtype=torch.long)
    times = torch.tensor([0.0, 0.5, 7.0], dtype=torch.float64)
    assert library.phase(zero, times).tolist() == pytest.approx([0, 0.5, 1]) and library.cycle(zero, times).tolist() == [0, 0, 0]


# --------------------------------------------------------------------------------------------------------------------- velocities


@pytest.mark.parametrize("cutoff", [None, 6.0])
def test_constant_speeds_are_found_exactly_and_survive_the_filter(cutoff):
    """MuJoCo's conventions: the root's linear velocity in the world, angular velocities in the moving body."""
    library = MotionLibrary([spinning()], HUMANOID, velocity_cutoff=cutoff, correct_floor=False, dtype=torch.float64)
    found = at(library, torch.linspace(0, 1, 17)).qvel
    expected = torch.zeros(34, dtype=torch.float64)
    expected[:3] = torch.tensor([1, -0.5, 0.2])
    # the vertical, in a body that leans by .5 rad about its y axis
    expected[3:6] = 2 * torch.tensor([-math.sin(0.5), 0, math.cos(0.5)])
    chest = MODEL.joint("chest").dofadr[0]
    expected[chest : chest + 3] = 3 * torch.tensor([0.6, 0, 0.8])
    expected[MODEL.joint("left_knee").dofadr[0]] = -1
    assert torch.allclose(found, expected.expand(17, -1), atol=1e-6)


def test_mujoco_s_own_integration_leads_from_frame_to_frame():
    clip = spinning()
    library = MotionLibrary([clip], HUMANOID, **PLAIN)
    qpos = HUMANOID.to_qpos(clip)
    for t in (0, 7, 20):
        moved = qpos[t].numpy().copy()
        mujoco.mj_integratePos(MODEL, moved, at(library, [t / 30]).qvel[0].numpy(), 1 / 30)
        assert rotation_error(quaternions(torch.as_tensor(moved)[None]), quaternions(qpos[t + 1 : t + 2])) < 1e-9
        np.testing.assert_allclose(moved[:3], qpos[t + 1, :3], atol=1e-9)


def test_velocities_carry_a_real_clip_along(mocap):
    """Integrating the unfiltered velocities over a whole walk leads from its first pose to its last."""
    clip = load(mocap("walk"))
    library = MotionLibrary([clip], HUMANOID, **PLAIN)
    steps = 4 * (clip.num_frames - 1)
    times = (torch.arange(steps) + 0.5) / (4 * clip.frame_rate)
    moved = HUMANOID.to_qpos(clip)[0].numpy().copy()
    for velocity in at(library, times).qvel.numpy():
        mujoco.mj_integratePos(MODEL, moved, velocity, 1 / (4 * clip.frame_rate))
    last = HUMANOID.to_qpos(clip)[-1:]
    assert rotation_error(quaternions(torch.as_tensor(moved)[None]), quaternions(last)) < 0.05
    np.testing.assert_allclose(moved[:3], last[0, :3], atol=0.02)


def test_the_centre_of_mass_s_velocity_is_its_rate_of_change():
    library = MotionLibrary([swaying()], HUMANOID, **PLAIN)
    times = torch.linspace(0.1, 1.9, 40, dtype=torch.float64)
    step = 1 / 120
    numerical = (at(library, times + step).com - at(library, times - step).com) / (2 * step)
    found = at(library, times).com_velocity
    assert found.norm(dim=-1).max() > 0.5  # there is something to find
    assert (found - numerical).abs().max() < 0.01


def test_the_velocity_of_a_cycle_has_no_seam():
    library = MotionLibrary([swaying()], HUMANOID, correct_floor=False, dtype=torch.float64)
    around = at(library, 2 + torch.linspace(-0.05, 0.05, 41, dtype=torch.float64)).qvel
    assert (around[1:] - around[:-1]).abs().max() < 0.03  # 2.5 ms apart
    exact = MotionLibrary([swaying()], HUMANOID, **PLAIN)
    times = torch.linspace(0, 2, 100, dtype=torch.float64)
    assert (at(library, times).qvel - at(exact, times).qvel).abs().max() < 0.02  # .5 Hz passes a 6 Hz filter


def test_the_filter_stops_what_is_far_above_its_cutoff():
    t = np.arange(121) / 120
    shaken = clip_of(np.stack((t, 0 * t, 2 + 0.01 * np.sin(2 * np.pi * 30 * t)), axis=1), {}, 120)
    speed = [
        at(MotionLibrary([shaken], HUMANOID, velocity_cutoff=cutoff, correct_floor=False), t[30:90]).qvel[:, 2] for cutoff in (None, 6)
    ]
    assert speed[0].abs().max() > 1 and speed[1].abs().max() < 0.05


# ------------------------------------------------------------------------------------------------------------------------ libraries


@pytest.mark.slow
def test_in_a_library_of_many_each_clip_is_as_it_is_alone(mocap):
    clips = [load(mocap(name)) for name in ("walk", "punch", "backflip", "run")]
    together = MotionLibrary(clips, HUMANOID)
    order, times = torch.tensor([2, 0, 3, 1, 1, 0, 2, 3]), torch.linspace(0, 6, 8)
    found = together.sample(order, times)
    for i, clip in enumerate(order.tolist()):
        alone = at(MotionLibrary([clips[clip]], HUMANOID), times[i])
        for field in ("qpos", "qvel", "control", "body_position", "com", "com_velocity", "contacts"):
            assert torch.equal(getattr(found, field)[i], getattr(alone, field)[0]), (clip, field)
    assert together.durations.tolist() == pytest.approx([clip.duration for clip in clips])
    assert together.cyclic.tolist() == [True, False, True, True] and len(together) == 4


def test_two_frames_are_enough():
    library = MotionLibrary([spinning(2)], HUMANOID)
    assert torch.allclose(at(library, [1 / 60]).qpos[:, :3], torch.tensor([[1 / 60, -0.5 / 60, 3 + 0.2 / 60]]), atol=1e-5)


def test_an_empty_library_and_another_body_are_refused():
    with pytest.raises(SettingError, match="at least one clip"):
        MotionLibrary([], HUMANOID)
    other = MotionClip("arm", Skeleton(("a", "b"), (-1, 0), np.zeros((2, 3))), 30, np.zeros((2, 3)), np.tile([1.0, 0, 0, 0], (2, 2, 1)))
    with pytest.raises(SettingError, match="arm: its joints are not those of the character 'humanoid'"):
        MotionLibrary([other], HUMANOID)
