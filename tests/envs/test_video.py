"""Pictures of the environment, where OpenGL can be had."""

from __future__ import annotations

import gymnasium as gym
import imageio_ffmpeg
import numpy as np
import pytest
import torch

import mprl  # noqa: F401  registers the environments
from mprl.envs.imitation.film import Film
from mprl.errors import RenderingError


@pytest.fixture
def env():
    env = gym.make("mprl/DeepMimic-v0", motion="walk", render_mode="rgb_array", width=160, height=120)
    env.reset(seed=0)
    try:
        env.render()
    except RenderingError as error:
        pytest.skip(str(error))
    yield env
    env.close()


@pytest.mark.slow
def test_a_frame_is_a_picture_of_the_size_asked_for_and_changes_as_the_character_moves(env):
    first = env.render()
    assert first.shape == (120, 160, 3) and first.dtype == np.uint8 and first.std() > 10
    for _ in range(10):
        env.step(env.action_space.sample())
    assert (env.render() != first).any()


@pytest.mark.slow
def test_gymnasium_records_it_at_the_control_rate(env, tmp_path):
    recorded = gym.wrappers.RecordVideo(env, str(tmp_path), episode_trigger=lambda episode: True, disable_logger=True)
    recorded.reset(seed=0)
    for _ in range(12):
        recorded.step(np.zeros(28, np.float32))
    recorded.close()
    (path,) = tmp_path.glob("*.mp4")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert 12 <= frames <= 13 and seconds == pytest.approx(frames / 30, abs=0.05)


@pytest.mark.slow
def test_a_batch_shows_as_many_worlds_as_it_is_told():
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=4, motion="walk", render_mode="rgb_array", render_worlds=2, width=160, height=120)
    envs.reset(seed=0)
    try:
        frames = envs.render()
    except RenderingError as error:
        pytest.skip(str(error))
    finally:
        envs.close()
    assert len(frames) == 2 and frames[0].shape == (120, 160, 3) and (frames[0] != frames[1]).any()


def test_a_film_is_over_when_the_episode_is():
    """A fallen character may leave the floor for a step, which ends nothing: the film does not go on."""

    class Falling:
        control_step = 1 / 30
        _qpos = torch.zeros(1, 7, dtype=torch.float64)
        _pending = torch.tensor([False])

        def reference_qpos(self):
            return torch.zeros(1, 7)

        def markers(self, world):
            return []

    envs = Falling()
    film = Film(envs, "film.mp4", 64, 48)
    for ended in (False, False, True, False, True, False):
        envs._pending = torch.tensor([ended])
        film()
    assert len(film._poses) == 3
