"""DQN comes to the values that are known, with each of its options, and says what a user got wrong."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from mprl.agents import DQN, dqn, evaluate
from mprl.agents.dqn import q_target
from mprl.agents.q_network import ExplicitQ, QNetwork
from mprl.errors import CheckpointError, MprlError, SettingError
from mprl.nn.flat import FlatParameters

FAST: dict[str, Any] = dict(
    learning_rate=1e-2, batch_size=32, buffer_size=2000, learning_starts=64, train_freq=8, gradient_steps=8, hidden=(), seed=0,
    target_update_interval=64, exploration=1.0, iteration_steps=64,
)  # fmt: skip


class Constant(gym.Env[Any, Any]):
    """One state, reward 1, no end of its own: with γ = .9 it is worth 1 / (1 - .9) = 10, whatever the time limit."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, terminates_after: int | None = None) -> None:
        self.terminates_after = terminates_after

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.ones(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return np.ones(1, np.float32), 1.0, self.steps == self.terminates_after, False, {}


def limited(kind: str, limit: int = 5, **arguments: Any) -> Any:
    make = lambda: gym.wrappers.TimeLimit(Constant(**arguments), limit)  # noqa: E731
    return make() if kind == "single" else SyncVectorEnv([make] * 4, autoreset_mode=AutoresetMode[kind])


class Chain(gym.Env[Any, Any]):
    """Five places in a row, counted from 3. Action 1 goes right, action 0 left; from the last place right pays 1 and ends, left from the
    first pays .1 and stays."""

    observation_space = gym.spaces.Discrete(5, start=3)
    action_space = gym.spaces.Discrete(2, start=-1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(5))
        return np.int64(self.place + 3), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        right = action == 0  # -1 is left, 0 is right
        reward = float(self.place == 4) if right else 0.1 * (self.place == 0)
        ended = bool(right and self.place == 4)
        self.place = min(4, self.place + 1) if right else max(0, self.place - 1)
        return np.int64(self.place + 3), reward, ended, False, {}


def optimal_chain_values(gamma: float) -> np.ndarray:
    """Q* of `Chain`, (5, 2), by value iteration."""
    q = np.zeros((5, 2))
    for _ in range(1000):
        v = q.max(1)
        q = np.stack((0.1 * (np.arange(5) == 0) + gamma * v[[0, 0, 1, 2, 3]], np.append(gamma * v[1:], 1.0)), 1)
    return q


def q_values(agent: DQN, observations: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return agent.model(observations)


# ---------------------------------------------------------------------------------------------------------------- what it learns


def test_after_several_steps_a_truncated_episode_goes_on_and_a_terminated_one_does_not():
    """Taken for ends, truncations after 5 steps would give a value of about 4. After one step: tests/agents/test_truncation.py."""
    settings = {**FAST, "learning_rate": "linear 0.1 1e-3 3000", "target_update_interval": 32, "gamma": 0.9, "n_step": 3}
    agent = DQN(limited("SAME_STEP"), **settings).learn(3000)
    assert q_values(agent, torch.ones(1, 1)).flatten().tolist() == pytest.approx([10, 10], abs=0.1)
    agent = DQN(limited("SAME_STEP", terminates_after=1), **settings).learn(1000)
    assert q_values(agent, torch.ones(1, 1)).flatten().tolist() == pytest.approx([1, 1], abs=0.1)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "double, dueling": {"double": True, "dueling": True, "hidden": (32,)},
    "prioritized, squares, a slow target": dict(
        prioritized=True, prioritized_beta="linear 0.4 1.0 5000", huber=False, tau=0.3, target_update_interval=16
    ),
    "three steps": {"n_step": 3, "exploration": 0.2},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_it_comes_to_the_values_of_value_iteration(name):
    """With several steps the values are those of what was done, so ε is smaller there and only the best actions are compared."""
    env, options = SyncVectorEnv([Chain] * 4), OPTIONS[name]
    agent = DQN(env, **{**FAST, "gamma": 0.8, "learning_rate": "linear 1e-2 1e-4 6000", **options}).learn(6000)
    found, expected = q_values(agent, torch.eye(5)).numpy(), optimal_chain_values(0.8)
    if "n_step" not in options:
        assert found == pytest.approx(expected, abs=0.03)
    assert found.argmax(1).tolist() == expected.argmax(1).tolist()
    actions, _ = agent.predict(np.arange(3, 8), deterministic=True)
    assert actions.tolist() == (expected.argmax(1) - 1).tolist()


class Noisy(gym.Env[Any, Any]):
    """Two places, as in Sutton & Barto's example 6.7: from the second, each of eight actions pays -.1 on average, with a deviation of 1."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = 0
        return np.int64(0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place += 1
        return np.int64(1), float(self.np_random.normal(-0.1)) if self.place == 2 else 0.0, self.place == 2, False, {}


@pytest.mark.slow
def test_double_dqn_overestimates_less():
    """The way to the second place is worth -.1. The greatest of eight noisy values is above it, the one of another's choice less so."""
    settings = {**FAST, "gamma": 1.0, "learning_rate": 0.1, "batch_size": 8}
    worth = [
        np.mean([float(q_values(DQN(Noisy(), **{**settings, "double": double, "seed": seed}).learn(1600), torch.eye(2))[0].mean())
                 for seed in range(3)])
        for double in (False, True)
    ]  # fmt: skip
    assert worth[0] > worth[1] + 0.15 > -0.1 + 0.15


@pytest.mark.slow
def test_cartpole_is_balanced_within_50_000_steps():
    """RL Zoo's DQN is judged by its best agent too: a return of 500 is the most there is."""
    envs = gym.make_vec("CartPole-v1", num_envs=DQN.training_preset("CartPole-v1")["num_envs"], vectorization_mode="sync")
    judge = gym.make_vec("CartPole-v1", num_envs=8, vectorization_mode="sync")
    best = [0.0]

    def look(agent: DQN, metrics: dict[str, float]) -> bool:
        if agent.crossed(2500):
            best[0] = max(best[0], evaluate(agent, judge, episodes=16, seed=1000)["return_mean"])
        return best[0] < 475

    DQN(envs, seed=0).learn(50_000, callback=look)
    assert best[0] >= 475


def test_the_target_by_hand():
    reward, discount = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0])
    values = torch.tensor([[3.0, 7.0], [100.0, 200.0]])
    assert q_target(reward, discount, values).tolist() == [4.5, 2.0]
    assert q_target(reward, discount, values, torch.tensor([0, 1])).tolist() == [2.5, 2.0]


@pytest.mark.parametrize("hidden", [(16,), (16, 16)])
def test_dueling_streams_add_up_and_their_gradient_is_autograd_s(hidden):
    torch.manual_seed(0)
    network = QNetwork(3, 4, hidden, "tanh", dueling=True)
    flat = FlatParameters(network.parameters())
    observation, slope = torch.randn(10, 3), torch.randn(10, 4)
    explicit = ExplicitQ(network, bfloat16=False)
    q = explicit(observation)
    torch.testing.assert_close(q.mean(-1, keepdim=True), network.value(network.shared(observation)).detach())  # the advantages' mean is 0
    explicit.backward(slope)
    found = flat.gradient.clone()
    flat.zero_gradient()
    output = network(observation)
    output.backward(slope)
    torch.testing.assert_close(q, output.detach())
    torch.testing.assert_close(found, flat.gradient)


# ------------------------------------------------------------------------------------------------------------ exploration, schedules


def test_exploration_and_step_size_follow_their_schedules():
    schedules = {"exploration": "linear 1.0 0.1 640", "learning_rate": "linear 1e-2 1e-3 640", "learning_starts": 0}
    rows: list[dict[str, float]] = []
    agent = DQN(Constant(), **{**FAST, **schedules})
    agent.learn(1024, callback=lambda _, row: rows.append(row))
    # at the beginning of the last eight steps of each iteration of 64 for the one, at their end for the other
    for at, row in enumerate(rows):
        assert row["epsilon"] == pytest.approx(max(0.1, 1 - 0.9 * (64 * at + 56) / 640))
        assert row["learning_rate"] == pytest.approx(max(1e-3, 1e-2 - 9e-3 * 64 * (at + 1) / 640))
        assert row["gradient_steps"] == 64


@pytest.mark.slow
def test_random_actions_are_kept_to_as_long_as_the_zeta_distribution_says():
    """εz-greedy (Dabney et al. 2021): P(n) = n^-μ / ζ(μ); ζ(3) = 1.202."""
    agent = DQN(limited("SAME_STEP"), **{**FAST, "exploration_mu": 3.0})
    agent.actions = 10**6  # so that no two random actions are alike
    agent.epsilon = 1.0
    columns = torch.cat([agent._exploration(100)[1] for _ in range(100)]).T
    lengths = torch.cat([torch.unique_consecutive(column, return_counts=True)[1] for column in columns])
    for n in (1, 2, 3):
        assert float((lengths == n).double().mean()) == pytest.approx(n**-3.0 / 1.202, abs=0.01)
    agent.epsilon = 0.0
    agent._exploration(1000)
    assert not agent._exploration(100)[0].any()


def test_random_actions_before_learning_starts_and_greedy_ones_when_asked():
    agent = DQN(Constant(), **{**FAST, "exploration": 0.0, "learning_starts": 512})
    rows: list[dict[str, float]] = []
    agent.learn(640, callback=lambda _, row: rows.append(row))
    # learning starts with the block of 8 that comes to 512 steps
    assert [row["gradient_steps"] for row in rows[:9]] == [0] * 7 + [8, 64]
    assert "loss" not in rows[0] and rows[8]["loss"] >= 0
    actions = agent.replay.get_state()["action"]
    assert 200 < actions[:512].sum() < 312 and len(set(actions[520:576].tolist())) == 1
    drawn = agent.predict(np.ones((2000, 1), np.float32))[0]
    assert len(set(drawn.tolist())) == 1


def test_as_many_gradient_steps_as_environment_steps_on_request():
    agent = DQN(limited("SAME_STEP"), **{**FAST, "gradient_steps": -1, "train_freq": 2, "learning_starts": 0})
    rows: list[dict[str, float]] = []
    agent.learn(128, callback=lambda _, row: rows.append(row))
    assert [row["gradient_steps"] for row in rows] == [64, 64]


def test_minibatches_drawn_together_or_one_by_one_are_the_same(monkeypatch):
    rows = []
    for numbers in (2**22, 1):
        monkeypatch.setattr(dqn, "AT_ONCE", numbers)
        rows.append(learn(DQN(Chain(), **{**FAST, "hidden": (16,)}), 256)[-1])
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)


def test_steps_that_only_reset_are_not_remembered():
    agent = DQN(limited("NEXT_STEP", limit=3), **FAST).learn(320)
    assert agent.replay.size == 320 * 3 // 4 and (agent.replay.get_state()["reward"] == 1).all()


# ------------------------------------------------------------------------------------------------------------------- going on exactly


class SavedChain(Chain):
    """A chain with a state that can be saved."""

    def get_state(self) -> dict[str, Any]:
        random = json.dumps(self.np_random.bit_generator.state).encode().ljust(400)
        return {"place": np.array([getattr(self, "place", 0)]), "random": np.frombuffer(random, np.uint8).copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        self.place = int(state["place"][0])
        self.np_random.bit_generator.state = json.loads(state["random"].tobytes())


KINDS: dict[str, dict[str, Any]] = {
    "prioritized": {"prioritized": True, "prioritized_beta": "linear 0.4 1.0 500"},
    "three steps": {"n_step": 3, "prioritized": True, "double": True, "tau": 0.5, "exploration_mu": 2.0},
}


def learn(agent: DQN, steps: int) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    agent.learn(steps, callback=lambda _, row: rows.append({k: v for k, v in row.items() if not k.startswith("time_")}))
    return rows


# With other settings: tests/agents/test_every_agent.py.
@pytest.mark.parametrize(
    ("name", "make"),
    [("prioritized", SavedChain), ("three steps", lambda: SyncVectorEnv([Chain] * 2))],
)
def test_what_is_loaded_learns_on_to_the_same_bits(name, make, tmp_path):
    settings = {**FAST, "iteration_steps": 16, "exploration": 0.3, "gradient_steps": 2, **KINDS[name]}
    agent = DQN(make(), **settings)
    learn(agent, 144)
    agent.save(tmp_path / "exact", training=True)
    agent.save(tmp_path / "weights")
    expected = learn(agent, 96)
    loaded = DQN.load(tmp_path / "exact", make())
    torch.rand(3), np.random.seed(1)  # noqa: NPY002
    assert repr(learn(loaded, 96)) == repr(expected)
    for a, b in zip(agent.replay.get_state().items(), loaded.replay.get_state().items(), strict=True):
        assert a[0] == b[0] and torch.equal(a[1], b[1])
    assert torch.equal(agent.parameters.vector, loaded.parameters.vector)
    assert repr(learn(DQN.load(tmp_path / "weights", make()), 96)) != repr(expected)


def test_a_seed_decides_everything():
    rows = [learn(DQN(Chain(), **{**FAST, "seed": seed, "exploration": 0.5}), 320) for seed in (1, 1, 2)]
    assert repr(rows[0]) == repr(rows[1]) != repr(rows[2])


def test_only_what_is_filled_is_written(tmp_path):
    agent = DQN(Chain(), **{**FAST, "buffer_size": 1_000_000}).learn(64)
    agent.save(tmp_path, training=True)
    assert (tmp_path / "training.safetensors").stat().st_size < 50_000


def test_a_memory_of_another_size_is_refused(tmp_path):
    agent = DQN(Chain(), **FAST).learn(320)
    agent.save(tmp_path, training=True)
    other = DQN(Chain(), **{**FAST, "buffer_size": 100})
    with pytest.raises(CheckpointError, match="does not fit"):
        other.replay.set_state(agent.replay.get_state())


def test_without_an_environment_it_predicts_and_has_no_memory(tmp_path):
    agent = DQN(Chain(), **FAST).learn(128)
    loaded = DQN.load(agent.save(tmp_path))
    assert loaded.replay is None
    observations = np.arange(3, 8)
    assert (loaded.predict(observations, deterministic=True)[0] == agent.predict(observations, deterministic=True)[0]).all()


# ----------------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tau": 0.0}, "tau must be positive"),
        ({"exploration": "linear 1.5 0 100"}, "exploration must be in"),
        ({"gradient_steps": 0}, "gradient_steps must be positive, or -1"),
        ({"learning_starts": 5000}, "learning_starts 5000 is above buffer_size 2000"),
        ({"exploration_mu": 0.0}, "exploration_mu must be positive, or None"),
        ({"dueling": True}, "need a hidden layer"),
        ({"batch_size": 0}, "batch_size must be positive"),
        ({"prioritised": True}, "did you mean 'prioritized'"),
        ({"buffer_size": 2 * 10**9}, "needs .* GiB, .* GiB are free; try buffer_size="),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_line(settings, message):
    with pytest.raises(SettingError, match=message) as caught:
        DQN(Constant(), **{**FAST, **settings})
    assert "\n" not in str(caught.value)


def test_continuous_actions_are_refused():
    with pytest.raises(MprlError, match=r"dqn needs Discrete actions.*use ppo"):
        DQN(gym.make("Pendulum-v1"))
