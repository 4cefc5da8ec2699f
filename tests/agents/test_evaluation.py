"""`evaluate` counts whole episodes of the likeliest actions, the same in every kind of environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import mprl  # noqa: F401  registers the environments
from mprl.agents import PPO, evaluate
from mprl.envs.wrappers import history
from mprl.errors import CheckpointError, MprlError, RenderingError, SettingError
from mprl.perception.plug import build
from mprl.perception.spec import Spec
from mprl.simulation.rendering import opengl_backend

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]


class Alternating(gym.Env[Any, Any]):
    """Episodes of 2 and of `long` steps in turn; a step earns 1."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, long: int = 6) -> None:
        self.long, self.episodes, self.drawn = long, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.episodes = 0
        self.episodes += 1
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return np.zeros(1, np.float32), 1.0, self.steps == (2 if self.episodes % 2 else self.long), False, {}

    def render(self) -> Any:
        self.drawn += 1
        return np.full((16, 16, 3), self.steps, np.uint8)


def batch(*long: int, mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([lambda n=n: Alternating(n) for n in long], autoreset_mode=mode)  # type: ignore[misc]


@pytest.fixture(scope="module")
def agent() -> PPO:
    return PPO(Alternating(), n_steps=8, hidden=(4,))


@pytest.fixture(scope="module")
def balancer() -> PPO:
    return PPO(gym.make("CartPole-v1"), n_steps=64, hidden=(8,)).learn(256)


def test_returns_and_lengths_are_of_as_many_episodes_as_asked_for(agent):
    found = evaluate(agent, Alternating(), episodes=3)  # 2, 6 and 2 steps
    assert (found["episodes"], found["return_mean"], found["length_mean"]) == (3, pytest.approx(10 / 3), pytest.approx(10 / 3))
    assert found["return_std"] == pytest.approx(np.std([2, 6, 2]))
    assert found["agent"] == "ppo" and found["env_id"] == "Alternating"


@pytest.mark.parametrize("mode", MODES)
def test_every_world_plays_its_share_so_that_short_episodes_do_not_crowd_out_long_ones(agent, mode):
    # five episodes in three worlds: 2 and 6; 2 and 100; 2
    found = evaluate(agent, batch(6, 100, 4, mode=mode), episodes=5)
    assert found["return_mean"] == found["length_mean"] == pytest.approx((2 + 6 + 2 + 100 + 2) / 5)


@pytest.mark.parametrize("mode", MODES)
def test_fewer_episodes_than_worlds(agent, mode):
    assert evaluate(agent, batch(6, 6, 6, mode=mode), episodes=2)["length_mean"] == 2


@pytest.mark.parametrize("mode", MODES)
def test_an_episode_that_does_not_end_is_cut_off_and_the_others_are_whole(agent, mode, heard, caplog):
    """Worlds whose second episodes last 6 steps and for ever, three each: 2, 6, 2 and 2, 20 of ever, 2 after all begin anew."""
    found = evaluate(agent, batch(6, 10**9, mode=mode), episodes=6, max_episode_steps=20)
    assert found["episodes_cut_off"] == 1 and found["episodes"] == 6
    assert found["length_mean"] == found["return_mean"] == pytest.approx((2 + 6 + 2 + 2 + 20 + 2) / 6)
    assert "1 of 6 episodes did not end within 20 steps: they were cut off there" in caplog.text
    alone = evaluate(agent, Alternating(10**9), episodes=3, max_episode_steps=20)
    assert alone["length_mean"] == pytest.approx((2 + 20 + 2) / 3) and alone["episodes_cut_off"] == 1


def test_an_episode_that_ends_after_it_was_cut_off_is_counted_once(agent):
    """Two worlds: 2, 6, 2, 6 steps; and 2, 4 of 6, 2, 4 of 6, whose own ends come while the other world still plays."""
    found = evaluate(agent, batch(4, 6, mode=MODES[1]), episodes=8, max_episode_steps=4)
    assert (found["length_mean"], found["episodes_cut_off"]) == ((2 + 4 + 2 + 4) * 2 / 8, 2)


def test_an_environment_s_own_limit_is_no_cut_off(agent, monkeypatch):
    found = evaluate(agent, gym.wrappers.TimeLimit(Alternating(10**9), 7), episodes=2, max_episode_steps=7)
    assert found["length_mean"] == (2 + 7) / 2 and "episodes_cut_off" not in found
    monkeypatch.setattr("mprl.agents.evaluation.LONGEST", 20)
    env = Alternating(40)
    assert evaluate(agent, env, episodes=2)["length_mean"] == (2 + 20) / 2
    env.spec = gym.envs.registration.EnvSpec("Long-v0", max_episode_steps=50)
    found = evaluate(agent, env, episodes=2)
    assert found["length_mean"] == (2 + 40) / 2 and "episodes_cut_off" not in found


@pytest.mark.slow
def test_it_is_the_same_every_time_and_one_world_is_like_many(balancer):
    single = [evaluate(balancer, gym.make("CartPole-v1"), episodes=4, seed=7) for _ in range(2)]
    assert single[0] == single[1]
    vector = [evaluate(balancer, gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync"), episodes=6, seed=7) for _ in range(2)]
    assert vector[0] == vector[1] and vector[0]["episodes"] == 6
    # the first world of a batch is seeded as the single environment is
    one = evaluate(balancer, gym.make("CartPole-v1"), episodes=1, seed=7)
    assert one == evaluate(balancer, gym.make_vec("CartPole-v1", num_envs=1, vectorization_mode="sync"), episodes=1, seed=7)


def test_cartpole_pays_one_a_step(balancer):
    found = evaluate(balancer, gym.make("CartPole-v1"), episodes=3)
    assert found["return_mean"] == found["length_mean"] >= 8


def test_another_environment_than_the_agent_s_is_refused(balancer):
    for env in (gym.make("Pendulum-v1"), gym.make_vec("Pendulum-v1", num_envs=2, vectorization_mode="sync"), gym.make("mprl/DeepMimic-v0")):
        with pytest.raises(CheckpointError, match="CartPole-v1") as caught:
            evaluate(balancer, env, episodes=1)
        assert "\n" not in str(caught.value)


def test_no_episodes_are_refused(agent):
    with pytest.raises(SettingError, match="at least 1, found 0"):
        evaluate(agent, Alternating(), episodes=0)
    with pytest.raises(SettingError, match="max_episode_steps must be at least 1, found 0"):
        evaluate(agent, Alternating(), max_episode_steps=0)


# --------------------------------------------------------------------------------------------------------------------------- video


@pytest.mark.parametrize("worlds", [1, 3])
def test_the_video_is_of_the_first_world_s_first_episode(agent, tmp_path, worlds):
    env = Alternating(9)
    env.episodes = 1  # without a seed it would start with a long episode
    envs: Any = env if worlds == 1 else SyncVectorEnv([lambda: env, *[lambda: Alternating(3)] * 2], autoreset_mode=MODES[0])
    evaluate(agent, envs, episodes=2 * worlds, video=tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").stat().st_size > 0 and env.drawn == 2


@pytest.mark.filterwarnings("ignore:.*render method:UserWarning")
def test_a_video_of_what_cannot_be_drawn_is_one_line_and_no_file(balancer, tmp_path):
    with pytest.raises(RenderingError, match="render_mode='rgb_array'"):
        evaluate(balancer, gym.make("CartPole-v1"), episodes=1, video=tmp_path / "a.mp4")
    with pytest.raises(MprlError, match="none"):
        evaluate(PPO(Alternating(), hidden=(4,)), Alternating(), episodes=1, video=tmp_path / "none" / "a.mp4")
    assert not list(tmp_path.iterdir())


def test_a_package_that_pictures_need_and_that_is_not_there_is_named(agent, tmp_path, monkeypatch):
    env = Alternating()

    def render() -> Any:
        raise gym.error.DependencyNotInstalled("pygame is not installed")

    monkeypatch.setattr(env, "render", render)
    with pytest.raises(RenderingError, match="pygame is not installed"):
        evaluate(agent, env, episodes=1, video=tmp_path / "a.mp4")


def test_judging_in_the_training_environment_leaves_no_half_episode_behind():
    """The learner goes on where the environment is, with a new episode; not from an observation of the old one."""
    env = Alternating(1000)
    agent = PPO(env, n_steps=5, hidden=(4,)).learn(5)
    evaluate(agent, env, episodes=1)
    assert env.steps == 0
    lengths: list[float] = []
    agent.learn(5, callback=lambda _, metrics: lengths.append(metrics["episode_length"]))
    assert lengths == [2]  # one whole episode, and the first steps of a long one


def test_something_that_is_no_environment_is_one_line(agent):
    for wrong, says in (("CartPole-v1", "CartPole-v1"), (None, "NoneType"), (Alternating, "found Alternating")):
        with pytest.raises(SettingError, match=says):
            PPO(wrong)
        with pytest.raises(SettingError, match=says):
            evaluate(agent, wrong)


# ------------------------------------------------------------------------------------------------------------------------ DeepMimic

KEYS = {
    "env_id", "agent", "episodes", "return_mean", "return_std", "length_mean", "normalized_return", "normalized_return_paper",
    "success_rate", "fall_rate", "mpjpe_global_mm", "mpjpe_local_mm", "velocity_error_mm_per_frame",
    "acceleration_error_mm_per_frame2", "frame_rate_hz",
}  # fmt: skip


@pytest.fixture(scope="module")
def imitator() -> PPO:
    return PPO(gym.make_vec("mprl/DeepMimic-v0", num_envs=4, num_threads=1), n_steps=4, hidden=(8,))


@pytest.mark.slow
def test_imitation_is_judged_by_its_own_metrics(imitator):
    single = gym.make("mprl/DeepMimic-v0", motion="jump", time_limit=0.5)
    found = evaluate(imitator, single, episodes=3, seed=1)
    assert set(found) >= KEYS and found["env_id"] == "mprl/DeepMimic-v0" and found["frame_rate_hz"] == 30 and found["episodes"] == 3
    assert all(np.isfinite(found[key]) for key in KEYS - {"env_id", "agent"})
    assert 0 < found["normalized_return"] <= 1 and 0 < found["length_mean"] <= 15
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=2, motion="jump", time_limit=0.5)
    assert evaluate(imitator, envs, episodes=3, seed=1) == found  # in worlds of its own, the same again


def test_judging_leaves_the_training_environment_as_it_was():
    envs = gym.make_vec("mprl/DeepMimic-v0", num_envs=2, num_threads=1)
    agent = PPO(envs, n_steps=4, hidden=(8,)).learn(8)
    before = envs.unwrapped.get_state()
    evaluate(agent, envs, episodes=2)
    assert all((value == before[key]).all() for key, value in envs.unwrapped.get_state().items())


@pytest.mark.slow
def test_an_imitation_is_filmed(imitator, tmp_path):
    try:
        opengl_backend()
    except RenderingError as error:
        pytest.skip(str(error))
    env = gym.make("mprl/DeepMimic-v0", time_limit=0.2, width=64, height=48)
    evaluate(imitator, env, episodes=2, video=tmp_path / "walk.mp4")
    assert (tmp_path / "walk.mp4").stat().st_size > 0


@pytest.mark.parametrize("eyes", ["none", "frozen", "learning"])
def test_it_judges_agents_that_see_a_dictionary(eyes):
    env = gym.make_vec("mprl/DeepMimic-v0", num_envs=2, num_threads=1, time_limit=0.2, sensors=("height_scan",))
    spec = Spec.of(env.single_observation_space, "height_scan", frozen=eyes == "frozen")
    seeing = PPO(env, n_steps=4, hidden=(8,), perception=None if eyes == "none" else build("mlp", spec, 4))
    assert evaluate(seeing, env, 2)["frame_rate_hz"] == 30


def test_behind_a_wrapper_that_shows_something_else_it_is_played_for_its_return():
    env = history(gym.make_vec("mprl/DeepMimic-v0", num_envs=2, num_threads=1, time_limit=0.2), 3)
    found = evaluate(PPO(env, n_steps=4, hidden=(8,)), env, 2)
    assert "frame_rate_hz" not in found and 0 < found["return_mean"] <= found["length_mean"] <= 6
