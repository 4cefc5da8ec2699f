"""Sensors as parts of an environment's observation: a dictionary in every mode, reproducible, and mistakes in one line."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import mprl  # noqa: F401  registers the environments
from mprl.agents import PPO
from mprl.envs import to_sb3
from mprl.envs.imitation.deepmimic import DeepMimicVectorEnv
from mprl.errors import MprlError

ID = "mprl/DeepMimic-v0"
ALL = ("imu", "keypoints_2d", "keypoints_3d", "height_scan")
FAULTY = {
    "imu": {"gyroscope_noise": 0.1, "accelerometer_drift": 0.2, "misplacement": 0.02, "misalignment": 0.1, "orientation_noise": 0.05},
    "keypoints_2d": {"noise": 2.0, "dropout": 0.2, "occlusion": True},
    "keypoints_3d": {"noise": 0.02, "dropout": 0.2},
    "height_scan": {"noise": 0.01},
}
SHAPES = {"state": (219,), "imu": (6, 12), "keypoints_2d": (15, 3), "keypoints_3d": (15, 4), "height_scan": (17, 11)}


def make(worlds: int = 3, **settings) -> DeepMimicVectorEnv:
    return DeepMimicVectorEnv(worlds, **{"num_threads": 1, "output": "torch", **settings})


def actions(steps: int, worlds: int = 3) -> torch.Tensor:
    return 0.3 * torch.randn(steps, worlds, 28, generator=torch.Generator().manual_seed(0))


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_sensors_make_the_observation_a_dictionary_with_the_state_in_it():
    plain, env = make(), make(sensors=ALL)
    state, _ = plain.reset(seed=0)
    observation, _ = env.reset(seed=0)
    assert {name: space.shape for name, space in env.single_observation_space.items()} == SHAPES
    for action in actions(3):
        assert {name: tuple(value.shape[1:]) for name, value in observation.items()} == SHAPES
        assert torch.equal(observation["state"], state)
        assert env.observation_space.contains({name: value.numpy() for name, value in observation.items()})
        state, observation = plain.step(action)[0], env.step(action)[0]


def test_flat_observations_hold_the_same_numbers_one_after_the_other():
    parts, flat = (make(sensors=ALL, flat_observation=flat).reset(seed=0)[0] for flat in (False, True))
    assert torch.equal(flat, torch.cat([parts[name].flatten(1) for name in ("state", *ALL)], dim=1))


@pytest.mark.filterwarnings("ignore:.*infinity")
def test_gymnasium_s_checker_passes_the_single_environment():
    env = gym.make(ID, sensors=ALL)
    check_env(env.unwrapped, skip_render_check=True)


def test_the_last_observation_of_an_episode_is_a_dictionary_of_full_arrays():
    ending, going_on = (make(autoreset_mode=mode, sensors=FAULTY, max_episode_steps=4) for mode in ("SAME_STEP", "DISABLED"))
    for env in (ending, going_on):
        env.reset(seed=0)
    for action in actions(4):
        observation, *_, info = ending.step(action)
        last = going_on.step(action)[0]
    assert info["_final_obs"].all() and same(info["final_obs"], last)
    assert {name: tuple(value.shape) for name, value in info["final_obs"].items()} == {n: (3, *shape) for n, shape in SHAPES.items()}
    assert not any(torch.equal(observation[name], last[name]) for name in observation)


def test_an_episode_s_first_reading_feels_gravity_alone():
    env = make(sensors={"imu": {"frame": "world", "representation": "quaternion"}}, max_episode_steps=3)
    env.reset(seed=0)
    for action in actions(3):
        observation = env.step(action)[0]["imu"]  # of a new episode, after the third
    assert observation[..., 7:].norm(dim=-1).numpy() == pytest.approx(np.full((3, 6), 9.81), rel=1e-4)


@pytest.mark.parametrize("mode", ["SAME_STEP", "NEXT_STEP"])
def test_a_saved_state_is_continued_bit_for_bit(mode):
    settings = {"autoreset_mode": mode, "max_episode_steps": 3, "sensors": FAULTY, "terrain": "rough"}
    env, other = make(**settings), make(**settings)
    env.reset(seed=2)
    for action in actions(5):
        env.step(action)
    state = env.get_state()
    assert same(other.set_state(state), env.set_state(state))
    for action in actions(5):
        one, two = env.step(action), other.step(action)
        assert same(one[0], two[0]) and torch.equal(one[1], two[1])


def test_a_seed_decides_all_faults():
    env = make(sensors=FAULTY)
    one, other, again = (env.reset(seed=seed)[0] for seed in (1, 2, 1))
    assert same(one, again) and not any(torch.equal(one[name], other[name]) for name in one)


def test_hidden_velocities_are_missing_from_the_state_and_nothing_else_is():
    full, _ = make().reset(seed=0)
    hidden, _ = make(velocity_observation=False).reset(seed=0)
    # after 1 + 6 numbers of the root its linear velocity; its angular one follows 24 of key bodies, targets (3 x 3) and turns (3 x 6)
    linear, angular, balls = slice(7, 10), slice(10 + 15 + 27, 13 + 15 + 27), 6 * 8 + 4
    joints = slice(angular.stop + balls, angular.stop + balls + 28)
    kept = torch.ones(full.shape[1], dtype=torch.bool)
    for part in (linear, angular, joints):
        kept[part] = False
    assert hidden.shape[1] == full.shape[1] - 34 and torch.equal(hidden, full[:, kept])


def test_an_agent_learns_from_a_dictionary():
    env = make(8, sensors=("imu", "height_scan"), terrain="rough")
    agent = PPO(env, n_steps=4, batch_size=16, n_epochs=1)
    agent.learn(64)
    action, _ = agent.predict(env.reset(seed=0)[0])
    assert action.shape == (8, 28)


def test_stable_baselines3_gets_dictionaries():
    envs = to_sb3(gym.make_vec(ID, num_envs=2, sensors=("imu",), max_episode_steps=2, num_threads=1))
    assert {name: value.shape for name, value in envs.reset().items()} == {"state": (2, 219), "imu": (2, 6, 12)}
    for _ in range(2):
        envs.step_async(np.zeros((2, 28), np.float32))
        *_, infos = envs.step_wait()
    assert infos[1]["terminal_observation"]["imu"].shape == (6, 12)


@pytest.mark.slow
def test_evaluation_keeps_sensors_and_terrain():
    def policy(observation):
        assert set(observation) == {"state", "height_scan"}
        return torch.zeros(len(observation["state"]), 28)

    env = make(1, sensors="height_scan", terrain="slopes", difficulty=0.2, max_episode_steps=3)
    assert 0 < env.evaluate(policy, episodes=2)["normalized_return"] <= 1


@pytest.mark.parametrize(
    ("sensors", "text"),
    [
        ("nose", "no sensor named 'nose' (known: imu, keypoints_2d, keypoints_3d, height_scan)"),
        (3, "sensors: expected names or a dictionary {name: settings}, found '3'"),
        ({"imu": "good"}, "sensors: imu: expected a dictionary of settings (bodies, frame,"),
        ({"imu": {"noise": 0.1}}, "no setting of imu named 'noise'"),
        ({"imu": {"bodies": ("tail",)}}, "no body named 'tail' (the humanoid has root, chest, neck,"),
        ({"imu": {"bodies": 3}}, "bodies: expected at least one name, found 3"),
        ({"keypoints_2d": {"lookat": ("a", 0, 0)}}, "keypoints_2d: lookat must be three coordinates"),
        ({"keypoints_2d": {"azimuth": float("nan")}}, "keypoints_2d: azimuth must be a finite number, found nan"),
        ({"height_scan": {"ahead": float("inf")}}, "height_scan: ahead must be a finite number, found inf"),
        ({"height_scan": {"rows": 0}}, "height_scan: rows must be at least 1, found 0"),
        ({"height_scan": {"spacing": 0}}, "height_scan: spacing and limit must be above 0 m, found 0 and 2.0"),
    ],
)
def test_a_sensor_that_cannot_be_is_one_line(sensors, text):
    with pytest.raises(MprlError) as error:
        make(1, sensors=sensors)
    assert text in str(error.value) and "\n" not in str(error.value)
