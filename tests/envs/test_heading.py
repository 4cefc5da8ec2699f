"""A commanded direction and speed: the reward of the paper, a reference that follows the command, and what is seen of it."""

from __future__ import annotations

import math
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import mprl
from mprl.envs.imitation.heading import DeepMimicHeadingVectorEnv, heading_reward
from mprl.envs.imitation.rewards import RELEASE
from mprl.envs.imitation.steering import Steering
from mprl.errors import SettingError
from mprl.motion import rotations as rot
from mprl.scripts import environments

ID = "mprl/DeepMimicHeading-v0"


def make(worlds: int = 4, **settings) -> DeepMimicHeadingVectorEnv:
    return DeepMimicHeadingVectorEnv(worlds, **{"output": "torch", "num_threads": 1, **settings})


def kinematic(worlds: int, **settings) -> DeepMimicHeadingVectorEnv:
    """Nothing ends an episode and the reference goes its way, without characters: their physics is left out."""
    free = {"contact_termination": False, "tracking_termination": None, "reference_sync": False, "time_limit": 1000.0}
    env = make(worlds, **{**free, "autoreset_mode": "DISABLED", **settings})
    env.simulation.step = lambda substeps: None  # type: ignore[method-assign]
    return env


# -------------------------------------------------------------------------------------------------------------------------- reward


def test_the_reward_is_that_of_the_paper():
    """exp(-2.5 max(0, v* - v·d)²), by hand: .6 m/s along d where 1 is asked for: exp(-2.5 x .16) = exp(-.4) = .67032005."""
    velocity = torch.tensor([[0.6, 0.8, 3.0], [0.6, 0.8, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    direction = torch.tensor([[1.0, 0.0], [0.6, 0.8], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    # at v·d = 1 it is met; beyond it is not punished; the wrong way: exp(-2.5 x 4) = exp(-10)
    expected = [0.67032005, 1.0, 1.0, 1.0, 4.539993e-05]
    assert heading_reward(velocity, direction, torch.ones(5)).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_step_earns_seven_tenths_of_imitation_and_three_of_the_goal():
    env = make(8)
    env.reset(seed=0)
    for _ in range(3):
        _, reward, terminated, _, info = env.step(torch.zeros(8, 28))
        imitation = sum(term.weight * info[f"reward_{name}"] for name, term in RELEASE.terms.items())
        expected = torch.where(terminated, 0.0, 0.7 * imitation + 0.3 * info["reward_goal"])
        assert torch.allclose(reward, expected, atol=1e-6)
        short = (-info["speed_error"]).clamp(min=0)  # v* - v·d
        assert torch.allclose(info["reward_goal"], torch.exp(-2.5 * short**2), atol=1e-6)


# ----------------------------------------------------------------------------------------------------------------------- reference


def test_the_reference_turns_the_shorter_way_at_a_bounded_rate():
    steering = Steering(3, 0.1, turning_rate=1.0, tempo_rate=0.5, device=torch.device("cpu"))
    steering.turn.copy_(torch.tensor([0.0, 3.0, 0.05]))
    steering.wanted_turn.copy_(torch.tensor([math.pi / 2, -3.0, 0.0]))
    steering.wanted_tempo.copy_(torch.tensor([1.25, 0.98, 1.0]))
    ahead = steering.advance()
    # .1 rad a step; from 3 to -3 the short way is .283 rad to the left; and no further than what is wanted
    assert steering.turn.tolist() == pytest.approx([0.1, 3.1, 0.0], abs=1e-6)
    assert steering.turning.tolist() == pytest.approx([1.0, 1.0, -0.5], abs=1e-5)
    assert steering.tempo.tolist() == pytest.approx([1.05, 0.98, 1.0])
    assert ahead.tolist() == pytest.approx([0.005, -0.002, 0.0], abs=1e-6)  # a tenth of what the tempo is beyond 1


@pytest.mark.slow
def test_the_reference_goes_where_it_is_told_as_fast_as_it_is_told():
    """Over whole cycles, after the turn: within 1 % in speed and half a degree in direction."""
    env = kinematic(4, hold=(1000.0, 1000.0), turn_range=0.8)
    env.reset(seed=0)
    command = env._task._heading.clone(), env._task._speed.clone()
    for _ in range(30):
        env.step(torch.zeros(4, 28))
    start, began = env.reference().root_position.clone(), env.times.clone()
    steps = 0
    while ((env.times - began) < 2 * env.library.durations[0]).any() and steps < 100:
        env.step(torch.zeros(4, 28))
        steps += 1
    path = env.reference().root_position - start
    # take out the part of a cycle that is over: the clip's own speed varies within it
    assert torch.equal(command[0], env._task._heading) and torch.equal(command[1], env._task._speed)
    angle = torch.atan2(path[:, 1], path[:, 0]) - command[0]
    assert torch.sin(angle).abs().max() < 0.03
    assert (path[:, :2].norm(dim=-1) / (steps / 30) / command[1] - 1).abs().max() < 0.03


def test_the_reference_s_velocities_are_those_of_its_positions():
    """While it turns and changes its pace: central differences of positions and rotations against what it says of itself."""
    env = kinematic(16, hold=(0.5, 1.0))
    env.reset(seed=1)
    references = []
    for _ in range(40):
        env.step(torch.zeros(16, 28))
        references.append((env.reference(), env._task.steering.turning.clone()))
    worst = 0.0
    for before, (now, _), after in zip(references[:-2], references[1:-1], references[2:], strict=True):
        steady = (before[1] - after[1]).abs() < 1e-6  # the turn neither starts nor stops
        linear = (after[0].root_position - before[0].root_position) * 15
        spin = rot.to_rotation_vector(rot.multiply(rot.conjugate(before[0].rotations[:, 0]), after[0].rotations[:, 0])) * 15
        mass = (after[0].com - before[0].com) * 15
        for seen, told in ((linear, now.qvel[:, :3]), (spin, now.qvel[:, 3:6]), (mass, now.com_velocity)):
            worst = max(worst, float((seen - told)[steady].abs().max()))
    assert worst < 0.15  # m/s and rad/s; the clip's own velocities are low-passed and differ by as much


def test_the_first_target_frame_is_the_next_reference():
    env = kinematic(8, target_frames=(1,), hold=(1000.0, 1000.0))
    env.reset(seed=0)
    env.step(torch.zeros(8, 28))
    look = env._look
    position, rotation, _, _ = env._steering.coming(
        *env.library.sample_targets(env._clip[:, None], env.times[:, None] + env._steering.tempo[:, None] * look),
        torch.ones(1),
        slice(None),
    )
    position = position[:, 0] + env._offset
    env.step(torch.zeros(8, 28))
    following = env.reference()
    assert (position - following.root_position).norm(dim=-1).max() < 2e-3
    assert rot.angle(rotation[:, 0], following.rotations[:, 0]).max() < 0.01


# -------------------------------------------------------------------------------------------------------------------- command


def test_commands_stay_in_their_ranges_and_hold_as_long_as_told():
    env = kinematic(32, hold=(0.2, 0.4), speed_range=(0.5, 1.5), turn_range=1.0)
    env.reset(seed=0)
    own = float(env._task._clip_speed[0])
    assert own == pytest.approx(1.18 / (64 / 60), rel=1e-3)  # of the shipped walk: 1.18 m in 64 frames at 60 Hz
    assert env._task._heading.abs().max() <= 1.0
    before, ages = env._task._heading.clone(), []
    for _ in range(30):
        *_, info = env.step(torch.zeros(32, 28))
        changed = env._task._heading != before
        ages += info["command_age"][changed].tolist()
        assert ((env._task._heading - before).abs()[changed] <= 1.0).all()
        assert ((env._task._speed >= 0.5 * own - 1e-5) & (env._task._speed <= 1.5 * own + 1e-5)).all()
        before = env._task._heading.clone()
    # 6 to 12 control steps; the age is told before the command changes
    assert len(ages) > 50 and min(ages) >= 6 / 30 - 1e-6 and max(ages) <= 12 / 30 + 1e-6


def test_the_command_is_seen_in_the_heading_frame():
    env = make(2)
    env.reset(seed=0, options={"phase": 0.0})
    yaw = math.atan2(*reversed(env._scene().direction[0].tolist()))
    env._task._heading.copy_(torch.tensor([yaw + math.pi / 2, yaw - math.pi / 3]))
    env._task._speed.copy_(torch.tensor([0.9, 1.2]))
    seen = env._observe(slice(None))[:, -3:]
    # a right angle to the left; sixty degrees to the right, seen from a character that faces as the first does
    assert seen[0].tolist() == pytest.approx([0, 1, 0.9], abs=1e-5)
    assert seen[1].tolist() == pytest.approx([0.5, -math.sqrt(0.75), 1.2], abs=1e-5)


def test_a_world_s_reset_leaves_the_others_commands_alone():
    env = make(3, autoreset_mode="DISABLED")
    env.reset(seed=0)
    env.step(torch.zeros(3, 28))
    before = {name: value.clone() for name, value in env._task.state().items()}
    env.reset(options={"reset_mask": [True, False, False]})
    for name, value in env._task.state().items():
        assert torch.equal(value[1:], before[name][1:]), name
    assert env._task._heading[0] != before["heading"][0] and env._task._age[0] == 0


# ----------------------------------------------------------------------------------------------------------------- as an environment


def test_gymnasium_s_checker_passes_the_single_environment():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="gymnasium")
        warnings.filterwarnings("ignore", message=".*infinity", module="gymnasium")
        check_env(gym.make(ID).unwrapped, skip_render_check=True)


def test_it_sees_three_numbers_more_than_without_a_command():
    envs = gym.make_vec(ID, num_envs=2)
    plain = gym.make_vec("mprl/DeepMimic-v0", num_envs=2)
    assert isinstance(envs.unwrapped, DeepMimicHeadingVectorEnv)
    assert envs.single_observation_space.shape[0] == plain.single_observation_space.shape[0] + 3


@pytest.mark.slow
def test_a_saved_state_is_continued_bit_for_bit():
    env = make(6, hold=(0.2, 0.5))
    env.reset(seed=0)
    moves = 0.2 * torch.randn(24, 6, 28, generator=torch.Generator().manual_seed(0))
    for move in moves[:12]:
        env.step(move)
    state = env.get_state()
    first = [torch.cat((env.step(move)[0].flatten(), env._task.direction.flatten())) for move in moves[12:]]
    env.set_state(state)
    again = [torch.cat((env.step(move)[0].flatten(), env._task.direction.flatten())) for move in moves[12:]]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.slow
def test_an_evaluation_tells_how_well_commands_are_met():
    env = make(2, time_limit=0.5)
    results = env.evaluate(lambda observation: torch.zeros(len(observation), 28), episodes=3)
    assert 0 < results["normalized_return_paper"] < 1 and 0 < results["goal_reward"] <= 1
    assert 0 <= results["heading_error_deg"] <= 180


def test_the_command_line_offers_its_own_arguments_and_those_of_imitation():
    options = environments.options(environments.find(ID))
    names = set(options.__dataclass_fields__)
    assert {"speed_range", "hold", "turning_rate", "motion", "reward", "tracking_termination"} <= names
    assert "settings" not in names and environments.changed(options()) == {}


@pytest.mark.parametrize(("settings", "says"), [
    ({"motion": "jump"}, "jump: a heading needs a clip that loops and goes somewhere"),
    ({"speed_range": (1.0,)}, "speed_range must be two rising multiples above 0"),
    ({"hold": (3.0, 2.0)}, "hold must be two rising times"),
    ({"turning_rate": 0.0}, "turning_rate above 0"),
    ({"goal_weight": 1.5}, "goal_weight in 0 to 1"),
])  # fmt: skip
def test_a_setting_that_cannot_work_is_named(settings, says):
    with pytest.raises(SettingError, match=says.replace("(", r"\(")) as caught:
        make(1, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_picture_shows_the_command():
    env = gym.make(ID, render_mode="rgb_array", width=160, height=120)
    env.reset(seed=0)
    try:
        picture = env.render().astype(int)
    except mprl.errors.RenderingError as error:
        pytest.skip(str(error))
    green = (picture[..., 1] > picture[..., 0] + 40) & (picture[..., 1] > picture[..., 2] + 40)
    assert np.count_nonzero(green) > 20
    env.close()
