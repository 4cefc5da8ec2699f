"""What cannot work with agents and planners is one line on the command line, exit code 2, and leaves no run behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from mprl import memory
from mprl.agents import DQN, PPO, Sarsa, checkpoints
from mprl.agents.agent import Agent
from mprl.agents.tabular.learner import TabularLearner

pytestmark = pytest.mark.usefixtures("undrawn")

OWN = """
import gymnasium as gym

class Leaky(gym.Env):
    '''A model whose probabilities do not sum to one.'''
    observation_space, action_space = gym.spaces.Discrete(2), gym.spaces.Discrete(2)
    P = {0: {0: [(1.0, 0, 0.0, False)], 1: [(0.5, 0, 0.0, False), (0.4, 1, 1.0, True)]}, 1: {a: [(1.0, 1, 0.0, True)] for a in range(2)}}

    def reset(self, *, seed=None, options=None):
        return 0, {}

    def step(self, action):
        return 1, 0.0, True, False, {}

class Endless(Leaky):
    '''Two states that lead to each other.'''
    P = {s: {a: [(1.0, 1 - s, 1.0, False)] for a in range(2)} for s in range(2)}

class Vast(Leaky):
    '''More states than there is memory.'''
    observation_space = gym.spaces.Discrete(10**12)

class Written(Leaky):
    '''Observations that no agent can read.'''
    observation_space = gym.spaces.Text(4)

class Poisoned(Leaky):
    '''Rewards that are no numbers.'''

    def step(self, action):
        return 1, float("nan"), True, False, {}

for kind in (Leaky, Endless, Vast, Written, Poisoned):
    gym.register(f"{kind.__name__}-v0", kind, disable_env_checker=True)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Environments of the user's own in an otherwise empty current folder."""
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own", None)
    for name in ("Leaky", "Endless", "Vast", "Written", "Poisoned"):
        gym.registry.pop(f"{name}-v0", None)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("plot CartPole-v1", "CartPole-v1 has no P, the table of its transitions: there is nothing to plan with (mprl list envs)"),
        ("plot FrozenLake-v1 --discount 1.5", "discount must be in [0, 1], found 1.5"),
        ("plot mprl/GridworldAB-v0 --discount 1", "discount 1 needs a terminal state, found none; use a discount below 1 or name "),
        ("plot own:Endless-v0 --discount 1", "discount 1 needs a terminal state, found none; use a discount below 1 or name "),
        ("plot own:Leaky-v0", "state 0, action 1: probabilities sum to 0.9, expected 1"),
        ("plot FrozenLake-v1 --planner value-itration", "--planner"),
        ("train CartPole-v1 --agent value-iteration", "value-iteration plans in a known model and does not learn: mprl plot ENV_ID"),
        ("train CartPole-v1 --agent sarsaa", "no agent named 'sarsaa'; did you mean 'sarsa'? (mprl list agents)"),
        ("train CartPole-v1 --agent sarsa", "tabular agents need observations in a Discrete, MultiDiscrete or Tuple of Discrete"),
        ("train CartPole-v1 --agent sac", "sac needs Box actions, found Discrete(2); use dqn, a2c or ppo"),
        ("train Pendulum-v1 --agent dqn", "dqn needs Discrete actions, found Box(-2.0, 2.0, (1,), float32); use ppo, a2c or sac"),
        ("train own:Written-v0 --agent ppo", "observations must be a Box, Discrete, MultiDiscrete, MultiBinary, or a Dict"),
        ("train own:Vast-v0 --agent q-learning", "a table of 1,000,000,000,000 states x 2 actions needs 14901.2 GiB, 1.0 GiB are free"),
        ("train own:Vast-v0 --agent ppo", "a network of 256,000,000,065,536 weights, with gradient and moments, needs 3814697.3"),
        ("train CartPole-v1 --agent dqn --agent.buffer-size 500000000", "a replay memory of 500,000,000 transitions needs 22.4 GiB"),
        ("train FrozenLake-v1 --agent sarsa --num-envs 100000000000000000", "worlds needs more memory than there is (711. PiB more)"),
        ("train CartPole-v1 --agent dqn --agent.learning-starts -1", "learning_starts must be at least 0, found -1"),
        ("train CartPole-v1 --agent dqn --agent.batch-size 1000000000000", "batch_size must be at most 2147483647 in size"),
        ("train CartPole-v1 --agent a2c --agent.learning-rate 1e300", "learning_rate must be at most 3.402823466e+38 in size"),
    ],
)  # fmt: skip
def test_it_is_told_before_a_run_begins(own, mprl, monkeypatch, words, says):
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    assert says in mprl(*words.split()).mistake
    assert not (own / "runs").exists() and not list(own.glob("*.png"))


# All of them are asked from Python: tests/agents/test_bad_input.py.
ONE_OF_A_KIND = pytest.mark.parametrize("kind", [PPO, DQN, Sarsa], ids=lambda kind: kind.name)


def environment(kind: type[Agent]) -> str:
    """One that it can learn in."""
    if issubclass(kind, TabularLearner):
        return "FrozenLake-v1"
    return "CartPole-v1" if gym.spaces.Discrete in kind.action_spaces else "Pendulum-v1"


@ONE_OF_A_KIND
def test_a_setting_that_cannot_be(kind, mprl):
    env = environment(kind)
    for value, says in (("-0.1", "found -0.1"), ("nan", "found nan"), ("much", "much")):
        mistake = mprl("train", env, "--agent", kind.name, "--agent.gamma", value).mistake
        assert "gamma" in mistake and says in mistake and mistake.endswith(f"(mprl train {env} --agent {kind.name} --help)")


def test_learning_that_broke_down_ends_with_what_was_saved_before(own, mprl):
    done = mprl("train", "own:Poisoned-v0", "--agent", "q-learning", "--num-envs", "1", "--steps", "5000", "--out", "run")
    assert done.mistake.startswith("learning broke down within ") and "no longer a number; take a smaller learning_rate" in done.mistake
    assert mprl("evaluate", "run", "--episodes", "1").code == 0  # the agent of the beginning
    assert mprl("train", "--resume", "run").mistake.startswith("learning broke down within ")


@ONE_OF_A_KIND
def test_a_broken_run_and_one_of_another_agent(kind, small, mprl):
    settings = [f"--agent.{name.replace('_', '-')}={value}" for name, value in small(kind).items() if isinstance(value, int)]
    assert mprl("train", environment(kind), "--agent", kind.name, "--num-envs", "2", "--steps", "16", "--out", "run", *settings).code == 0
    state = sorted(Path("run/checkpoints").iterdir())[-1] / checkpoints.STATE
    state.write_bytes(state.read_bytes()[:-1])
    assert mprl("train", "--resume", "run", "--steps", "999").mistake.startswith(
        f"{state}: is not the file that was saved with training.json"
    )
    weights, config = Path("run", checkpoints.WEIGHTS), Path("run", checkpoints.CONFIG)
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert mprl("evaluate", "run").mistake.startswith(f"{weights}: cannot be read: ")
    weights.write_bytes(whole)
    config.write_text(json.dumps({**json.loads(config.read_text()), "agent": "sarsa" if kind.name == "ppo" else "ppo"}))
    assert mprl("evaluate", "run").mistake.startswith("run: config.json and weights.safetensors do not fit together: ")
