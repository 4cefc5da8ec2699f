"""Policies with a memory solve what others cannot, see the same while they act and while they learn, and forget where episodes begin."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.evaluation import evaluate_policy

import mprl  # noqa: F401  registers the environments
from mprl.agents import A2C, PPO, REINFORCE, evaluate, load_agent
from mprl.agents.on_policy import OnPolicyAgent
from mprl.errors import SettingError

AGENTS = (A2C, PPO, REINFORCE)
KINDS = ("lstm", "gru")


class Cue(gym.Env[Any, Any]):
    """A cue is shown once, at the beginning; after some steps of nothing it must be named. Right is worth 1, wrong -1.

    Who cannot remember returns 0 in the mean, whatever it does.
    """

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)  # the cue, or 0; whether it must be named now
    action_space = gym.spaces.Discrete(2)

    def __init__(self, wait: int = 4) -> None:
        self.wait = wait

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.cue = 0, int(self.np_random.integers(2))
        return np.array([2 * self.cue - 1, 0], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        over = self.steps > self.wait
        reward = (1.0 if action == self.cue else -1.0) if over else 0.0
        return np.array([0, self.steps == self.wait], np.float32), reward, over, False, {}


SETTINGS: dict[type[OnPolicyAgent], dict[str, Any]] = {
    A2C: dict(n_steps=10, learning_rate=3e-3, optimizer="adam", normalize_advantage=True),
    PPO: dict(n_steps=16, batch_size=128, n_epochs=4, learning_rate=5e-3, target_kl=None, activation="tanh"),
    REINFORCE: dict(n_episodes=32, learning_rate=5e-3),
}
STEPS = {A2C: 16_000, PPO: 8_000, REINFORCE: 15_000}


def taught(kind: type[OnPolicyAgent], recurrent: str, mode: AutoresetMode, seed: int) -> float:
    """Mean return of the trained agent."""
    agent = kind(SyncVectorEnv([Cue] * 16, autoreset_mode=mode), seed=seed, hidden=(16,), recurrent=recurrent, recurrent_size=16,
                 gamma=0.95, **SETTINGS[kind])  # fmt: skip
    agent.learn(STEPS[kind])
    return float(evaluate(agent, SyncVectorEnv([Cue] * 16, autoreset_mode=mode), episodes=128, seed=7)["return_mean"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mode", "recurrent"),
    [(kind, mode, recurrent) for kind, mode in zip(AGENTS, AutoresetMode, strict=True) for recurrent in KINDS],
)
def test_who_remembers_names_the_cue(kind, mode, recurrent):
    """Quickly it is shown by `knower`, below."""
    assert taught(kind, recurrent, mode, seed=KINDS.index(recurrent)) > 0.95


@pytest.mark.slow
def test_who_does_not_remember_cannot():
    """The mean of 128 episodes of ±1 has a standard deviation of .09."""
    assert abs(taught(PPO, "none", AutoresetMode.SAME_STEP, seed=0)) < 0.3


# --------------------------------------------------------------------------------------------- the same while acting and learning


class Clock(gym.Env[Any, Any]):
    """The observation is the step in the episode, and a number that an agent may remember. Its end comes by both ways."""

    observation_space = gym.spaces.Box(-100, 100, (2,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.length, self.ends = 0, int(self.np_random.integers(1, 9)), bool(self.np_random.integers(2))
        return self._see(), {}

    def _see(self) -> Any:
        return np.array([self.steps, self.np_random.normal()], np.float32)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        over = self.steps == self.length
        return self._see(), float(action), over and self.ends, over and not self.ends, {}


def made(kind: type[OnPolicyAgent], recurrent: str, mode: AutoresetMode | None, **settings: Any) -> OnPolicyAgent:
    env: Any = Clock() if mode is None else SyncVectorEnv([Clock] * 3, autoreset_mode=mode)
    agent = kind(env, hidden=(8,), recurrent=recurrent, recurrent_size=6, seed=4, **settings)
    torch.nn.init.normal_(agent.model.actor[-1].weight, generator=torch.Generator().manual_seed(1))  # so that actions differ
    return agent


MODES = [*AutoresetMode, None]  # None: a single environment
IN_EACH_MODE = pytest.mark.parametrize(("mode", "recurrent"), [(mode, KINDS[i % 2]) for i, mode in enumerate(MODES)])


@IN_EACH_MODE
def test_episodes_begin_where_their_clock_says_so(mode, recurrent):
    agent = made(PPO, recurrent, mode, n_steps=40)
    agent.observation = agent._first_observation()
    for _ in range(3):
        rollout = agent._act()
        at_start = rollout.observations[..., 0] == 0
        assert torch.equal(rollout.begins, at_start) and 5 < at_start.sum() < 80


@IN_EACH_MODE
@pytest.mark.parametrize("kind", AGENTS)
def test_a_sequence_is_seen_as_it_was_step_by_step(kind, mode, recurrent):
    """Values and log-probabilities are the same, also of episodes that began in an earlier rollout or end in this one."""
    length: dict[str, Any] = dict(n_episodes=30) if kind is REINFORCE else dict(n_steps=20)
    agent = made(kind, recurrent, mode, **length)
    agent.observation = agent._first_observation()
    for _ in range(3):
        acted: list[torch.Tensor] = []
        policy = agent.model.policy
        agent.model.policy = lambda features, acted=acted, policy=policy: (
            acted.append(policy(features).log_probabilities) or policy(features)
        )
        rollout = agent._act()
        agent.model.policy = policy
        seen = rollout.seen(agent.model)
        assert seen.requires_grad
        torch.testing.assert_close(agent.model.value(seen), rollout.flat(rollout.value))
        torch.testing.assert_close(agent.model.policy(seen).log_probabilities, rollout.flat(torch.stack(acted)))


@IN_EACH_MODE
def test_at_the_first_step_of_learning_nothing_has_changed(mode, recurrent):
    told: list[dict[str, float]] = []
    agent = made(PPO, recurrent, mode, n_steps=30, batch_size=1000, n_epochs=1, target_kl=None)
    agent.learn(200, callback=lambda _, metrics: told.append(metrics))
    assert all(abs(metrics["kl"]) < 1e-10 and metrics["clip_fraction"] == 0 for metrics in told)


@IN_EACH_MODE
def test_the_value_of_what_a_step_led_to_knows_the_episode_until_there(mode, recurrent):
    """Also where it began in an earlier rollout, and where it was truncated there and the next row belongs to another one."""
    agent = made(PPO, recurrent, mode, n_steps=5)
    model, batch = agent.model, agent.batch
    successors: list[torch.Tensor] = []
    step = batch.step
    batch.step = lambda action: successors.append((found := step(action)).successor) or found
    agent.observation = agent._first_observation()
    rollouts = [agent._act() for _ in range(12)]
    of = {key: torch.cat([getattr(rollout, key) for rollout in rollouts]) for key in ("observations", "valid", "terminated", "next_value")}
    truncated = torch.cat([rollout.truncated for rollout in rollouts])
    with torch.no_grad():
        for world in range(batch.num_worlds):
            memory = model.initial_memory(1)
            for t in range(60):
                if not of["valid"][t, world]:
                    continue
                if of["observations"][t, world, 0] == 0:
                    memory = model.initial_memory(1)
                _, memory = model.see(of["observations"][t, world][None], memory)
                if not of["terminated"][t, world]:
                    features, _ = model.see(successors[t][world][None], memory)
                    torch.testing.assert_close(of["next_value"][t, world], model.value(features)[0])
    assert truncated.sum() > 3


def test_minibatches_are_the_sequences_of_whole_worlds():
    agent = made(PPO, "gru", AutoresetMode.NEXT_STEP, n_steps=40, batch_size=45)
    agent.observation = agent._first_observation()
    rollout = agent._act()
    whole = rollout.seen(agent.model)
    parts = list(rollout.minibatches(agent.model, 45, agent.generator))
    assert sorted(len(rows) for rows, _ in parts) == sorted(rollout.valid.sum(0).tolist())
    for rows, seen in parts:
        torch.testing.assert_close(seen, whole[rows])
    assert torch.equal(torch.cat([rows for rows, _ in parts]).sort().values, torch.arange(len(whole)))


# ------------------------------------------------------------------------------------------------------------------- predicting


@pytest.fixture(scope="module")
def knower() -> PPO:
    """It names the cue."""
    envs = SyncVectorEnv([Cue] * 16)
    return PPO(envs, seed=0, hidden=(16,), recurrent="lstm", recurrent_size=16, gamma=0.95, **SETTINGS[PPO]).learn(8_000)


@pytest.mark.slow
def test_stable_baselines3_s_evaluation_carries_its_state(knower):
    assert evaluate_policy(knower, Cue(), n_eval_episodes=40, warn=False) == (1.0, 0.0)


@pytest.mark.slow
def test_the_state_is_carried_and_forgotten_where_an_episode_starts(knower):
    cue, nothing, now = (np.array([row] * 2, np.float32) for row in ([1, 0], [0, 0], [0, 1]))
    cue[1, 0] = -1
    _, state = knower.predict(cue, deterministic=True)
    assert isinstance(state, tuple) and [part.shape for part in state] == [(2, 16), (2, 16)]
    for _ in range(3):
        _, state = knower.predict(nothing, state, np.zeros(2, bool), deterministic=True)
    assert knower.predict(now, state, np.zeros(2, bool), deterministic=True)[0].tolist() == [1, 0]
    _, fresh = knower.predict(cue[:1], None, None, deterministic=True)
    _, after = knower.predict(cue[:1], tuple(part[:1] for part in state), np.ones(1, bool), deterministic=True)
    for one, other in zip(fresh, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_observation_or_tensors(knower):
    action, state = knower.predict(np.array([1, 0], np.float32), deterministic=True)
    assert action.shape == () and [part.shape for part in state] == [(1, 16), (1, 16)]
    action, state = knower.predict(torch.tensor([1.0, 0.0]), state, False)
    assert action.shape == () and all(isinstance(part, torch.Tensor) for part in state)


def test_saved_and_loaded_it_still_knows(knower, tmp_path):
    assert evaluate(load_agent(knower.save(tmp_path)), Cue(), episodes=20)["return_mean"] == 1


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda agent: agent.act(torch.zeros(1, 2)), r"this agent remembers \(recurrent='lstm'\): act with predict"),
        (lambda agent: agent.policy_module(), "a policy that remembers cannot be exported"),
        (
            lambda agent: agent.predict(np.zeros(2, np.float32), (np.zeros((1, 3)),)),
            r"state of shapes \(1, 16\), \(1, 16\), found \(1, 3\)",
        ),
        (lambda agent: agent.predict(np.zeros(2, np.float32), np.zeros((2, 3, 16))), r"expected a state of shapes"),
        (lambda _: PPO(Cue(), recurrent="ltsm"), "recurrent must be one of none, lstm, gru, rnn, found 'ltsm'"),
        (lambda _: PPO(Cue(), recurrent="gru", recurrent_size=0), "recurrent_size must be positive"),
    ],
)
def test_mistakes_are_named(knower, mistake, says):
    with pytest.raises(SettingError, match=says):
        mistake(knower)


class Judge(Cue):
    """Judges by itself, and may say where episodes begin."""

    def __init__(self, says_so: bool) -> None:
        super().__init__()
        self.says_so = says_so

    def evaluate(self, policy: Any, episodes: int, seed: int, video: Any) -> dict[str, Any]:
        total, env = 0.0, Cue()
        for each in range(episodes):
            observation, over = env.reset(seed=seed + each)[0], False
            if self.says_so:
                policy.reset()
            while not over:
                observation, reward, over, _, _ = env.step(int(policy(torch.as_tensor(observation)[None])[0]))
                total += reward
        return {"return_mean": total / episodes}


def test_an_environment_that_judges_by_itself_says_where_episodes_begin_or_is_told_to(knower):
    assert evaluate(knower, Judge(says_so=True), episodes=10)["return_mean"] == 1
    with pytest.raises(SettingError, match=r"its evaluate\(\) does not call policy.reset\(\)"):
        evaluate(knower, Judge(says_so=False), episodes=10)


def test_deepmimic_judges_an_agent_with_a_memory():
    env = gym.make_vec("mprl/DeepMimic-v0", num_envs=2, num_threads=1, time_limit=0.2)
    agent = PPO(env, hidden=(4,), recurrent="gru", recurrent_size=4, seed=0)
    results = [evaluate(agent, env, episodes=2) for _ in range(2)]
    assert results[0]["return_mean"] == results[1]["return_mean"]


# ---------------------------------------------------------------------------------------------------------------- the same, again


class SavedClock(Clock):
    def get_state(self) -> dict[str, Any]:
        random = json.dumps(self.np_random.bit_generator.state).encode().ljust(400)
        return {"at": np.array([getattr(self, name, 0) for name in ("steps", "length", "ends")]), "random": np.frombuffer(random, np.uint8)}

    def set_state(self, state: dict[str, Any]) -> None:
        self.steps, self.length, self.ends = (int(value) for value in state["at"])
        self.np_random.bit_generator.state = json.loads(state["random"].tobytes())


@pytest.mark.parametrize(
    ("kind", "recurrent", "make"), [(A2C, "gru", lambda: SyncVectorEnv([Clock] * 2)), (PPO, "lstm", SavedClock), (REINFORCE, "gru", Clock)]
)
def test_what_is_loaded_learns_on_to_the_same_bits(kind, recurrent, make, tmp_path):
    short: dict[type[OnPolicyAgent], dict[str, Any]] = {A2C: dict(iteration_steps=20), PPO: dict(n_steps=7), REINFORCE: dict(n_episodes=4)}
    agent = kind(make(), hidden=(4,), recurrent=recurrent, recurrent_size=5, seed=3, **short[kind]).learn(60)
    agent.save(tmp_path, training=True)
    loaded = kind.load(tmp_path, make())
    agent.learn(60), loaded.learn(60)
    assert torch.equal(agent.parameters.vector, loaded.parameters.vector)
    assert all(torch.equal(one, other) for one, other in zip(agent.memory, loaded.memory, strict=True))
