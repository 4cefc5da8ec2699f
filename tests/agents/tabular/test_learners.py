"""Tabular learners have the interface of every agent: single and vector environments, all spaces of whole numbers."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import mprl  # noqa: F401  registers the environments
from mprl.agents import AGENTS, TD0, DoubleQLearning, MonteCarlo, QLearning, Sarsa, evaluate, load_agent
from mprl.agents.tabular.controller import Controller
from mprl.agents.tabular.learner import TabularLearner
from mprl.agents.tabular.predictor import Predictor
from mprl.errors import CheckpointError, MprlError, SettingError
from mprl.scripts.main import main as mprl_command

LEARNERS: list[type[TabularLearner]] = [kind for kind in AGENTS.values() if issubclass(kind, TabularLearner)]
PREDICTORS = [kind for kind in LEARNERS if issubclass(kind, Predictor)]
CONTROLLERS = [kind for kind in LEARNERS if issubclass(kind, Controller)]
SMALL = dict(iteration_steps=16, seed=3)


class Cards(gym.Env[Any, Any]):
    """Three numbers are seen, as in Gymnasium's Blackjack; the first says which of two actions is right. One step an episode."""

    def __init__(self, space: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = space, gym.spaces.Discrete(2, start=5)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        seen = self.np_random.integers([4, 3, 2])
        self.right = 5 + int(seen[0]) % 2
        return self.told(seen), {}

    def told(self, seen: Any) -> Any:
        match self.observation_space:
            case gym.spaces.Tuple():
                return int(seen[0]) - 1, int(seen[1]), int(seen[2])
            case gym.spaces.Discrete():
                return int(seen[0])
        return seen

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        reward = float(action == self.right)
        return self.reset()[0], reward, True, False, {}


SPACES = {
    "Discrete": gym.spaces.Discrete(4),
    "MultiDiscrete": gym.spaces.MultiDiscrete([4, 3, 2]),
    "Tuple": gym.spaces.Tuple((gym.spaces.Discrete(4, start=-1), gym.spaces.Discrete(3), gym.spaces.Discrete(2))),
}


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_observations_may_be_any_whole_numbers(space, vector, tmp_path):
    env = Cards(space) if not vector else SyncVectorEnv([lambda: Cards(space)] * 3)
    agent = Sarsa(env, epsilon=0.5, seed=1).learn(900)
    agent.save(tmp_path)
    agent = load_agent(tmp_path)
    cards = Cards(space)
    for seen in np.ndindex(4, 3, 2):
        action, _ = agent.predict(cards.told(np.array(seen)), deterministic=True)
        assert action == 5 + seen[0] % 2 and cards.action_space.contains(action)
    assert evaluate(agent, Cards(space), episodes=5)["return_mean"] == 1.0


def cliff(worlds: int = 3, mode: AutoresetMode = AutoresetMode.SAME_STEP) -> Any:
    make = lambda: gym.wrappers.TimeLimit(gym.make("CliffWalking-v1"), 20)  # noqa: E731
    return SyncVectorEnv([make] * worlds, autoreset_mode=mode)


# That any of them learns on from what was saved: tests/agents/test_every_agent.py.
@pytest.mark.parametrize("learner", [TD0, MonteCarlo, DoubleQLearning], ids=lambda kind: kind.name)
def test_a_saved_agent_acts_as_the_one_that_was_saved(learner, tmp_path):
    agent = learner(cliff(), seed=2, tables="independent").learn(500)
    agent.save(tmp_path)
    loaded = load_agent(tmp_path)
    states = np.arange(48)
    assert (loaded.predict(states, deterministic=True)[0] == agent.predict(states, deterministic=True)[0]).all()
    assert loaded.policy.shape == (48, 4) and np.allclose(loaded.policy, agent.policy)


@pytest.mark.slow
@pytest.mark.parametrize("learner", [Sarsa, pytest.param(TD0, marks=pytest.mark.slow)], ids=lambda kind: kind.name)
def test_the_command_line_trains_evaluates_and_goes_on(learner, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert mprl_command(["train", "FrozenLake-v1", "--agent", learner.name, "--steps", "600", "--num-envs", "2", "--out", run]) == 0
    assert mprl_command(["train", "--resume", run, "--steps", "1200"]) == 0
    assert mprl_command(["evaluate", run, "--episodes", "2"]) == 0
    assert "return" in capsys.readouterr().out


@pytest.mark.parametrize("learner", CONTROLLERS, ids=lambda kind: kind.name)
def test_a_table_knows_nothing_at_first_and_takes_the_lowest_of_equal_actions(learner):
    agent = learner(gym.make("CliffWalking-v1"), initial_value=2.0)
    assert agent.action_values.shape == (48, 4) and (agent.action_values == 2.0).all()
    assert (agent.policy == [1, 0, 0, 0]).all()
    assert agent.predict(7, deterministic=True)[0] == 0
    assert set(agent.predict(np.full(200, 7))[0].tolist()) == {0, 1, 2, 3}  # while learning each of them is tried


class Paid(gym.Env[Any, Any]):
    """From 0 to 1, for a reward of its own, and to the end, state 2."""

    observation_space, action_space = gym.spaces.Discrete(3), gym.spaces.Discrete(1)

    def __init__(self, reward: float) -> None:
        self.reward = reward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.state = 0
        return 0, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state += 1
        return self.state, self.reward, self.state == 2, False, {}


def test_independent_tables_are_runs_of_their_own_and_a_shared_one_learns_of_all_worlds():
    """TD(0), α = .5, two episodes in two worlds that pay 4 and 8 a step: V(1) = 4 (1/2 + 1/4) = 3, and V(0) = 2, then 1 + 2 + 1 = 4.

    With one table, the two worlds' targets of mean 6 move V(1) by 3/4 in the first episode, to 4.5, and by 3/4 of the rest in the
    second, to 5.625; V(0) to 4.5, and then by 3/4 towards 6 + 4.5, to 9.
    """
    worlds = SyncVectorEnv([lambda: Paid(4.0), lambda: Paid(8.0)], autoreset_mode=AutoresetMode.SAME_STEP)
    settings = dict(gamma=1.0, learning_rate=0.5, iteration_steps=4)
    assert TD0(worlds, tables="independent", **settings).learn(8).values.tolist() == [[4.0, 3.0, 0.0], [8.0, 6.0, 0.0]]
    assert TD0(worlds, **settings).learn(8).values.tolist() == [9.0, 5.625, 0.0]


# --- bad input --------------------------------------------------------------------------------------------------------------


def test_unsupported_spaces_are_named():
    with pytest.raises(SettingError, match=r"tabular agents need observations in a Discrete.* found Box.*"):
        Sarsa(gym.make("CartPole-v1"))
    with pytest.raises(SettingError, match=r"needs Discrete actions, found Box"):
        TD0(gym.wrappers.TransformObservation(gym.make("Pendulum-v1"), lambda o: 0, gym.spaces.Discrete(1)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(learning_rate=0.0), r"learning_rate must be in \(0, 1\], found 0"),
        (dict(learning_rate="linear 0.1 2 100"), r"learning_rate must be in \(0, 1\], found linear"),
        (dict(epsilon=1.5), r"epsilon must be in \[0, 1\], found 1.5"),
        (dict(gamma=1.1), "gamma must be in"),
        (dict(tables="many"), "tables must be shared or independent, found 'many'"),
        (dict(iteration_steps=0), "iteration_steps must be at least 1"),
        (dict(available=np.ones((2, 2), bool)), "available must be 48 states x 4 actions"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        QLearning(gym.make("CliffWalking-v1"), **settings)


def test_a_policy_must_be_one():
    env = gym.make("CliffWalking-v1")
    with pytest.raises(SettingError, match=r"expected a policy of shape \(48,\) or \(48, 4\), found \(3, 4\)"):
        TD0(env, policy=np.ones((3, 4)))
    policy = np.full((48, 4), 0.25)
    policy[5] = 0.3
    with pytest.raises(SettingError, match="policy, state 5: expected probabilities that sum to 1, found"):
        TD0(env, policy=policy)


def test_observations_that_cannot_be_are_refused():
    agent = Sarsa(gym.make("CliffWalking-v1"))
    for wrong in (48, -1, [[0]], "a", None):
        with pytest.raises(MprlError, match="expected an observation of Discrete"):
            agent.predict(wrong)


def test_independent_tables_go_with_their_number_of_worlds(tmp_path):
    Sarsa(cliff(3), tables="independent", **SMALL).learn(100).save(tmp_path)
    assert load_agent(tmp_path).predict(0)[0] in range(4)
    with pytest.raises(CheckpointError, match="3 independent tables were learned, one for each world, the environment has 2 worlds"):
        load_agent(tmp_path, cliff(2))


def test_a_table_of_another_environment_is_refused(tmp_path):
    Sarsa(cliff(3), **SMALL).learn(100).save(tmp_path)
    with pytest.raises(CheckpointError, match=r"Discrete\(48\).*Discrete\(16\)"):
        load_agent(tmp_path, gym.make("FrozenLake-v1"))
