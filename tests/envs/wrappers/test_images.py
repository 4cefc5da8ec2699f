"""Observations that are pictures: they show the state they belong to, in every kind of batch."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mprl.agents.environments import Batch
from mprl.envs.wrappers import FrameStack, FrameStackVector, PixelObservation, PixelVectorObservation, Source, pixels
from mprl.envs.wrappers.resizing import Picture, shrink
from mprl.errors import RenderingError, SettingError, UnknownNameError
from mprl.simulation.rendering import opengl_backend


class Clock(gym.Env[np.ndarray, int]):
    """Counts the steps of an episode, and shows them as the brightness of its picture; ends after `length`."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, length: int = 3, render_mode: str | None = "rgb_array", side: int = 8) -> None:
        self.observation_space = gym.spaces.Box(0, 100, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.render_mode, self._length, self._side, self._time, self.episode = render_mode, length, side, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._time, self.episode = 0, self.episode + 1
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._time += 1
        return self._seen(), 1.0, self._time >= self._length, False, {}

    def _seen(self) -> np.ndarray:
        return np.array([10 * self.episode + self._time], np.float32)

    def render(self) -> np.ndarray:
        return np.full((self._side, self._side, 3), 10 * self.episode + self._time, np.uint8)


def clocks(mode: AutoresetMode, lengths: tuple[int, ...] = (2, 3)) -> SyncVectorEnv:
    return SyncVectorEnv([lambda n=n: Clock(n) for n in lengths], autoreset_mode=mode)


def shown(images: np.ndarray) -> list[int]:
    """The number that each world's picture shows; every pixel must."""
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


# ------------------------------------------------------------------------------------------------------------------------- resizing


@pytest.mark.parametrize("size", [(2, 3), (4, 4), (8, 12)])
def test_shrinking_by_whole_factors_is_the_mean_of_blocks(size):
    frame = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    blocks = frame.reshape(size[0], 8 // size[0], size[1], 12 // size[1], 3).mean(axis=(1, 3))
    assert np.abs(shrink(frame, *size) - blocks).max() <= 0.51


def test_a_crop_is_left_top_right_bottom_as_in_pillow():
    frame = np.zeros((6, 8, 3), np.uint8)
    frame[1:3, 2:6] = 200
    assert (Picture.of((1, 2), crop=(2, 1, 6, 3))(frame) == 200).all()


def test_grey_is_the_luma_of_bt_601():
    frame = np.zeros((1, 3, 3), np.uint8)
    frame[0, range(3), range(3)] = 255
    assert Picture.of((1, 3), grey=True)(frame).ravel().tolist() == [76, 150, 29]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"size": 0}, "size must be pixels or (height, width), found '0'"),
        ({"size": (64,)}, "size must be"),
        ({"size": "big"}, "size must be"),
        ({"size": 4, "crop": (3, 0, 1, 2)}, "crop must be (left, top, right, bottom) in pixels of the frame"),
    ],
)
def test_a_size_or_crop_that_cannot_be_is_one_line(settings, line):
    with pytest.raises(SettingError, match=r"^[^\n]*$") as error:
        pixels(Clock(), **settings)
    assert line in str(error.value)


def test_a_crop_beyond_the_frame_is_told_with_the_frame():
    with pytest.raises(SettingError, match="reaches beyond the frame of 8 x 8 pixels"):
        pixels(Clock(), 4, crop=(0, 0, 9, 8)).reset()


def test_an_environment_without_pictures_is_one_line():
    with pytest.raises(SettingError, match=r"^CartPole-v1: pictures need render_mode='rgb_array', found None; make it with that$"):
        pixels(gym.make("CartPole-v1"))
    with pytest.raises(SettingError, match=r"expected a Gymnasium environment .* found str"):
        pixels("CartPole-v1")


def test_gymnasiums_own_mujoco_environments_need_no_display(monkeypatch):
    try:
        opengl_backend()
    except RenderingError as error:
        pytest.skip(str(error))
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.setenv(name, "")  # so that they are as before in the end
        monkeypatch.delenv(name)
    envs = pixels(gym.make_vec("InvertedPendulum-v5", num_envs=1, vectorization_mode="sync", render_mode="rgb_array"), 16)
    assert np.ptp(envs.reset(seed=0)[0]) > 0
    envs.close()


# ---------------------------------------------------------------------------------------------------------------------- single ones


def test_the_observation_is_the_picture_of_the_state_that_it_comes_with():
    env = PixelObservation(Clock(), size=4, state=True)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    for _ in range(3):
        assert (observation["image"] == observation["state"]).all()
        observation, *_ = env.step(0)


def test_grey_stacks_have_a_channel_for_each_frame_oldest_first():
    env = pixels(Clock(length=9), size=4, grey=True, stack=3)
    first, _ = env.reset()
    assert env.observation_space == gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)
    assert first[0, 0].tolist() == [10, 10, 10]
    second, *_ = env.step(0)
    third, *_ = env.step(0)
    assert second[0, 0].tolist() == [10, 10, 11] and third[0, 0].tolist() == [10, 11, 12]
    assert first[0, 0].tolist() == [10, 10, 10]  # what was given away does not change
    assert env.reset()[0][0, 0].tolist() == [20, 20, 20]


def test_frames_agree_with_those_of_gymnasiums_stack():
    ours, theirs = (pixels(Clock(5), 2), pixels(Clock(5), 2))
    ours, theirs = FrameStack(ours, 3), gym.wrappers.FrameStackObservation(theirs, 3)
    pairs = [(ours.reset()[0], theirs.reset()[0])] + [(ours.step(0)[0], theirs.step(0)[0]) for _ in range(4)]
    for mine, other in pairs:
        assert np.array_equal(mine, np.concatenate(list(other), axis=-1))


def test_the_state_beside_an_image_is_not_stacked():
    env = FrameStack(PixelObservation(Clock(), 4, state=True), 2)
    observation, _ = env.reset()
    assert observation in env.observation_space
    assert observation["image"].shape == (4, 4, 6) and observation["state"].shape == (1,)


def test_a_stack_of_something_else_is_one_line():
    with pytest.raises(SettingError, match="must be images"):
        FrameStack(Clock(), 2)
    with pytest.raises(SettingError, match="frames must be at least 1, found 0"):
        pixels(Clock(), stack=0)
    with pytest.raises(UnknownNameError, match="no observation named 'imge'; did you mean 'image'"):
        FrameStack(PixelObservation(Clock(), state=True), 2, keys=["imge"])


# --------------------------------------------------------------------------------------------------------------------------- batches


def test_next_step_shows_the_last_state_then_the_first_of_the_next_episode():
    envs = pixels(clocks(AutoresetMode.NEXT_STEP), 4)
    assert shown(envs.reset()[0]) == [10, 10]
    assert [shown(envs.step(np.zeros(2, int))[0]) for _ in range(4)] == [[11, 11], [12, 12], [20, 13], [21, 20]]


def test_same_step_has_a_picture_of_the_final_state():
    envs = PixelVectorObservation(clocks(AutoresetMode.SAME_STEP), 4, state=True)
    envs.reset()
    envs.step(np.zeros(2, int))
    observation, _, terminated, _, info = envs.step(np.zeros(2, int))
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert terminated.tolist() == [True, False] == info["_final_obs"].tolist()
    assert shown(observation["image"]) == [20, 12] == observation["state"].ravel().tolist()
    assert shown(info["final_obs"]["image"]) == [12, 12] == info["final_obs"]["state"].ravel().tolist()


def test_a_masked_reset_shows_the_reset_worlds_anew_and_leaves_the_others():
    envs = pixels(clocks(AutoresetMode.DISABLED), 4)
    envs.reset()
    envs.step(np.zeros(2, int))
    assert shown(envs.step(np.zeros(2, int))[0]) == [12, 12]
    assert shown(envs.reset(options={"reset_mask": np.array([True, False])})[0]) == [20, 12]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_agents_see_the_same_successors_in_every_autoreset_mode(mode):
    batch = Batch(pixels(clocks(mode), 4, stack=2))
    batch.reset(seed=0)
    successors: list[list[list[int]]] = [[], []]
    for _ in range(9):
        step = batch.step(np.zeros(2, int))
        for world in np.flatnonzero(step.valid):
            successors[world].append(step.successor[world][0, 0, ::3].tolist())
    assert successors[0][:5] == [[10, 11], [11, 12], [20, 21], [21, 22], [30, 31]]
    assert successors[1][:4] == [[10, 11], [11, 12], [12, 13], [20, 21]]


def test_gymnasiums_own_final_observations_are_stacked():
    inner = SyncVectorEnv([lambda: PixelObservation(Clock(2), 4) for _ in range(2)], autoreset_mode=AutoresetMode.SAME_STEP)
    envs = FrameStackVector(inner, 2)
    envs.reset()
    envs.step(np.zeros(2, int))
    observation, *_, info = envs.step(np.zeros(2, int))
    assert info["final_obs"][0, 0, 0].tolist() == [11] * 3 + [12] * 3
    assert observation[0, 0, 0].tolist() == [20] * 6


def test_a_wrapper_between_that_counts_on_same_step_is_one_line():
    between = gym.wrappers.vector.RecordEpisodeStatistics(clocks(AutoresetMode.SAME_STEP))
    with pytest.raises(SettingError, match=r"^RecordEpisodeStatistics resets worlds before PixelVectorObservation can see their end"):
        pixels(between)


def test_a_batch_that_shows_some_of_its_worlds_is_one_line():
    with pytest.raises(SettingError, match=r"^mprl/Cliff-v0: render\(\) shows 9 of 10 worlds; all must be"):
        pixels(gym.make_vec("mprl/Cliff-v0", num_envs=10, render_mode="rgb_array"), 8).reset()


# ------------------------------------------------------------------------------------------------------------- what pygame draws


def areas(sides: int, size: int) -> np.ndarray:
    """What share of each new pixel each old one covers, (size, sides): the exact area average."""
    edges = np.arange(size + 1) * sides / size
    old = np.arange(sides)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return np.clip(overlap, 0, None) * size / sides


@pytest.mark.parametrize("crop", [None, (100, 150, 500, 350)])
@pytest.mark.parametrize("make", [lambda **how: gym.make("CartPole-v1", **how), lambda **how: gym.make_vec("CartPole-v1", 3, **how)])
def test_cartpole_is_the_area_average_of_its_frame(make, crop):
    env = make(render_mode="rgb_array")
    seen = pixels(env, 64, crop=crop)
    seen.reset(seed=1)
    for _ in range(2):
        observation, *_ = seen.step(np.ones(3, int) if hasattr(env, "num_envs") else 1)
        assert (observation in seen.observation_space) and observation.std() > 5
        for mine, frame in zip(observation.reshape(-1, 64, 64, 3), np.reshape(env.render(), (-1, 400, 600, 3)), strict=True):
            if crop is not None:
                frame = frame[crop[1] : crop[3], crop[0] : crop[2]]
            exact = np.einsum("ih,hwc,jw->ijc", areas(frame.shape[0], 64), frame, areas(frame.shape[1], 64), optimize=True)
            assert np.abs(mine - exact).max() < 3
    seen.close()


def test_native_worlds_that_reset_themselves_keep_their_final_picture():
    how = dict(num_envs=2, render_mode="rgb_array", max_episode_steps=2)
    seen = pixels(gym.make_vec("mprl/Cliff-v0", autoreset_mode="SAME_STEP", **how), 32, state=True)
    plain = gym.make_vec("mprl/Cliff-v0", autoreset_mode="DISABLED", **how)
    picture = Picture.of(32)
    first = [picture(frame) for frame in (plain.reset(seed=3), plain.render())[1]]
    seen.reset(seed=3)
    for _ in range(2):
        observation, *_, info = seen.step(np.zeros(2, int))  # up
        state, *_ = plain.step(np.zeros(2, int))
    assert info["_final_obs"].all() and np.array_equal(info["final_obs"]["state"], state)
    assert np.array_equal(info["final_obs"]["image"], [picture(frame) for frame in plain.render()])
    assert np.array_equal(observation["image"], first) and not np.array_equal(first, info["final_obs"]["image"])


@pytest.mark.parametrize("content", [3, None, [1], {"sizes": 64}])
def test_a_source_that_was_edited_by_hand_is_one_line(content):
    with pytest.raises(SettingError, match=r"^a source of pictures "):
        Source.from_json(content)
