"""A target to be hit: the reward of the paper, where targets lie, and what counts as a hit."""

from __future__ import annotations

import math
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import mprl  # noqa: F401  registers the environments
from mprl.envs.imitation.strike import DeepMimicStrikeVectorEnv, strike_reward
from mprl.errors import MprlError
from mprl.motion import HUMANOID, load

ID = "mprl/DeepMimicStrike-v0"
HAND = HUMANOID.body_names.index("right_wrist")


def make(worlds: int = 4, **settings) -> DeepMimicStrikeVectorEnv:
    return DeepMimicStrikeVectorEnv(worlds, **{"output": "torch", "num_threads": 1, **settings})


def on_the_reference(env: DeepMimicStrikeVectorEnv) -> None:
    """From now on physics is replaced by perfect imitation."""

    def step(substeps: int) -> None:
        reference = env.library.sample(env._clip, env.times + env.control_step)
        env.simulation.reset(torch.ones(env.num_envs, dtype=torch.bool), reference.qpos.double(), reference.qvel.double())

    env.simulation.step = step  # type: ignore[method-assign]


def test_the_reward_is_that_of_the_paper():
    """exp(-4 d²) by hand: half a metre away exp(-1) = .36787944, a tenth exp(-.04) = .96078944; 1 once it was hit."""
    reward = strike_reward(torch.tensor([0.5, 0.1, 0.5, 0.0]), torch.tensor([False, False, True, False]))
    assert reward.tolist() == pytest.approx([0.36787944, 0.96078944, 1.0, 1.0])


def test_the_blow_of_the_shipped_punch_is_the_right_hand_s_at_its_furthest():
    env = make(1)
    clip = load("punch")
    reach = [float(env._task._reach[0, 0]), float(env._task._reach[0, 1])]
    assert int(env._task._body[0]) == HAND
    # out from .78 to .84 s of 1.6 s, a straight arm and a shoulder ahead of the root: .53 m + .14 m, at the height of the shoulder
    assert 0.75 / clip.duration <= float(env._task._phase[0]) <= 0.87 / clip.duration
    assert 0.6 < reach[0] < 0.72 and reach[1] == pytest.approx(1.19, abs=0.03)


def test_targets_lie_around_the_clip_s_own_blow_and_nowhere_else():
    env = make(512, spread=(0.1, 0.2, 0.4))
    env.reset(seed=0)
    task = env._task
    distance, height, direction = task._reach[0].tolist()
    x, y, z = (task._place - task._centre[0]).unbind(-1)
    off = torch.stack((torch.hypot(x, y) - distance, z - height, torch.atan2(y, x) - direction))
    for values, limit in zip(off, (0.1, 0.2, 0.4), strict=True):
        assert values.abs().max() <= limit + 1e-5
        # uniform: the mean is 0 and the standard deviation limit / sqrt(3), within their sampling errors at 512 draws
        assert abs(float(values.mean())) < 0.1 * limit and float(values.std()) == pytest.approx(limit / math.sqrt(3), rel=0.08)


def test_perfect_imitation_hits_a_target_at_the_clip_s_own_blow_and_earns_everything_from_then_on():
    env = make(2, spread=(0.0, 0.0, 0.0), contact_termination=False, hit_radius=0.03)
    on_the_reference(env)
    env.reset(seed=0, options={"phase": 0.0})
    blow = float(env._task._phase[0]) * 1.6
    for step in range(1, 60):  # the clip's cycle is 48 steps
        _, reward, _, _, info = env.step(torch.zeros(2, 28))
        if step < (blow - 0.15) * 30:
            assert not info["hit"].any() and (info["reward_goal"] < 1).all()
        elif blow * 30 <= step <= 48:
            assert info["hit"].all() and info["reward_goal"].tolist() == [1, 1] and (reward > 0.99).all()
        elif step > 48:  # a new cycle has a new target
            assert not info["hit"].any() and (info["target"] == 2).all()


def test_a_target_out_of_reach_is_never_hit_and_pays_by_its_distance():
    env = make(2, contact_termination=False)
    on_the_reference(env)
    env.reset(seed=0, options={"phase": 0.0})
    env._task._place += torch.tensor([1.0, 0.0, 0.0])
    for _ in range(30):
        *_, info = env.step(torch.zeros(2, 28))
        distance = (env.body_positions()[0][:, HAND] - env._task._place).norm(dim=-1)
        assert torch.allclose(info["target_distance"], distance) and not info["hit"].any()
        assert torch.allclose(info["reward_goal"], torch.exp(-4 * distance**2))


def test_the_target_is_seen_in_the_heading_frame_with_the_hit():
    env = make(2)
    env.reset(seed=0, options={"phase": 0.0})
    root, (cos, sin) = env._now.root_position[0], env._scene().direction[0].tolist()
    # half a metre ahead, .2 m to the left and .3 m up, as the character faces
    env._task._place[0] = root + torch.tensor([0.5 * cos - 0.2 * sin, 0.5 * sin + 0.2 * cos, 0.3])
    env._task._hit[0] = True
    assert env._observe(slice(None))[0, -4:].tolist() == pytest.approx([0.5, 0.2, 0.3, 1.0], abs=1e-5)


def test_an_episode_that_begins_after_the_blow_owes_nothing():
    env = make(2)
    env.reset(seed=0, options={"phase": [0.2, 0.9]})
    assert env._task._number.tolist() == [1, 0]


def test_the_share_of_hits_counts_falls_as_misses_and_leaves_out_what_could_not_be():
    """Three episodes of four steps: hit; fallen before the blow; begun after one blow and cut off before the next."""
    task = make(1)._task
    columns = {
        "reward_goal": np.ones((3, 4)), "phase": np.array([[0.4, 0.6, 0.8, 0.9], [0.1, 0.2, 0.3, 0.4], [0.9, 0.95, 0.05, 0.1]]),
        "hit": np.array([[0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]], bool), "target": np.array([[1] * 4, [1] * 4, [0, 0, 1, 1]]),
    }  # fmt: skip
    alive = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]], bool)
    results = task.summarise(columns, alive, np.zeros(3, int))
    assert results["targets"] == 2 and results["hit_rate"] == 0.5
    # a target whose last step is the first of the next cycle was missed all the same
    columns["phase"][2], columns["target"][2] = [0.4, 0.6, 0.9, 0.02], [1, 1, 1, 1]
    assert task.summarise(columns, alive, np.zeros(3, int))["targets"] == 3


def test_gymnasium_s_checker_passes_the_single_environment():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="gymnasium")
        warnings.filterwarnings("ignore", message=".*infinity", module="gymnasium")
        check_env(gym.make(ID).unwrapped, skip_render_check=True)


def test_a_saved_state_is_continued_bit_for_bit():
    env = make(6)
    env.reset(seed=0)
    moves = 0.2 * torch.randn(24, 6, 28, generator=torch.Generator().manual_seed(0))
    for move in moves[:12]:
        env.step(move)
    state = env.get_state()
    first = [env.step(move)[0] for move in moves[12:]]
    env.set_state(state)
    assert all(torch.equal(env.step(move)[0], seen) for move, seen in zip(moves[12:], first, strict=True))


@pytest.mark.slow
def test_an_evaluation_tells_the_hit_rate():
    results = make(2, time_limit=0.5).evaluate(lambda observation: torch.zeros(len(observation), 28), episodes=3)
    assert 0 < results["normalized_return_paper"] < 1 and 0 < results["goal_reward"] <= 1 and "hit_rate" in results


@pytest.mark.parametrize(("settings", "says"), [
    ({"body": "right_hand"}, "no body named 'right_hand'"),
    ({"spread": (0.1, 0.1)}, "spread must be a distance, a height and an angle"),
    ({"hit_radius": 0.0}, "hit_radius must be above 0 m"),
])  # fmt: skip
def test_a_setting_that_cannot_work_is_named(settings, says):
    with pytest.raises(MprlError, match=says) as caught:
        make(1, **settings)
    assert "\n" not in str(caught.value)
