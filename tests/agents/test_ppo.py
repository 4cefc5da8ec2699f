"""PPO learns what it should, values what it should, stops when it should, and says what a user got wrong."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from mprl.agents import PPO, evaluate
from mprl.errors import MprlError, SettingError

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]


class Bandit(gym.vector.VectorEnv[Any, Any, Any]):
    """Episodes of one step. The observation is a sign; the right answer is half of it, or the first or the last of three arms."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, action_space: gym.Space[Any], num_envs: int = 32) -> None:
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.single_action_space = action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.sign = self.np_random.choice([-1.0, 1.0], self.num_envs)
        return self.sign[:, None].astype(np.float32), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        if isinstance(self.single_action_space, gym.spaces.Box):
            reward = -np.abs(actions[:, 0] - 0.5 * self.sign)
        else:
            reward = (actions == np.where(self.sign > 0, 2, 0)).astype(float)
        final = self.sign[:, None].astype(np.float32)
        observation, _ = self.reset()
        ended = np.ones(self.num_envs, bool)
        return observation, reward, ended, ~ended, {"final_obs": final, "_final_obs": ended}


CONTINUOUS, DISCRETE = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(3)
FAST: dict[str, Any] = dict(n_steps=4, batch_size=64, hidden=(16,), learning_rate=1e-2, target_kl=None, seed=0)


def weights(agent: PPO) -> torch.Tensor:
    return torch.cat([value.flatten() for value in agent.model.state_dict().values()])


# --------------------------------------------------------------------------------------------------------------------- it learns


def test_it_learns_which_of_three_arms():
    agent = PPO(Bandit(DISCRETE), **FAST).learn(5_000)
    assert agent.predict(np.array([[-1.0], [1.0]], np.float32), deterministic=True)[0].tolist() == [0, 2]


@pytest.mark.slow
def test_it_learns_where_to_point():
    agent = PPO(Bandit(CONTINUOUS), **FAST).learn(12_000)
    answer = agent.predict(np.array([[-1.0], [1.0]], np.float32), deterministic=True)[0]
    assert answer.flatten().tolist() == pytest.approx([-0.5, 0.5], abs=0.1)


@pytest.mark.parametrize("space", [gym.spaces.Box(-8, 2, (1,)), gym.spaces.Box(-np.inf, np.inf, (1,))])
def test_actions_come_in_the_environment_s_units(space):
    """The middle of [-8, 2] is -3, and its half width 5; without bounds the units are the environment's from the start."""
    agent = PPO(Bandit(space), **{**FAST, "initial_std": 0.5})
    drawn = agent.predict(np.zeros((20_000, 1), np.float32))[0]
    if np.isfinite(space.low).all():
        assert drawn.min() >= -8 and drawn.max() <= 2
        assert drawn.mean() == pytest.approx(-3, abs=0.1) and 2 < drawn.std() < 2.5  # the tails are cut off
    else:
        assert drawn.mean() == pytest.approx(0, abs=0.02) and drawn.std() == pytest.approx(0.5, abs=0.02)


@pytest.mark.slow
def test_cartpole_is_balanced_within_100_000_steps():
    """500 is the most there is; Stable-Baselines3's tuned PPO reaches it in as many steps (RL Zoo)."""
    assert _trained("CartPole-v1", 0, MODES[0], enough=475) >= 475


@pytest.mark.slow
def test_a_pendulum_is_swung_up_within_100_000_steps():
    """Doing nothing returns about -1200; Stable-Baselines3's tuned PPO reaches -172 in 100 000 steps (RL Zoo)."""
    assert _trained("Pendulum-v1", 1, MODES[1], enough=-250) >= -250


def _trained(env_id: str, seed: int, mode: AutoresetMode, enough: float) -> float:
    """Mean return of the agent that the preset makes, or as soon as it is enough."""
    preset = PPO.training_preset(env_id)
    envs = gym.make_vec(env_id, num_envs=preset["num_envs"], vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode})
    agent = PPO(envs, seed=seed)
    for _ in range(5):
        agent.learn(preset["steps"] // 5)
        found = evaluate(agent, gym.make_vec(env_id, num_envs=8, vectorization_mode="sync"), episodes=32, seed=1000)["return_mean"]
        if found >= enough:
            break
    return found


# --------------------------------------------------------------------------------------------------------------- the same, again


def test_a_seed_fixes_every_weight():
    one, same, other = (PPO(Bandit(CONTINUOUS), **{**FAST, "seed": seed}).learn(1_000) for seed in (1, 1, 2))
    assert torch.equal(weights(one), weights(same)) and not torch.equal(weights(one), weights(other))
    assert torch.isfinite(weights(one)).all()


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, None])
def test_a_seed_that_cannot_be_is_refused(seed):
    with pytest.raises(SettingError, match="seed must be a whole number from 0 to 2"):
        PPO(Bandit(CONTINUOUS), **{**FAST, "seed": seed})


def test_learning_in_two_goes_is_learning_in_one():
    one, two = (PPO(Bandit(CONTINUOUS), **FAST) for _ in range(2))
    one.learn(1024), two.learn(512).learn(512)
    assert one.num_timesteps == two.num_timesteps == 1024
    assert torch.equal(weights(one), weights(two))


def test_the_caller_s_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    PPO(Bandit(CONTINUOUS), **FAST).learn(256)
    assert torch.equal(torch.rand(3), expected)


# ------------------------------------------------------------------------------------------------------------------- its settings


def logged(key: str, **settings: Any) -> list[float]:
    values: list[float] = []
    PPO(Bandit(CONTINUOUS), **{**FAST, **settings}).learn(2_500, callback=lambda _, metrics: values.append(metrics[key]))
    return values


class ThreeSteps(gym.Env[Any, Any]):
    """Every episode is cut off after three steps; each is worth 1."""

    observation_space = gym.spaces.Box(0, 3, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return np.full(1, self.steps, np.float32), 1.0, False, self.steps == 3, {}


def test_an_iteration_in_which_all_worlds_were_only_reset_teaches_nothing():
    """Under NEXT_STEP each fourth step of every world is none."""
    envs, told = gym.vector.SyncVectorEnv([ThreeSteps] * 2, autoreset_mode=AutoresetMode.NEXT_STEP), []
    agent = PPO(envs, n_steps=1, batch_size=2, hidden=(4,), normalize_observations=False, gamma=0.5)
    agent.learn(40, callback=lambda _, metrics: told.append("policy_loss" in metrics))
    assert told == [True, True, True, False] * 5
    assert agent.parameters.vector.isfinite().all()


@pytest.mark.slow
def test_the_step_size_follows_the_kl_divergence():
    limits = dict(learning_rate=3e-4, min_learning_rate=1e-4, max_learning_rate=2e-3)
    lower, higher, kept = (logged("learning_rate", **limits, target_kl=target) for target in (1e-7, 1e3, None))
    assert lower == sorted(lower, reverse=True) and lower[-1] == pytest.approx(1e-4)
    assert higher == sorted(higher) and higher[-1] == pytest.approx(2e-3)
    assert set(kept) == {3e-4}


def test_the_standard_deviation_is_learned_or_kept():
    assert logged("action_std", initial_std=0.3, learn_std=False)[-1] == pytest.approx(0.3)
    assert logged("action_std", initial_std=0.3)[-1] != pytest.approx(0.3, rel=1e-3)


def test_observations_are_standardised_or_left_as_they_are():
    seen, raw = (PPO(Bandit(CONTINUOUS), **FAST, normalize_observations=value).learn(512) for value in (True, False))
    assert seen.model.observations.count >= 512 and raw.model.observations.count == 0
    value = torch.tensor([[0.3]])
    assert torch.equal(raw.model.features(value), value) and not torch.equal(seen.model.features(value), value)


def test_the_entropy_bonus_keeps_the_policy_open():
    assert logged("entropy", ent_coef=0.5)[-1] > logged("entropy")[-1] + 0.1


def test_a_preset_s_settings_are_used_and_the_user_s_go_before_them():
    env = gym.make("CartPole-v1")
    preset = PPO.presets("CartPole-v1")
    assert preset["n_steps"] == 128 and "num_envs" not in preset
    agent = PPO(env, n_steps=16)
    assert agent.settings.n_steps == 16 and agent.settings.activation == preset["activation"]
    assert PPO(Bandit(CONTINUOUS)).settings == PPO.Settings()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"learning_rat": 1.0}, "did you mean 'learning_rate'"),
        ({"n_step": 1}, "did you mean 'n_steps'"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate: expected a number or a schedule .* found 'fast'"),
        ({"n_steps": 0}, "n_steps"),
        ({"n_steps": 1.5}, "n_steps must be a whole number, found 1.5"),
        ({"n_epochs": True}, "n_epochs"),
        ({"batch_size": -1}, "batch_size"),
        ({"gamma": 1.1}, "gamma"),
        ({"gae_lambda": -0.1}, "gae_lambda"),
        ({"initial_std": 0.0}, "initial_std"),
        ({"target_kl": -1.0}, "target_kl"),
        ({"ent_coef": float("inf")}, "ent_coef"),
        ({"hidden": (8, 0)}, "hidden"),
        ({"hidden": "wide"}, "hidden"),
        ({"hidden": 64}, "hidden"),
        ({"activation": "rellu"}, "elu, relu, tanh"),
        ({"learn_std": 1}, "learn_std must be True or False"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings, says):
    with pytest.raises(SettingError, match=says) as caught:
        PPO(Bandit(CONTINUOUS), **settings)
    assert "\n" not in str(caught.value)


def test_numpy_numbers_and_lists_are_settings_too(tmp_path):
    agent = PPO(Bandit(CONTINUOUS), n_steps=np.int64(4), learning_rate=np.float32(0.5), hidden=[np.int32(8)], target_kl=None)
    assert agent.settings.n_steps == 4 and agent.settings.hidden == (8,) and agent.settings.learning_rate == 0.5
    agent.save(tmp_path)
    assert PPO.load(tmp_path).settings == agent.settings


def test_a_policy_s_name_gets_a_helpful_answer():
    with pytest.raises(SettingError, match=r"takes the environment first, found 'MlpPolicy'; write PPO\(env"):
        PPO("MlpPolicy", gym.make("CartPole-v1"))


# -------------------------------------------------------------------------------------------------------------------- when it stops


def test_it_learns_for_as_many_steps_as_it_is_told_rounded_up_to_an_iteration():
    agent = PPO(Bandit(CONTINUOUS), **FAST)  # an iteration takes 4 x 32 steps
    assert agent.learn(128).num_timesteps == 128
    assert agent.learn(129).num_timesteps == 128 + 256
    assert agent.learn(0).num_timesteps == 384


def test_it_stops_when_the_time_is_up():
    agent, start = PPO(Bandit(CONTINUOUS), **FAST), time.perf_counter()
    agent.learn(max_seconds=0.3)
    assert agent.num_timesteps > 0 and 0.3 <= time.perf_counter() - start < 10
    steps = agent.num_timesteps
    assert agent.learn(1e12, max_seconds=0.01).num_timesteps > steps


def test_a_callback_that_returns_false_stops_it_and_none_does_not():
    agent, calls = PPO(Bandit(CONTINUOUS), **FAST), []
    agent.learn(10_000, callback=lambda a, metrics: calls.append((a, metrics)) or len(calls) < 3)
    assert len(calls) == 3 and agent.num_timesteps == 3 * 128
    assert calls[0][0] is agent and [metrics["timesteps"] for _, metrics in calls] == [128, 256, 384]
    agent.learn(512, callback=lambda *_: None)
    assert agent.num_timesteps == 7 * 128


def test_learning_needs_an_end():
    with pytest.raises(SettingError, match="total_timesteps or max_seconds"):
        PPO(Bandit(CONTINUOUS), **FAST).learn()


# ------------------------------------------------------------------------------------------------------------------------- predict


@pytest.fixture(scope="module")
def balancer() -> PPO:
    """A little trained, so that its actions differ from place to place."""
    return PPO(gym.make("CartPole-v1"), seed=0, n_steps=256).learn(512)


def test_one_observation_or_many_numpy_or_torch(balancer):
    many = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    batch, state = balancer.predict(many, deterministic=True)
    assert state is None and batch.shape == (40,) and batch.dtype == np.int64 and set(batch) == {0, 1}
    singles = [balancer.predict(one, deterministic=True)[0] for one in many]
    assert all(single.shape == () and balancer.action_space.contains(single) for single in singles) and singles == batch.tolist()
    tensors, _ = balancer.predict(torch.from_numpy(many), deterministic=True)
    assert isinstance(tensors, torch.Tensor) and tensors.tolist() == batch.tolist()
    assert balancer.predict(many[:1], deterministic=True)[0].shape == (1,)
    assert balancer.predict(many.astype(np.float64), deterministic=True)[0].tolist() == batch.tolist()


def test_random_actions_vary_and_the_likeliest_do_not(balancer):
    one = np.zeros(4, np.float32)
    assert {int(balancer.predict(one)[0]) for _ in range(100)} == {0, 1}
    assert len({int(balancer.predict(one, deterministic=True)[0]) for _ in range(20)}) == 1


def test_a_state_is_handed_through(balancer):
    assert balancer.predict(np.zeros(4), state="mine", episode_start=np.array([True]))[1] == "mine"


@pytest.mark.parametrize("shape", [(3,), (2, 5), (), (2, 2, 4)])
def test_an_observation_of_another_shape_is_one_line(balancer, shape):
    with pytest.raises(MprlError, match="expected an observation of shape") as caught:
        balancer.predict(np.zeros(shape))
    assert "\n" not in str(caught.value)


def test_predicting_does_not_change_what_is_learned():
    def learned(ask: bool) -> torch.Tensor:
        agent = PPO(Bandit(CONTINUOUS), **FAST)
        for _ in range(3):
            agent.learn(128)
            if ask:
                agent.predict(np.zeros((5, 1), np.float32), deterministic=True)
        return weights(agent)

    assert torch.equal(learned(True), learned(False))
