"""Monte Carlo methods (Sutton & Barto, chapter 5)."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import mprl  # noqa: F401  registers the environments
from mprl.agents import MonteCarlo, PolicyEvaluation
from mprl.agents.tabular.episodes import EpisodeLog
from mprl.agents.tabular.monte_carlo import returns
from mprl.envs.tabular import BlackjackEnv
from mprl.envs.tabular.vector import TabularVectorEnv
from mprl.errors import SettingError

STICK, HIT = 0, 1


class Told(gym.Env[Any, Any]):
    """Episodes as they are told, in turn: states, and the rewards between them; the last state is terminal."""

    def __init__(self, *episodes: tuple[list[int], list[float]]) -> None:
        self.episodes, self.number = episodes, -1
        self.observation_space, self.action_space = gym.spaces.Discrete(4), gym.spaces.Discrete(1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.number, self.at = (self.number + 1) % len(self.episodes), 0
        return self.episodes[self.number][0][0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        states, rewards = self.episodes[self.number]
        return states[self.at], rewards[self.at - 1], self.at == len(rewards), False, {}


def test_returns_are_summed_from_the_end():
    """4, 2 + 4/2, 1 + 4/2; cut off where 8 is expected: 4 + 4, 2 + 4, 1 + 3."""
    rewards = np.array([[4.0, 4.0], [2.0, 2.0], [1.0, 1.0]])
    assert returns(rewards, np.array([0.0, 8.0]), 0.5).tolist() == [[4.0, 8.0], [4.0, 6.0], [3.0, 4.0]]


@pytest.mark.parametrize(("visits", "expected"), [("first", 3.0), ("every", 2.0)])
@pytest.mark.parametrize("task", ["prediction", "control"])
def test_first_and_every_visit(task, visits, expected):
    """State 0 comes three times, each step gives 1: the first return is 3, the mean of all 2 (γ = 1). Exercise 5.5 asks just this."""
    env = Told(([0, 0, 0, 1], [1.0, 1.0, 1.0]))
    agent = MonteCarlo(env, task=task, visits=visits, gamma=1.0, iteration_steps=3).learn(6)
    assert agent.values.reshape(-1)[0] == expected
    assert agent.policy.shape == (4, 1)


def test_the_mean_of_all_episodes_or_a_step_towards_each():
    """Returns 4 and 8 of state 0: their mean is 6; with α = 1/2 it goes to 2, then to 5."""
    env = lambda: Told(([0, 3], [4.0]), ([0, 3], [8.0]))  # noqa: E731
    assert MonteCarlo(env(), task="prediction", iteration_steps=2).learn(2).values[0] == 6.0
    assert MonteCarlo(env(), task="prediction", learning_rate=0.5, iteration_steps=2).learn(2).values[0] == 5.0


def test_episodes_that_were_cut_off_may_be_left_out():
    """Every second episode is cut off before the reward. Without those V = 4; with them it is bootstrapped: 4 as well, and not 2."""

    class Cut(Told):
        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            state, reward, terminated, _, info = super().step(action)
            return state, reward, terminated and self.number == 0, terminated and self.number == 1, info

    for kind in ("bootstrap", "discard"):
        env = Cut(([0, 1, 3], [0.0, 4.0]), ([0, 1], [0.0]))
        agent = MonteCarlo(env, task="prediction", gamma=1.0, truncated=kind, iteration_steps=6).learn(60)
        assert agent.values[:2].tolist() == [4.0, 4.0]


@pytest.mark.slow
def test_random_walk(errors_at, within):
    """Example 6.2, right: constant-α every-visit Monte Carlo, α = .02, has an RMS error of .082 after 100 episodes; 400 runs."""
    look = errors_at((100,), np.arange(1, 6) / 6)
    walks = gym.make_vec("mprl/RandomWalk-v0", num_envs=400)
    settings = dict(gamma=1.0, initial_value=0.5, tables="independent", iteration_steps=1)
    MonteCarlo(walks, task="prediction", visits="every", learning_rate=0.02, **settings).learn(1e9, callback=look)
    within(look.errors[:, 0], 0.082, 5e-4)


# --- blackjack ----------------------------------------------------------------------------------------------------------------


def stick_on(least: int) -> Any:
    """The policy that sticks on a sum of so many or more, and with a natural: actions (211,)."""
    sums = np.arange(211) % 100 // 10 + 12
    return np.where((np.arange(211) >= 200) | (sums >= least), STICK, HIT)


@pytest.mark.slow
def test_blackjack_policy_that_sticks_on_20():
    """Figure 5.1: each state's value is within five standard errors of the exact one; a game's return has a deviation of 1 at most."""
    games = gym.make_vec("mprl/Blackjack-v0", num_envs=1024)
    agent = MonteCarlo(games, policy=stick_on(20), gamma=1.0).learn(1e6)
    exact = PolicyEvaluation(BlackjackEnv(), stick_on(20), discount=1.0, method="exact").solve().values
    visits = agent.table["counts"][0, :200]
    assert visits.min() > 200
    assert (np.abs(agent.values - exact)[:200] < 5 / np.sqrt(visits)).all()


def blackjack_from(state: int, worlds: int) -> Any:
    env = BlackjackEnv()
    env.initial_state_distrib = np.eye(211)[state]
    return TabularVectorEnv(env, worlds)


STATE, VALUE = 100 + 10 * (13 - 12) + (2 - 1), -0.27726  # a usable ace, a sum of 13, the dealer shows 2


def estimates(kind: str, episodes: int, runs: int) -> Any:
    """Of Example 5.4: a random player's games tell what sticking on 20 and 21 is worth."""
    agent = MonteCarlo(
        blackjack_from(STATE, runs), policy=stick_on(20), importance_sampling=kind, gamma=1.0, tables="independent", iteration_steps=1
    )
    log, found = EpisodeLog(episodes), np.full(runs, np.nan)

    def look(agent: Any, metrics: dict[str, float]) -> bool:
        go_on = log(agent, metrics)
        ready = (log.count == episodes) & np.isnan(found)
        found[ready] = agent.values[ready, STATE]
        return go_on

    agent.learn(1e9, callback=look)
    return found


@pytest.mark.slow
def test_off_policy_estimates_of_a_blackjack_state():
    """Figure 5.3: both find the state's value, and after few games weighted importance sampling has the smaller error; 500 runs."""
    error = {kind: ((estimates(kind, 10, 500) - VALUE) ** 2).mean() for kind in ("ordinary", "weighted")}
    assert error["weighted"] < 0.8 * error["ordinary"]
    for kind in ("ordinary", "weighted"):
        found = estimates(kind, 500, 100)
        assert found.mean() == pytest.approx(VALUE, abs=4 * found.std() / 10)
        assert ((found - VALUE) ** 2).mean() < 0.02


class Loop(gym.Env[Any, Any]):
    """Example 5.5: right ends for nothing; left comes back nine times of ten, and else ends for 1."""

    observation_space, action_space = gym.spaces.Discrete(2), gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action == 0 and self.np_random.random() < 0.9:
            return 0, 0.0, False, False, {}
        return 1, float(action == 0), True, False, {}


@pytest.mark.slow
def test_ordinary_importance_sampling_may_have_infinite_variance():
    """Figure 5.4: always left is worth 1. The weighted average is 1 once a game went left to its end; ordinary ones do not come to rest.

    Of 25 runs of about 500 games.
    """
    found = {}
    for kind in ("ordinary", "weighted"):
        loops = SyncVectorEnv([Loop] * 25, autoreset_mode=AutoresetMode.SAME_STEP)
        settings = dict(policy=np.array([0, 0]), visits="first", gamma=1.0, tables="independent")
        found[kind] = MonteCarlo(loops, importance_sampling=kind, **settings).learn(25_000).values[:, 0]
    assert found["weighted"] == pytest.approx(np.ones(25), abs=1e-12)
    assert found["ordinary"].std() > 0.15 and np.abs(found["ordinary"] - 1).max() > 0.4


def test_off_policy_control_finds_the_shortest_way():
    """Section 5.7 on a corridor of four cells, left or right, -1 a step. What was not tried must look bad, or no tail is ever greedy."""
    dynamics = {s: {a: [(1.0, max(s + 2 * a - 1, 0), -1.0, s + a == 4)] for a in range(2)} for s in range(4)}
    dynamics[4] = {a: [(1.0, 4, 0.0, True)] for a in range(2)}
    corridors = TabularVectorEnv(dynamics, num_envs=8, initial_state_distrib=[0.25, 0.25, 0.25, 0.25, 0.0])
    settings = dict(importance_sampling="weighted", epsilon=0.3, gamma=1.0, initial_value=-100.0)
    agent = MonteCarlo(corridors, **settings).learn(12_000)
    assert agent.values[:4] == pytest.approx([-4.0, -3.0, -2.0, -1.0])
    assert (agent.policy[:4] == [0, 1]).all()


@pytest.mark.slow
def test_blackjack_exploring_starts():
    """Figure 5.2: the policy found is the best one in every state, save where both actions are worth the same to .02."""
    games = gym.make_vec("mprl/Blackjack-v0", num_envs=1024)
    agent = MonteCarlo(games, gamma=1.0, epsilon=0.0, exploring_starts=True).learn(2e6)
    hits = agent.policy[:200, HIT].reshape(2, 10, 10)  # usable ace, player's sum - 12, dealer's card - 1
    best = np.zeros((2, 10, 10))
    for dealer in range(1, 11):
        best[0, : (12 if 4 <= dealer <= 6 else 13 if dealer in (2, 3) else 17) - 12, dealer - 1] = 1
        best[1, : (18 if 2 <= dealer <= 8 else 19) - 12, dealer - 1] = 1
    close = np.abs(agent.action_values[:200, 0] - agent.action_values[:200, 1]).reshape(2, 10, 10) < 0.02
    assert ((hits == best) | close).all()
    assert (hits != best).sum() <= 4


# --- bad input ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(task="guess"), "task must be control or prediction, found 'guess'"),
        (dict(importance_sampling="ordinary"), "off-policy control needs importance_sampling='weighted'"),
        (dict(importance_sampling="weighted", learning_rate=0.1), "leave learning_rate at None"),
        (dict(policy=stick_on(20), behaviour=stick_on(20)), "a behaviour other than the policy needs importance_sampling"),
        (dict(policy=stick_on(20), behaviour=stick_on(19), importance_sampling="weighted"), "behaviour never takes action 1 in state 70"),
        (dict(task="control", policy=stick_on(20)), "given for task='prediction'"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        MonteCarlo(BlackjackEnv(), **settings)


def test_episodes_that_never_end_are_told(monkeypatch):
    """A greedy policy may run against a wall for ever."""
    monkeypatch.setattr("mprl.agents.tabular.monte_carlo.MEMORY_LIMIT", 10_000)
    with pytest.raises(SettingError, match=r"an episode of .* has not ended after 512 steps: .*TimeLimit"):
        MonteCarlo(gym.make("CliffWalking-v1"), epsilon=0.0).learn(1e5)
