"""Environments seen through cameras: the view belongs to the state, in every kind of batch; appearances come from the seed."""

from __future__ import annotations

import gymnasium as gym
import mujoco
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mprl.envs.wrappers import CameraObservation, PixelObservation, Randomisation, cameras, pixels
from mprl.envs.wrappers.randomisation import Filter
from mprl.errors import RenderingError, SettingError, UnknownNameError
from mprl.simulation.rendering import opengl_backend
from mprl.simulation.viewpoints import Tracking

BEAD = """
<mujoco>
  <worldbody>
    <camera name="above" pos="0 0 5" fovy="90"/>
    <geom name="floor" type="plane" size="0 0 1"/>
    <body name="bead" pos="0 0 .5"><joint type="slide" axis="1 0 0"/><geom size=".5"/></body>
  </worldbody>
</mujoco>
"""


class Bead(gym.Env[np.ndarray, int]):
    """A bead that moves 1 m to the right at each step, seen from above; three steps."""

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(BEAD)
        self.data = mujoco.MjData(self.model)
        self.observation_space = gym.spaces.Box(-9, 9, (1,), np.float64)
        self.action_space = gym.spaces.Discrete(1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.data.qpos[0] = -2.0
        return self.data.qpos.copy(), {}

    def step(self, action):
        self.data.qpos[0] += 1.0
        return self.data.qpos.copy(), 0.0, bool(self.data.qpos[0] >= 1), False, {}


def place(segmentation: np.ndarray) -> float:
    """Where the bead is in the picture, m: its widest part is .5 m above the floor, 4.5 m below the camera."""
    columns = np.nonzero(segmentation[..., 0] == 1)[1]
    return float(((columns.mean() + 0.5) / 64 * 2 - 1) * 4.5)


@pytest.fixture(autouse=True, scope="module")
def _opengl() -> None:
    try:
        opengl_backend()
    except RenderingError as error:
        pytest.skip(str(error))


def test_the_view_is_of_the_state_that_it_comes_with():
    env = cameras(Bead(), "above", ("depth", "segmentation"), state=True)
    observation, _ = env.reset(seed=0)
    for _ in range(3):
        assert observation in env.observation_space and sorted(observation) == ["depth", "segmentation", "state"]
        assert place(observation["segmentation"]) == pytest.approx(observation["state"][0], abs=0.1)
        assert observation["depth"].min() == pytest.approx(4.0, abs=0.05) and observation["depth"].max() == pytest.approx(5.0, rel=1e-4)
        observation, *_ = env.step(0)
    env.close()


def test_kinds_that_are_alone_are_the_observation_and_depth_ends_where_it_is_told_to():
    env = CameraObservation(Bead(), "above", ("depth",), (16, 32), max_depth=4.5)
    observation, _ = env.reset()
    assert env.observation_space == gym.spaces.Box(0, 4.5, (16, 32, 1), np.float32)
    assert observation in env.observation_space and observation.max() == 4.5
    env.close()


def test_same_step_has_a_view_of_the_final_state():
    envs = cameras(SyncVectorEnv([Bead, Bead], autoreset_mode=AutoresetMode.SAME_STEP), "above", ("segmentation",), state=True)
    envs.reset(seed=0)
    for _ in range(3):
        observation, *_, info = envs.step(np.zeros(2, int))
    for views, expected in ((observation, -2), (info["final_obs"], 1)):
        for world in range(2):
            assert views["state"][world, 0] == expected
            assert place(views["segmentation"][world]) == pytest.approx(expected, abs=0.1)
    envs.close()


def test_a_second_camera_has_names_of_its_own():
    env = cameras(cameras(Bead(), "above", ("depth",), 8, state=True), Tracking("bead"), ("depth",), 8, state=True, prefix="near_")
    assert list(env.observation_space.spaces) == ["depth", "near_depth", "state"]
    with pytest.raises(SettingError, match="the observation has a 'depth' already; give the new one another name"):
        cameras(env, "above", ("depth",), 8, state=True)
    env.close()


def test_many_worlds_of_a_character_and_one_alone_see_the_same():
    how = dict(motion="walk", num_threads=1)
    envs = cameras(gym.make_vec("mprl/DeepMimic-v0", num_envs=2, output="torch", **how), "head", ("depth", "segmentation"), 32)
    one = cameras(gym.make("mprl/DeepMimic-v0", **how), "head", ("depth", "segmentation"), 32)
    options = {"phase": 0.25}
    many, _ = envs.reset(seed=0, options=options)
    alone, _ = one.reset(seed=0, options=options)
    assert isinstance(many["depth"], torch.Tensor) and many["depth"].shape == (2, 32, 32, 1)
    assert torch.equal(many["depth"][0], many["depth"][1])
    np.testing.assert_array_equal(many["segmentation"][1].numpy(), alone["segmentation"])
    assert -1 in alone["segmentation"] and 0 in alone["segmentation"]  # sky and floor
    after, *_ = envs.step(torch.zeros(envs.action_space.shape))
    assert not torch.equal(after["depth"], many["depth"])
    envs.close()
    one.close()


# ----------------------------------------------------------------------------------------------------------------- randomisation


def test_appearances_come_from_the_seed_and_change_with_the_episode():
    envs = cameras(SyncVectorEnv([Bead, Bead]), "above", size=24, randomise=Randomisation())
    first, _ = envs.reset(seed=5)
    second, _ = envs.reset()
    again, _ = envs.reset(seed=5)
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], first[1])  # worlds differ,
    assert not np.array_equal(first, second)  # and episodes
    assert np.array_equal(envs.reset()[0], second)
    envs.close()


def test_an_appearance_stays_for_an_episode_and_a_new_one_begins_with_the_next():
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    varied = PixelObservation(env, 32, randomise=Randomisation(colour=0.5, pixels=0))
    corners = [varied.reset(seed=1)[0][0, 0]] + [varied.step(0)[0][0, 0] for _ in range(3)] + [varied.reset()[0][0, 0]]
    assert all(np.array_equal(corner, corners[0]) for corner in corners[:4])
    assert not np.array_equal(corners[4], corners[0])
    varied.close()


def test_nothing_is_changed_by_a_randomisation_of_nothing():
    none = Randomisation(light=0, colour=0, texture=False, shift=0, turn=0, zoom=0, pixels=0)
    plain, varied = pixels(gym.make("CartPole-v1", render_mode="rgb_array"), 32), pixels(
        gym.make("CartPole-v1", render_mode="rgb_array"), 32, randomise=none
    )  # fmt: skip
    assert np.array_equal(plain.reset(seed=0)[0], varied.reset(seed=0)[0])


def test_a_filter_brightens_and_moves():
    picture = np.zeros((3, 3, 3), np.uint8)
    picture[1, 1] = 100, 100, 200
    moved = Filter((0.5, 1.0, 2.0), down=1, right=-1)(picture)
    assert moved[2, 0].tolist() == [50, 100, 255] and moved.sum() == 405


def test_mistakes_are_one_line():
    with pytest.raises(SettingError, match=r"^CartPole-v1: cameras need a MuJoCo environment; pixels\(...\) shows"):
        cameras(gym.make("CartPole-v1"))
    with pytest.raises(UnknownNameError, match=r"^no camera named 'abov'; did you mean 'above'\? \(known: tracking, head, above\)$"):
        cameras(Bead(), "abov")
    with pytest.raises(SettingError, match=r"^light must be below 1"):
        Randomisation(light=1.5)
    with pytest.raises(SettingError, match=r"^shift must be at least 0, found -1$"):
        Randomisation(shift=-1)
