"""A perception model inside an agent: learning along, or frozen."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

from mprl.agents import A2C, DQN, PPO, REINFORCE, SAC, QLearning, load_agent, spaces
from mprl.agents.export import export
from mprl.errors import CheckpointError, PerceptionError, SettingError
from mprl.perception.plug import Perception, build
from mprl.perception.spec import Spec

SIZE = 12


class Blocks(gym.Env):
    """A bright block on the left or on the right: which one says what to do. One picture, one number beside it."""

    def __init__(self, continuous: bool = False, beside: bool = True) -> None:
        picture = gym.spaces.Box(0, 255, (SIZE, SIZE, 1), np.uint8)
        self.observation_space = gym.spaces.Dict({"image": picture, "state": gym.spaces.Box(-1, 1, (2,))}) if beside else picture
        self.action_space = gym.spaces.Box(-1, 1, (1,)) if continuous else gym.spaces.Discrete(2)
        self.beside = beside

    def _look(self):
        self.side = int(self.np_random.integers(2))
        image = self.np_random.integers(0, 60, (SIZE, SIZE, 1), dtype=np.uint8)
        image[4:8, (8 if self.side else 1) : (11 if self.side else 4)] = 255
        return {"image": image, "state": self.np_random.uniform(-1, 1, 2).astype(np.float32)} if self.beside else image

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._look(), {}

    def step(self, action):
        wanted = 2 * self.side - 1
        given = float(np.asarray(action).flat[0])
        given = given if isinstance(self.action_space, gym.spaces.Box) else 2 * given - 1
        self.steps += 1
        return self._look(), 1 - abs(wanted - given) / 2, False, self.steps == 20, {}


def eyes(env, frozen=False, **settings):
    small = {"channels": (8,), "kernels": (4,), "strides": (2,)}
    torch.manual_seed(0)
    return build("cnn", Spec.of(env.observation_space, frozen=frozen), 16, **{**small, **settings})


AGENTS = {
    "ppo": (PPO, False, dict(n_steps=40, batch_size=40, n_epochs=4, hidden=(16,), learning_rate=3e-3), 3000),
    "a2c": (A2C, False, dict(n_steps=20, iteration_steps=40, hidden=(16,), learning_rate=3e-3), 4000),
    "reinforce": (REINFORCE, False, dict(n_episodes=4, hidden=(16,), learning_rate=3e-3), 6000),
    "dqn": (
        DQN,
        False,
        dict(hidden=(16,), iteration_steps=40, learning_starts=60, batch_size=32, learning_rate=3e-3, target_update_interval=50),
        1200,
    ),
    "sac": (SAC, True, dict(hidden=(16,), iteration_steps=40, learning_starts=60, batch_size=32, learning_rate=3e-3), 1000),
}


@pytest.fixture(params=["ppo", "dqn", "sac"])  # A2C and REINFORCE see with what PPO sees with
def case(request):
    kind, continuous, settings, steps = AGENTS[request.param]
    return kind, Blocks(continuous), settings, steps


def parameters(agent):
    return {name: value.clone() for name, value in agent.eyes.perception.network.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_eyes_that_learn_along_find_the_block(name):
    kind, continuous, settings, steps = AGENTS[name]
    env = Blocks(continuous)
    agent = kind(env, seed=0, perception=eyes(env), **settings)
    before = parameters(agent)
    agent.learn(steps)
    assert any(not torch.equal(before[name], value) for name, value in parameters(agent).items())
    observation, _ = env.reset(seed=5)
    total = 0.0
    for _ in range(20):
        observation, reward, *_ = env.step(agent.predict(observation, deterministic=True)[0])
        total += reward
    assert total > 17  # at random it is 10


def test_frozen_eyes_stay_as_they_are_and_the_memory_keeps_features(case):
    kind, env, settings, _ = case
    model = eyes(env, frozen=True)
    agent = kind(env, seed=0, perception=model, **settings)
    before = parameters(agent)
    model.train()  # as others might
    agent.learn(80)
    assert not model.training and not model.network.training
    assert all(torch.equal(before[name], value) for name, value in parameters(agent).items())
    learned = {id(p) for optimizer in agent._optimizers().values() for group in optimizer.param_groups for p in group["params"]}
    assert not learned & {id(p) for p in model.parameters()}
    assert agent.observation_size == 2 + 16
    if hasattr(agent, "replay"):
        assert agent.replay._stored.observation.shape[1] == 2 + 16


@pytest.mark.parametrize(("name", "frozen"), [("ppo", False), ("dqn", True), ("sac", False)])
def test_saved_and_loaded_it_acts_the_same(name, frozen, tmp_path):
    kind, continuous, settings, _ = AGENTS[name]
    env = Blocks(continuous)
    agent = kind(env, seed=0, perception=eyes(env, frozen), **settings)
    agent.learn(80)
    agent.save(tmp_path / "agent")
    again = load_agent(tmp_path / "agent")
    rng = np.random.default_rng(0)
    batch = {"image": rng.integers(0, 255, (5, SIZE, SIZE, 1), dtype=np.uint8), "state": rng.uniform(-1, 1, (5, 2)).astype(np.float32)}
    np.testing.assert_array_equal(agent.predict(batch, deterministic=True)[0], again.predict(batch, deterministic=True)[0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "frozen"), [("ppo", False), pytest.param("dqn", True, marks=pytest.mark.slow)])
def test_an_exported_policy_sees_by_itself(name, frozen, tmp_path):
    kind, continuous, settings, _ = AGENTS[name]
    env = Blocks(continuous)
    agent = kind(env, seed=0, perception=eyes(env, frozen), **settings).learn(80)
    policy = torch.export.load(export(agent, tmp_path / "policy.pt2")).module()
    observations = [env.reset(seed=seed)[0] for seed in range(20)]
    rows = {key: np.stack([each[key] for each in observations]) for key in env.observation_space.spaces}
    expected = agent.predict(rows, deterministic=True)[0]
    found = policy(spaces.flatten(agent.observation_space, rows)).numpy()
    np.testing.assert_allclose(found.astype(expected.dtype), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "frozen"), [("ppo", False), ("ppo", True), ("dqn", True), ("sac", False)])
def test_it_goes_on_exactly_after_a_checkpoint(name, frozen, tmp_path):
    kind, continuous, settings, _ = AGENTS[name]
    env = Blocks(continuous)
    agent = kind(env, seed=0, perception=eyes(env, frozen), **settings)
    agent.learn(80)
    agent.save(tmp_path / "agent", training=True)
    agent.learn(40)
    other = kind.load(tmp_path / "agent", Blocks(continuous))
    other.learn(40)
    for name, network in agent._networks().items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, other._networks()[name].state_dict()[key]), key


def test_a_recurrent_policy_sees_too():
    env = Blocks()
    agent = PPO(env, seed=0, perception=eyes(env), recurrent="gru", n_steps=40, batch_size=40, hidden=(16,), learning_rate=3e-3)
    before = parameters(agent)
    agent.learn(120)
    assert any(not torch.equal(before[name], value) for name, value in parameters(agent).items())


def test_pictures_are_moved_whole_and_by_whole_pixels():
    env = Blocks(beside=False)
    agent = DQN(env, perception=eyes(env), shift=2, hidden=(16,))
    pictures = torch.arange(SIZE * SIZE).float().repeat(200, 1)
    moved = agent.eyes.shifted(pictures, 2, agent.generator).view(-1, SIZE, SIZE)
    padded = torch.nn.functional.pad(pictures[0].view(1, 1, SIZE, SIZE), (2, 2, 2, 2), mode="replicate")[0, 0]
    crops = {tuple(padded[i : i + SIZE, j : j + SIZE].flatten().tolist()) for i in range(5) for j in range(5)}
    assert {tuple(each.flatten().tolist()) for each in moved} == crops  # all 25 of the padded picture, and no other


def test_bytes_alone_are_kept_as_bytes():
    env = Blocks(beside=False)
    agent = DQN(env, perception=eyes(env), hidden=(16,), buffer_size=500, iteration_steps=40, batch_size=16, learning_starts=10)
    agent.learn(40)
    assert agent.replay._stored.observation.dtype == torch.uint8


def test_a_network_of_ones_own_comes_back_with_its_agent(tmp_path):
    env = Blocks(beside=False)

    def network():
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIZE * SIZE, 6))

    agent = PPO(env, perception=Perception(network(), Spec.of(env.observation_space, frozen=False)), hidden=(8,), n_steps=20, batch_size=20)
    agent.learn(60)
    agent.save(tmp_path / "agent")
    again = load_agent(tmp_path / "agent", network=network())
    image = env.reset(seed=0)[0]
    assert agent.predict(image, deterministic=True)[0] == again.predict(image, deterministic=True)[0]
    with pytest.raises(CheckpointError, match="network="):
        load_agent(tmp_path / "agent")


def test_what_does_not_fit_is_said_in_one_line():
    env = Blocks()
    with pytest.raises(PerceptionError, match="has no part 'imgae'; did you mean 'image'"):
        PPO(env, perception=build("cnn", Spec((SIZE, SIZE, 1), key="imgae"), 4, channels=(4,), kernels=(3,), strides=(1,)))
    with pytest.raises(PerceptionError, match="found a Linear"):
        PPO(env, perception=torch.nn.Linear(2, 2))
    with pytest.raises(SettingError, match="learns a table"):
        QLearning(gym.make("CliffWalking-v1"), perception=eyes(env))
    with pytest.raises(SettingError, match="frozen"):
        DQN(env, perception=eyes(env, frozen=True), shift=2)
